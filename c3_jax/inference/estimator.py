"""Annotated points from landmarks, by the regression of an evaluation."""

import pathlib

import numpy as np

from c3_jax import geometry
from c3_jax.errors import UserError
from c3_jax.evaluation import regression
from c3_jax.runtime import json_files, paths

_FARTHEST = 1e9
_WRONG = "has no regression to annotated points"
_REMEDY = "give an eval/DATASET.json of this run with --regressor."
_FORM = {
  "step": int,
  "image_size": int,
  "regressor": {"intercept": {"weights": [[float]], "bias": [float]}},
}


class PointEstimator:
  """Estimates annotated points from the landmarks of a trained model.

  Attributes:
    count: number of annotated points.
  """

  def __init__(self, path, workdir, trained):
    """Reads the regression of an eval/DATASET.json.

    Its path may be relative to the run's folder. It must have been fitted to
    the landmarks of `trained`, a `runs.Trained`.

    Raises:
      UserError: there is no such regression, or it is of another model.
    """
    path = pathlib.Path(paths.local(path, "--regressor"))
    if not path.exists():
      path = pathlib.Path(workdir, path)
    report = json_files.read(path, _FORM, wrong=_WRONG, remedy=_REMEDY)
    fitted = report["regressor"]["intercept"]
    columns = {*map(len, fitted["weights"]), len(fitted["bias"])}
    if len(columns) != 1 or columns.pop() % 2 or not fitted["bias"]:
      raise UserError(f"{path} {_WRONG} (its lengths differ): {_REMEDY}")
    self._regressor = regression.Regressor.from_json(fitted)
    # As far as landmarks in the frame can take an estimate, in sides of it.
    reach = np.abs(self._regressor.weights).sum(0) + np.abs(fitted["bias"])
    if reach.max() > _FARTHEST:
      raise UserError(f"{path} {_WRONG} (its numbers are too large): {_REMEDY}")
    self._size, step = report["image_size"], report["step"]
    config = trained.config
    for what, there, here in (
      ("step", step, trained.step),
      ("image_size", self._size, config.data.image_size),
      ("k", len(self._regressor.weights) / 2, config.model.k),
    ):
      if there != here:
        raise UserError(
          f"{path} was fitted to landmarks of {what} {there}, not {here}: "
          "evaluate this checkpoint with --mode=eval, or give its --step."
        )
    self.count = len(self._regressor.bias) // 2

  def __call__(self, landmarks):
    """Maps landmarks [n, k, 2] to points [n, P, 2], both in [-1, 1]."""
    pixels = geometry.coords_to_corner_pixels(landmarks, self._size)
    points = self._regressor.apply(pixels)
    return geometry.corner_pixels_to_coords(points, self._size)
