"""Labels saved: a network trained with n labels against unsupervised landmarks.

python -m benchmarks.labels --workdir=RUN --root=DIR \
  --out=benchmarks/labels.json --figure=FILE.png

Both see the same n annotated training images. With labels: the backbone and the
pose head of the run, one map an annotated point, trained from scratch to put
the expectation of each map on its point, under the run's warps and colours and
mirrored at random. Without: the landmarks of the run, and a linear map to the
annotated points. Steps and penalty are chosen on parts of the n images; the
test images are measured once. The file keeps each result as it comes, and what
it has is not repeated: a further --workdir measures that run's landmarks alone.
"""

import argparse
import functools
import json
import math
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax

from c3_jax import geometry
from c3_jax.data.load import load_splits
from c3_jax.evaluation import conventions, regression
from c3_jax.evaluation.detect import detect, landmark_function
from c3_jax.evaluation.evaluator import normaliser
from c3_jax.figures import canvas
from c3_jax.geometry import warp
from c3_jax.models import c3
from c3_jax.runs import load_trained
from c3_jax.runtime import compilation, files, parallel
from c3_jax.training import augment, optim

# n -> (choices of n images, numbers of steps to choose from).
PLAN = {
  10: (10, (100, 300)),
  50: (10, (200, 600)),
  100: (10, (300, 900)),
  500: (3, (1000, 3000)),
  0: (1, (2000, 6000)),  # All there are.
}
BATCH = 16
RATE = 2e-3
DROPS = (0.8,)
HELD = 5  # A fifth of the labels chooses the steps.
RIDGES = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 1e3, 1e4)  # In square pixels.
# Of the five points; a mirrored face has its right eye on the left.
MIRRORED = (1, 0, 2, 4, 3)
INTERCEPT = conventions.MAIN["intercept"]


class Labels:
  """Trains the run's backbone and pose head with labels, from scratch."""

  def __init__(self, config, n_points):
    """Compiles nothing yet; `n_points` become as many maps."""
    config = config.copy_and_resolve_references().unlock()
    config.model.k = n_points
    self.size, self._model = config.data.image_size, c3.from_config(config)
    self._augment = augment.Augmentation.of(config.augment)
    # The rate is an argument: one program serves every number of steps.
    self._tx = optax.inject_hyperparams(optim.adam)(
      RATE, weight_decay=config.optimizer.weight_decay
    )
    self.detect = landmark_function(self._model, self.size)
    # The batch norms average over devices; here there is one.
    one = jax.vmap(
      self._train_step, (None, None, 0, 0), axis_name=parallel.AXIS
    )

    def step(state, key, count, images, points):
      key = jax.random.fold_in(key, count)
      state = one(state, key, images[None], points[None])
      return jax.tree.map(lambda x: x[0], state)

    self._step = jax.jit(step)

  def _pose(self, model, images, train):
    return model.pose(model.features(images, train=train)[1])

  def init(self, key):
    """Makes (variables, optimiser state) of an untrained network."""
    images = jnp.zeros((2, self.size, self.size, 3))
    run = functools.partial(self._pose, train=False)
    variables = jax.jit(functools.partial(self._model.init, method=run))(
      key, images
    )
    return dict(variables), self._tx.init(variables["params"])

  def _example(self, key, image, points):
    """Warps an image and its points, mirrored in half of the cases."""
    flip_key, key = jax.random.split(key)
    flip = jax.random.bernoulli(flip_key)
    image = jnp.where(flip, image[:, ::-1], image)
    mirrored = points[jnp.array(MIRRORED)] * jnp.array([-1.0, 1.0])
    points = jnp.where(flip, mirrored, points)
    pull = augment.sample_warp(key, **self._augment.target)
    coords = pull(geometry.grid(self.size, self.size))
    extent = image.shape[0] / self.size
    seen = invert(pull, points)
    return warp.sample(image, coords, extent=extent), seen

  def _train_step(self, state, key, images, points):
    variables, moments = state
    keys = jax.random.split(key, len(images) + 1)
    images, points = jax.vmap(self._example)(keys[1:], images / 255.0, points)
    keys = jax.random.split(keys[0], len(images))
    if self._augment.recolour:
      images = augment.recolour(keys, images, self._augment.recolour)
    # An expectation over the frame cannot lie outside it.
    inside = (jnp.abs(points) < 1).all(-1, keepdims=True)

    def loss(params):
      pose, updates = self._model.apply(
        variables | {"params": params},
        images,
        method=functools.partial(self._pose, train=True),
        mutable=["batch_stats"],
      )
      square = jnp.where(inside, (pose.points - points) ** 2, 0)
      return jnp.sum(square) / jnp.maximum(inside.sum(), 1), updates

    grads, updates = jax.grad(loss, has_aux=True)(variables["params"])
    updates = dict(updates)
    change, moments = self._tx.update(grads, moments, variables["params"])
    params = optax.apply_updates(variables["params"], change)
    return (variables | updates | {"params": params}, moments)

  def train(self, images, points, steps, seed):
    """Trains for some steps: variables of `detect`, not yet replicated.

    Args:
      images: uint8 [n, S, S, 3], loaded.
      points: float32 [n, P, 2] in [-1, 1] of the frame.
      steps: of `BATCH` images each, in epochs of random order.
      seed: int.
    """
    rng = np.random.default_rng(seed)
    state = self.init(jax.random.key(seed))
    order = np.zeros(0, int)
    rate = optim.schedule(RATE, steps=steps, drops=DROPS)
    rates = np.asarray(jax.vmap(rate)(jnp.arange(steps)), np.float32)
    key = jax.random.key(seed)
    for step in range(steps):
      while len(order) < BATCH:
        order = np.concatenate([order, rng.permutation(len(images))])
      rows, order = order[:BATCH], order[BATCH:]
      state[1].hyperparams["rate"] = rates[step]
      state = self._step(state, key, step, images[rows], points[rows])
    return state[0]

  def error(self, variables, dataset, length):
    """Measures the mean distance to the annotated points, in per cent."""
    found = find(self.detect, parallel.replicate(variables), dataset)
    pixels = lambda x: geometry.coords_to_corner_pixels(x, self.size)  # noqa: E731
    return regression.error_percent(
      pixels(found),
      pixels(dataset.points),
      normaliser=length,
      image_size=self.size,
    )


def invert(pull, points, rounds=8):
  """Finds where a `RandomWarp` shows points of its input: [P, 2].

  By repetition: the affine part is inverted, the spline is a small change.
  """
  inverse = jnp.linalg.inv(pull.matrix[:, :2])
  place = points
  for _ in range(rounds):
    place = place - (pull(place) - points) @ inverse.T
  return place


def find(function, variables, dataset):
  """Runs a `landmark_function` over a dataset: [n, k, 2]."""
  batch = parallel.whole_batch(100)
  return detect(function, variables, dataset, batch_size=batch)


def choose(total, n, repeat):
  """Chooses n of `total` rows, as the few-shot regression of a report does."""
  return np.random.default_rng((0, n, repeat)).choice(total, n, replace=False)


def ridge_error(data):
  """Fits the linear map with a penalty chosen within the training images.

  Args:
    data: `conventions.Data`, of the n images.

  Returns:
    (error on the test images, penalty).
  """
  rows = np.arange(len(data.train_points))
  parts = np.array_split(np.random.default_rng(0).permutation(rows), HELD)

  def held_out(penalty):
    fit = conventions.Convention(True, False, False, penalty).fit
    total = 0.0
    for part in parts:
      regressor = fit(data.only(np.setdiff1d(rows, part)))
      errors = regression.point_errors(
        regressor.apply(data.train_landmarks[part]),
        data.train_points[part],
        normaliser=data.normaliser,
        image_size=data.size,
      )
      total += np.nanmean(errors) * len(part)
    return total

  best = min(RIDGES, key=held_out)
  return data.error(conventions.Convention(True, False, False, best)), best


class Results:
  """The file: its cells are kept, and written whenever one is added."""

  def __init__(self, path):
    self._path = pathlib.Path(path)
    self.content = {"steps": {}, "cells": []}
    if self._path.exists():
      self.content = json.loads(self._path.read_text())

  def has(self, **key):
    """Whether there is a cell with these values."""
    return any(key.items() <= cell.items() for cell in self.content["cells"])

  def add(self, **cell):
    """Adds a cell, or with no cell writes what has changed besides."""
    if cell:
      self.content["cells"].append(cell)
      print(cell, flush=True)
    files.write_json(self._path, self.content)


def measure_landmarks(results, name, run, splits):
  """Measures the linear map from the landmarks of a run, for each n."""
  size, length = run.config.data.image_size, normaliser(run.config)
  function = landmark_function(run.model, size)
  variables = parallel.replicate(run.variables)
  arrays = []
  for dataset in (splits.fit, splits.test):
    arrays += [find(function, variables, dataset), dataset.points]
  data = conventions.Data.of(*arrays, size=size, normaliser=length)
  total = len(splits.fit)
  for n, (repeats, _) in PLAN.items():
    for repeat in range(repeats):
      key = {"kind": name, "n": n or total, "repeat": repeat}
      if results.has(**key):
        continue
      part = data.only(choose(total, n, repeat) if n else np.arange(total))
      error, ridge = ridge_error(part)
      results.add(
        **key,
        error=round(error, 3),
        ridge=ridge,
        without_ridge=round(part.error(INTERCEPT), 3),
        k=run.config.model.k,
        step=int(run.step),
      )


def chosen_steps(results, labels, n, options, fit, length):
  """Chooses the number of steps on a fifth of the first n labels."""
  found = results.content["steps"].setdefault(str(n), {})
  rows = choose(len(fit), n, 0)
  held = math.ceil(n / HELD)
  for steps in options:
    if str(steps) not in found:
      kept = rows[held:]
      variables = labels.train(fit.images[kept], fit.points[kept], steps, 0)
      part = part_of(fit, rows[:held])
      found[str(steps)] = round(labels.error(variables, part, length), 3)
      results.add()
  return min(options, key=lambda steps: found[str(steps)])


def part_of(dataset, rows):
  """Makes the dataset of some rows."""
  return type(dataset)(
    dataset.images[rows], dataset.points[rows], image_size=dataset.image_size
  )


def measure_labels(results, run, splits):
  """Trains with n labels and measures, for each n and choice of them."""
  length, fit, total = normaliser(run.config), splits.fit, len(splits.fit)
  labels = Labels(run.config, fit.points.shape[1])
  for n, (repeats, options) in PLAN.items():
    n = n or total
    if all(
      results.has(kind="labels", n=n, repeat=repeat)
      for repeat in range(repeats)
    ):
      continue
    steps = chosen_steps(results, labels, n, options, fit, length)
    for repeat in range(repeats):
      key = {"kind": "labels", "n": n, "repeat": repeat}
      if results.has(**key):
        continue
      start, rows = time.monotonic(), choose(total, n, repeat)
      variables = labels.train(
        fit.images[rows], fit.points[rows], steps, repeat
      )
      error = labels.error(variables, splits.test, length)
      seconds = round(time.monotonic() - start)
      results.add(**key, error=round(error, 3), steps=steps, seconds=seconds)


def summary(cells):
  """Averages cells: {kind: {n: (mean, deviation or None, choices)}}."""
  result = {}
  for cell in cells:
    result.setdefault(cell["kind"], {}).setdefault(cell["n"], []).append(
      cell["error"]
    )
  return {
    kind: {
      n: (
        float(np.mean(errors)),
        float(np.std(errors, ddof=1)) if len(errors) > 1 else None,
        len(errors),
      )
      for n, errors in sorted(rows.items())
    }
    for kind, rows in result.items()
  }


def level(labels, others):
  """Interpolates the n from which labels are as good: a number, or None.

  Over log n, between the first two n of which the first is worse and the second
  is not; None where it is never as good.
  """
  before = None
  for n in sorted(labels.keys() & others.keys()):
    gap = labels[n][0] - others[n][0]
    if gap <= 0:
      if before is None:
        return float(n)
      m, last = before
      share = last / (last - gap)
      return float(np.exp(np.log(m) + share * (np.log(n) - np.log(m))))
    before = n, gap
  return None


def table(found):
  """Lists the lines of a Markdown table of `summary`, a row each n."""
  kinds = sorted(found, key=lambda kind: kind != "labels")
  lines = [f"| annotated images | {' | '.join(kinds)} | choices of images |"]
  lines.append("|---" * (2 + len(kinds)) + "|")

  def cell(kind, n):
    mean, deviation, _ = found[kind].get(n, (None, None, 0))
    if mean is None:
      return ""
    return f"{mean:.2f}" + (f" ± {deviation:.2f}" if deviation else "")

  for n in sorted({n for rows in found.values() for n in rows}):
    cells = " | ".join(cell(kind, n) for kind in kinds)
    choices = max(rows[n][2] for rows in found.values() if n in rows)
    lines.append(f"| {n} | {cells} | {choices} |")
  return lines


def draw(path, found, mean_shape):
  """Draws the errors over n, with one deviation as a band."""
  figure = canvas.new_figure(640, 380)
  ax = figure.add_axes([0.09, 0.13, 0.89, 0.84])
  colours = {"labels": "#d95f02"}
  for kind, rows in found.items():
    n = np.array(list(rows))
    mean, spread = (
      np.array([row[i] or 0.0 for row in rows.values()]) for i in (0, 1)
    )
    words = "trained with n labels, from scratch"
    if kind != "labels":
      words = f"landmarks without labels ({kind}), linear map from n labels"
    colour = colours.get(kind, "#1b6ca8")
    (line,) = ax.plot(n, mean, "o-", ms=4, label=words, color=colour)
    ax.fill_between(
      n, mean - spread, mean + spread, color=line.get_color(), alpha=0.2, lw=0
    )
  ax.axhline(mean_shape, color="#999999", lw=0.8, ls=":", label="mean shape")
  ax.set_xscale("log")
  ticks = sorted({n for rows in found.values() for n in rows})
  ax.set_xticks(ticks, [str(n) for n in ticks], fontsize=canvas.FONT)
  ax.minorticks_off()
  ax.set_ylim(0, None)
  ax.tick_params(labelsize=canvas.FONT)
  ax.set_xlabel("annotated images, n", fontsize=canvas.FONT)
  ax.set_ylabel("test error, % of the eye distance", fontsize=canvas.FONT)
  ax.grid(color="#eeeeee", lw=0.6)
  ax.legend(fontsize=canvas.FONT, frameon=False)
  canvas.save(figure, path)


def main():
  """Measures what the file lacks, and prints and draws what it has."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--workdir", required=True)
  parser.add_argument("--root", required=True)
  parser.add_argument("--name", default="C3")
  parser.add_argument("--out", required=True)
  parser.add_argument("--figure", default="")
  args = parser.parse_args()
  compilation.choose_convolutions()
  compilation.enable()
  run = load_trained(args.workdir)
  config = run.config.copy_and_resolve_references().unlock()
  config.data.root = args.root
  run = run._replace(config=config)
  splits, results = load_splits(config), Results(args.out)
  measure_landmarks(results, args.name, run, splits)
  size = config.data.image_size
  fit, test = (
    geometry.coords_to_corner_pixels(x.points, size)
    for x in (splits.fit, splits.test)
  )
  mean_shape = regression.error_percent(
    fit.mean(0), test, normaliser=normaliser(config), image_size=size
  )
  results.content["mean_shape"] = round(mean_shape, 3)
  measure_labels(results, run, splits)
  found = summary(results.content["cells"])
  results.content["level_at"] = {
    kind: level(found["labels"], rows)
    for kind, rows in found.items()
    if kind != "labels"
  }
  results.add()
  print("\n".join(table(found)))
  print("level at", results.content["level_at"])
  if args.figure:
    draw(args.figure, found, mean_shape)


if __name__ == "__main__":
  main()
