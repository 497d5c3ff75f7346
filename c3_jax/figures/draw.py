"""The figures of a run: landmarks, swaps, template face, transfer, curves."""

import functools

import jax
import numpy as np

from c3_jax import geometry
from c3_jax.data import PairedDataset
from c3_jax.evaluation import Subject, regression
from c3_jax.evaluation.evaluator import normaliser
from c3_jax.evaluation.pairs.transfer import carry
from c3_jax.figures import curves, grids
from c3_jax.models import correspondence

SHOWN = 18
SWAPPED = 6
ROW = 8
CARRIED = 5


def draw_run(subject: Subject, report: dict | None = None) -> None:
  """Draws the figures of a trained model into its figures[/NAME].

  `report` is that of `evaluation.evaluate`, where there is one.
  """
  folder, size = subject.figures, subject.config.data.image_size
  folder.mkdir(parents=True, exist_ok=True)
  images, annotated = shown_images(subject.shown, size)
  apply = applied(subject.evaluator.model, subject.variables)
  a, pose, features = apply("encode", images)
  points, maps, predicted = pose.points, pose.maps, None
  if report is not None and "regressor" in report:
    regressor = regression.Regressor.from_json(report["regressor"]["intercept"])
    pixels = regressor.apply(geometry.coords_to_corner_pixels(points, size))
    predicted = geometry.corner_pixels_to_coords(pixels, size)
    errors = image_errors(subject, report)
    curves.error_curve_figure(folder / "errors.png", errors)
  grids.landmarks_figure(
    folder / "landmarks.png",
    images,
    points,
    None if predicted is None else annotated,
    predicted,
  )
  m = min(SWAPPED, len(images))
  i, j = np.divmod(np.arange(m * m), m)
  swapped = apply("decode", a[i], maps[j])
  swapped = swapped.reshape(m, m, *images.shape[1:])
  grids.swap_figure(folder / "swaps.png", images[:m], images[:m], swapped)
  a, p = a[:ROW], maps[:ROW]
  grids.template_figure(
    folder / "template.png",
    images[:ROW],
    apply("decode", a, p),
    apply("decode", np.zeros_like(a), p),
    apply("decode", a, np.zeros_like(p)),
  )
  n = 2 * CARRIED
  images, points, features = images[:n], points[:n], features[:n]
  carried = carried_landmarks(apply, features, points, subject.config)
  grids.transfer_figure(folder / "transfer.png", images, points, carried)
  metrics = subject.workdir / "metrics.jsonl"
  if metrics.exists():
    curves.curves_figure(folder / "curves.png", metrics)


def applied(model, variables):
  """Makes the function (method, *arrays) -> NumPy arrays of a network."""
  return lambda method, *args: jax.device_get(
    jax.jit(functools.partial(model.apply, method=method))(variables, *args)
  )


def carried_landmarks(apply, features, points, config):
  """Carries the landmarks of images 2m to images 2m + 1 by the flow.

  Args:
    apply: of `applied`.
    features: [2 n, h, w, c], f' of the images.
    points: [2 n, K, 2], detected.
    config: of the run, which says how T is read.

  Returns:
    [n, K, 2].
  """
  scores = apply("match", features[1::2], features[::2])
  match = correspondence.Matcher.measured(config.objective)
  carried = jax.jit(carry, static_argnums=2)(scores, points[::2], match)
  return np.asarray(carried)


def shown_images(dataset, size):
  """Chooses the images that are shown, of a dataset of images or pairs.

  Returns:
    (images, points): [n, size, size, 3] in [0, 1], n even, in pairs (0, 1),
    (2, 3), ..; [n, P, 2], or None for listed pairs and without annotation.
  """
  points = None
  if isinstance(dataset, PairedDataset):
    pairs = max(1, min(SHOWN // 2, len(dataset)))
    batch = next(dataset.eval_batches(pairs))
    images = np.stack([batch["image_target"], batch["image_source"]], 1)
    images = images.reshape(-1, *images.shape[2:])
  else:
    first = dataset.first(max(2, min(SHOWN, len(dataset) // 2 * 2)))
    images, points = first.images, first.points
    if len(images) == 1:
      images = np.repeat(images, 2, 0)
      points = None if points is None else np.repeat(points, 2, 0)
  return geometry.network_input(images, size), points


def image_errors(subject, report):
  """Measures the error of each test image: {name: [n] per cent}.

  The names are those of the regressors of the report, with and without
  intercept, and "mean shape", of the training images.
  """
  config, evaluator = subject.config, subject.evaluator
  size, splits = config.data.image_size, evaluator.splits
  found = evaluator.landmarks(subject.variables, splits.test)
  pixels = lambda points: geometry.coords_to_corner_pixels(points, size)  # noqa: E731
  estimates = {
    name.replace("_", " "): regression.Regressor.from_json(
      report["regressor"][name]
    ).apply(pixels(found))
    for name in ("intercept", "no_intercept")
  }
  estimates["mean shape"] = np.nanmean(pixels(splits.fit.points), 0)
  return {
    name: regression.image_errors(
      points,
      pixels(splits.test.points),
      normaliser=normaliser(config),
      image_size=size,
    )
    for name, points in estimates.items()
  }
