"""Which signal tells that a landmark is hidden, on synthetic faces.

  python -m benchmarks.visibility --workdir=runs/quickstart --out=FILE

A square patch is pasted into each test face: of one colour, of noise, or cut
out of another face. A landmark is hidden where the patch covers the place at
which it is detected without the patch ("landmark"); or where it covers the
annotated point that is nearest to the landmark on average ("nearest_point").
Signals, each higher where the landmark is seen:

  confidence  `detect.confidence`: how concentrated its map is
  peak        the largest probability of its map
  entropy     minus the entropy of its map
  agreement   minus the distance, in cells, of the way by the flow to a training
              image and back, median over such images
  arrival     minus the distance of where the flow puts it in a training image
              to where it is detected there, median over such images
  likeness    cosine of f at the landmark with its mean over training images
  likeness'   the same of f'
  familiar'   minus the Mahalanobis distance of f' at the landmark from that of
              training images
  together    mean of confidence, agreement, likeness' and familiar', each less
              its mean over training images and by its deviation there

AUC is the chance that of a hidden and a seen landmark the hidden one has the
lower signal: 0.5 says nothing. "auc" is the mean over landmarks, each by
itself, "least" that of the worst; "pooled" takes all together, as one threshold
for all landmarks would. What is chosen is chosen on the faces of "fit".
"""

import argparse
import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from c3_jax.data import synthetic
from c3_jax.evaluation import detect
from c3_jax.geometry import warp
from c3_jax.models import correspondence
from c3_jax.runs import load_trained
from c3_jax.runtime import compilation, files

PATCHES = ("colour", "noise", "face")
SIDE = (0.5, 0.8)  # Of a patch, in coordinates; the frame is 2 wide.
IMAGES = {"fit": 300, "test": 500}
REFERENCES = 8
DESCRIBED = 300  # Training images that say what f is like at a landmark.
BATCH = 50
MIXED = ("confidence", "agreement", "likeness'", "familiar'")


def paste(images, kind, seed):
  """Pastes a patch into each image.

  Args:
    images: [n, s, s, 3] in [0, 1].
    kind: of `PATCHES`.
    seed: int.

  Returns:
    (images, centres [n, 2], halves [n]): the patches as squares, in [-1, 1].
  """
  rng = np.random.default_rng((seed, PATCHES.index(kind)))
  n, s = images.shape[:2]
  sides = np.rint(rng.uniform(*SIDE, n) * s / 2).astype(int)
  result = np.array(images)
  corners = np.stack([rng.integers(0, s - side + 1, 2) for side in sides])
  for i, (side, (x, y)) in enumerate(zip(sides, corners)):
    box = np.s_[y : y + side, x : x + side]
    if kind == "colour":
      patch = rng.uniform(0, 1, 3)
    elif kind == "noise":
      patch = rng.uniform(0, 1, (side, side, 3))
    else:
      u, v = rng.integers(0, s - side + 1, 2)
      other = images[(i + 1 + rng.integers(n - 1)) % n]
      patch = other[v : v + side, u : u + side]
    result[i][box] = patch
  centres = (2 * corners + sides[:, None]) / s - 1
  return result, centres, sides / s


def covered(points, centres, halves):
  """Marks points [n, p, 2] under the patches: bool [n, p]."""
  away = np.abs(points - centres[:, None]).max(-1)
  return away <= halves[:, None]


class Signals:
  """Computes the signals of images by a trained network."""

  def __init__(self, run, training):
    """Describes landmarks by training images [m, s, s, 3] in [0, 1]."""
    self._run = run
    self._match = correspondence.Matcher.measured(run.config.objective)
    self._see = jax.jit(functools.partial(run.model.apply, method=self._found))
    self._pair = jax.jit(functools.partial(run.model.apply, method=self._flow))
    found = self.see(training)
    self._means = {
      name: found[name].mean(0) for name in ("likeness", "likeness'")
    }
    at = found["at"]
    self._centre = at.mean(0)
    moments = np.einsum("nkc,nkd->kcd", at - self._centre, at - self._centre)
    # Features may be fewer than their directions, so some noise is assumed.
    noise = np.einsum("kcc->k", moments)[:, None, None] / at.shape[2]
    moments = moments + 0.1 * noise * np.eye(at.shape[2])
    self._inverse = np.linalg.inv(moments / len(at))
    self._references = jax.tree.map(lambda x: x[:REFERENCES], found)
    # Of images that are no references.
    clean = self._single(jax.tree.map(lambda x: x[REFERENCES:], found))
    self._scale = {name: (x.mean(0), x.std(0)) for name, x in clean.items()}

  def see(self, images):
    """Finds landmarks, their maps and features: dict of [n, ..]."""
    parts = [
      jax.device_get(self._see(self._run.variables, images[i : i + BATCH]))
      for i in range(0, len(images), BATCH)
    ]
    return jax.tree.map(lambda *x: np.concatenate(x), *parts)

  def _found(self, model, images):
    features, f = model.features(images)
    pose = model.pose(f)
    read = jax.vmap(warp.sample)
    unit = lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True)  # noqa: E731
    p = jnp.maximum(pose.probability, 1e-12)
    return {
      "points": pose.points,
      "features": features,
      "confidence": detect.confidence(pose.points, pose.probability),
      "peak": p.max((1, 2)),
      "entropy": jnp.sum(p * jnp.log(p), (1, 2)),
      "likeness": unit(read(f, pose.points)),
      "likeness'": unit(read(features, pose.points)),
      "at": read(features, pose.points),
    }

  def _flow(self, model, features, points, reference, there):
    """Measures the way from images to one reference and back: two [n, k]."""
    n = len(features)
    repeat = lambda x: jnp.broadcast_to(x, (n, *x.shape))  # noqa: E731
    c = model.match(repeat(reference), features)
    out, back = self._match.both(c)
    arrived = jax.vmap(warp.sample)(out, points)
    return (
      correspondence.return_distance(points, out, back),
      jnp.linalg.norm(arrived - there, axis=-1),
    )

  def of(self, images):
    """Computes all signals: {name: [n, k]}."""
    values = self._single(self.see(images))
    parts = [(values[x] - self._scale[x][0]) / self._scale[x][1] for x in MIXED]
    return values | {"together": np.mean(parts, 0)}

  def _single(self, found):
    """Computes the signals of what `see` found, but for "together"."""
    ways = []
    for i in range(REFERENCES):
      reference = (self._references[x][i] for x in ("features", "points"))
      arrays = found["features"], found["points"], *reference
      ways.append(jax.device_get(self._pair(self._run.variables, *arrays)))
    away, missed = np.median(np.array(ways), 0)
    likeness = {
      name: (found[name] * mean).sum(-1) / np.linalg.norm(mean, axis=-1)
      for name, mean in self._means.items()
    }
    off = found["at"] - self._centre
    square = np.einsum("nkc,kcd,nkd->nk", off, self._inverse, off)
    likeness["familiar'"] = -np.sqrt(square)
    keep = ("confidence", "peak", "entropy")
    return (
      {name: found[name] for name in keep}
      | {"agreement": -away, "arrival": -missed}
      | likeness
    )


def auc(values, hidden):
  """Computes the area under the ROC curve of hidden against seen."""
  values, hidden = values.ravel(), hidden.ravel()
  n, m = hidden.sum(), (~hidden).sum()
  if not n or not m:
    return float("nan")
  ranks = stats.rankdata(values)
  return float((ranks[~hidden].sum() - m * (m + 1) / 2) / (n * m))


def areas(signals, hidden):
  """Measures each signal [n, k]: {name: {"auc", "pooled", "least"}}."""
  result = {}
  for name, values in signals.items():
    each = [auc(values[:, i], hidden[:, i]) for i in range(hidden.shape[1])]
    result[name] = {
      "auc": round(float(np.nanmean(each)), 3),
      "least": round(float(np.nanmin(each)), 3),
      "pooled": round(auc(values, hidden), 3),
    }
  return result


def measure(run, split, signals):
  """Measures on faces of a split with each kind of patch: a dict."""
  size = run.config.data.image_size
  faces = synthetic.dataset(
    run.config.data.seed,
    split=split,
    n=IMAGES[split],
    image_size=size,
    load_size=size,
  )
  images = np.float32(faces["images"]) / 255
  clean = signals.see(images)["points"]
  apart = clean[:, :, None] - faces["points"][:, None]
  nearest = np.linalg.norm(apart, axis=-1).mean(0).argmin(1)
  result = {"images": len(images)}
  for kind in PATCHES:
    patched, *squares = paste(images, kind, seed=len(split))
    found = signals.of(patched)
    hidden = covered(clean, *squares)
    point = covered(faces["points"], *squares)[:, nearest]
    result[kind] = {
      "hidden_percent": round(100 * float(hidden.mean()), 1),
      "landmark": areas(found, hidden),
      "nearest_point": areas(found, point),
    }
  return result


def main():
  """Measures, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--workdir", required=True)
  parser.add_argument("--out", required=True)
  args = parser.parse_args()
  compilation.choose_convolutions()
  compilation.enable()
  run = load_trained(args.workdir)
  size = run.config.data.image_size
  training = synthetic.dataset(
    run.config.data.seed,
    split="train",
    n=DESCRIBED,
    image_size=size,
    load_size=size,
  )
  signals = Signals(run, np.float32(training["images"]) / 255)
  result = {"k": run.config.model.k, "step": int(run.step)}
  result |= {split: measure(run, split, signals) for split in IMAGES}
  files.write_json(args.out, result)
  for kind in PATCHES:
    for name, found in result["test"][kind]["landmark"].items():
      print(f"{kind:8}{name:12}", *(f"{x:8.3f}" for x in found.values()))


if __name__ == "__main__":
  main()
