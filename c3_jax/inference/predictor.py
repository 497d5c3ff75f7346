"""A trained model as a function of pictures: landmarks, annotated points."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from c3_jax import geometry
from c3_jax.errors import UserError
from c3_jax.evaluation import regression
from c3_jax.runtime import parallel

_CONVENTION = "intercept"


def forward(model):
  """A function (variables, batch) -> (points, confidence) of pictures.

  batch has image, uint8 [n, s, s, 3]; points are [n, k, 2] in [-1, 1] of the
  frame, confidences [n, k] in [0, 1].
  """

  def run(variables, batch):
    images = batch["image"].astype(jnp.float32) / 255
    pose = model.apply(
      variables,
      images,
      method=lambda model, images: model.pose(model.features(images)[1]),
    )
    return pose.points, confidence(pose.points, pose.probability)

  return run


def confidence(points, probability):
  """How concentrated the softmax map of each landmark is: [n, k] in [0, 1].

  One minus the root mean square distance of the map's probability from the
  landmark, in units of that of a flat map. A map with all of it in one cell
  has 1, a flat one 0, and so has one with peaks in opposite corners.

  Args:
    points: [n, k, 2], (x, y) in [-1, 1], the expectations of the maps.
    probability: [n, h, w, k], which sums to 1 over each map.
  """
  cells = geometry.grid(*probability.shape[1:3])
  square = lambda cells, points: jnp.sum((cells - points) ** 2, -1)  # noqa: E731
  distance = square(cells[None, :, :, None], points[:, None, None])
  spread = jnp.sum(probability * distance, (1, 2))
  flat = jnp.mean(square(cells, 0.0))
  return jnp.clip(1 - jnp.sqrt(spread / flat), 0, 1)


class Predictor:
  """Landmarks of files, a fixed number at a time.

  Attributes:
    k: number of landmarks.
    batch_size: files that the network sees at once.
  """

  def __init__(self, trained, batch_size):
    """Prepares the network; it is compiled at its first use.

    Args:
      trained: `restore.Trained`.
      batch_size: rounded up to a multiple of the local devices.
    """
    devices = jax.local_device_count()
    self.k = trained.config.model.k
    self.frame = geometry.Frame.of(trained.config)
    self.batch_size = -(-batch_size // devices) * devices
    self._function = parallel.pmap_eval(forward(trained.model))
    self._variables = parallel.replicate(trained.variables)

  def __call__(self, images):
    """(points [n, k, 2], confidence [n, k]) of n <= batch_size pictures."""
    side = self.frame.image_size
    batch = np.zeros((self.batch_size, side, side, 3), np.uint8)
    batch[: len(images)] = images
    points, certain = self._function(self._variables, {"image": batch})
    return points[: len(images)], certain[: len(images)]


class Regressor:
  """Annotated points from landmarks, by the regression of an evaluation."""

  def __init__(self, path, trained):
    """Reads eval/DATASET.json.

    Args:
      path: of the file, as it is or relative to the run's folder.
      trained: `restore.Trained`, whose landmarks it must have been fitted to.

    Raises:
      UserError: there is no such regression, or it is of another model.
    """
    try:
      report = json.loads(pathlib.Path(path).read_text())
      self._regressor = regression.Regressor.from_json(
        report["regressor"][_CONVENTION]
      )
      self._size, step = report["image_size"], report["step"]
    except (OSError, ValueError, KeyError, TypeError) as error:
      raise UserError(
        f"{path} has no regression to annotated points ({error}): give an "
        "eval/DATASET.json of this run with --regressor."
      ) from error
    config = trained.config
    for what, there, here in (
      ("step", step, trained.step),
      ("image_size", self._size, config.data.image_size),
      ("k", len(self._regressor.weights) // 2, config.model.k),
    ):
      if there != here:
        raise UserError(
          f"{path} was fitted to landmarks of {what} {there}, not {here}: "
          "evaluate this checkpoint with --mode=eval, or give its --step."
        )
    self.count = len(self._regressor.bias) // 2

  def __call__(self, points):
    """[n, k, 2] landmarks to [n, P, 2] points, both in [-1, 1]."""
    pixels = geometry.coords_to_corner_pixels(points, self._size)
    return 2 * self._regressor.apply(pixels) / self._size - 1
