"""The figures of a run: landmarks, swaps, template face, transfer, curves."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from c3_jax import augment
from c3_jax.evaluation import figures, regression
from c3_jax.evaluation.transfer import transferred

SHOWN = 24
SWAPPED = 6


def encode(model, images):
  """(landmarks, gaussian maps, a, f') of images [n, H, W, 3] in [0, 1]."""
  encoding = model.encode(images)
  pose = encoding.pose
  return pose.points, pose.maps, encoding.appearance, encoding.features


def draw(config, workdir, model, splits, variables, report):
  """Draws the figures of a trained model into workdir/figures.

  Args:
    config: of the run.
    workdir: its folder.
    model: `C3`.
    splits: `build.Splits`; test images are shown, or training images where
      there are none.
    variables: trained params and batch_stats.
    report: of `evaluate.evaluate`, or None.
  """
  folder = pathlib.Path(workdir) / "figures"
  folder.mkdir(exist_ok=True)
  dataset = splits.train if splits.test is None else splits.test
  n = max(2, min(SHOWN, len(dataset) // 2 * 2))
  batch = next(dataset.eval_batches(n))
  images = augment.centre_crop(batch["image"], config.data.image_size)
  images = images.astype(np.float32) / 255
  apply = lambda method, *args: jax.device_get(  # noqa: E731
    jax.jit(lambda v, *args: model.apply(v, *args, method=method))(
      variables, *args
    )
  )
  points, maps, a, features = apply(encode, images)
  annotated = predicted = None
  if report is not None:
    annotated = batch["points"]
    size = config.data.image_size
    regressor = regression.Regressor.from_json(report["regressor"]["intercept"])
    pixels = regressor.apply(regression.to_corner_pixels(points, size))
    predicted = 2 * pixels / size - 1
  figures.landmarks_figure(
    folder / "landmarks.png", images, points, annotated, predicted
  )
  m = min(SWAPPED, n)
  grid_a = jnp.repeat(a[:m], m, 0)
  grid_p = jnp.tile(maps[:m], (m, 1, 1, 1))
  swapped = apply("decode", grid_a, grid_p)
  figures.swap_figure(
    folder / "swaps.png",
    images[:m],
    images[:m],
    swapped.reshape(m, m, *images.shape[1:]),
  )
  rows = slice(0, min(8, n))
  a, p = a[rows], maps[rows]
  figures.template_figure(
    folder / "template.png",
    images[rows],
    apply("decode", a, p),
    apply("decode", np.zeros_like(a), p),
    apply("decode", a, np.zeros_like(p)),
  )
  half = n // 2
  carried = apply(transferred, features[:half], features[half:], points[:half])
  shown = slice(0, min(8, half))
  figures.transfer_figure(
    folder / "transfer.png",
    images[:half][shown],
    images[half:][shown],
    points[half:][shown],
    carried[shown],
    points[:half][shown],
  )
  curves = pathlib.Path(workdir) / "metrics.jsonl"
  if curves.exists():
    figures.curves_figure(folder / "curves.png", curves)
