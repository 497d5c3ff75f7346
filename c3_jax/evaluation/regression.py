"""Linear regression from discovered landmarks to annotated points (sec. 4.2).

How good landmarks are that nobody named is measured by how well a linear map
turns them into annotated points. Codes differ silently in two conventions, so
both are fitted and each number carries its name:

  "no_intercept"  points = landmarks @ weights, in pixels with the origin at the
                  image's corner: the convention of IMM, on which the published
                  tables rest. Without a bias the place of the origin matters.
  "intercept"     the same with a bias, which does not depend on the origin.

The error is the mean distance between estimated and annotated points, in per
cent of the distance between the eyes. The papers call it "MSE", though nothing
in it is squared.
"""

import dataclasses

import numpy as np

from c3_jax.errors import UserError

CONVENTIONS = {"no_intercept": False, "intercept": True}


@dataclasses.dataclass(frozen=True)
class Regressor:
  """points = landmarks @ weights + bias, in corner-origin pixels.

  Attributes:
    weights: [2K, 2P] float64, rows and columns in the order x1, y1, x2, y2, ..
    bias: [2P] float64, zeros without an intercept.
  """

  weights: np.ndarray
  bias: np.ndarray

  def apply(self, landmarks):
    """Maps landmarks [n, K, 2] to points [n, P, 2], both in corner pixels."""
    return (_flatten(landmarks) @ self.weights + self.bias).reshape(
      len(landmarks), -1, 2
    )

  def as_json(self):
    """Returns {"weights": [[..]], "bias": [..]} with plain numbers."""
    return {"weights": self.weights.tolist(), "bias": self.bias.tolist()}

  @classmethod
  def from_json(cls, value):
    """Inverse of `as_json`."""
    return cls(
      np.asarray(value["weights"], np.float64),
      np.asarray(value["bias"], np.float64),
    )


def to_corner_pixels(coords, size):
  """Maps (x, y) in [-1, 1] to [0, size], 0 = the image's corner (as IMM).

  This is half a pixel more than `landmarks.coords_to_pixels`.
  """
  return (np.asarray(coords, np.float64) + 1) / 2 * size


def fit_regressor(landmarks, points, *, intercept):
  """Fits annotated points to landmarks by least squares.

  Collapsed or constant landmarks make the problem rank deficient; the solution
  of least norm is taken then.

  Args:
    landmarks: [n, K, 2] discovered landmarks, corner-origin pixels.
    points: [n, P, 2] annotated points of the same images, corner-origin pixels.
    intercept: whether the bias is fitted too.

  Returns:
    A `Regressor`.

  Raises:
    UserError: there are no images, or a value is not finite.
    ValueError: landmarks and points are not of the same images.
  """
  if len(landmarks) != len(points):
    raise ValueError(f"{len(landmarks)} landmark rows, {len(points)} of points")
  if not len(points):
    raise UserError(
      "the regression has no annotated training images: mark some as split "
      "train, or evaluate on another dataset"
    )
  x, y = _flatten(landmarks), _flatten(points)
  _check_finite("landmarks", x)
  _check_finite("annotated points", y)
  if intercept:
    x = np.concatenate([x, np.ones((len(x), 1))], 1)
  # Landmarks come from the network as float32. A direction of smaller spread
  # than their rounding is noise, which the default (float64) cut-off would
  # turn into enormous weights when landmarks have collapsed.
  solution = np.linalg.lstsq(x, y, rcond=np.finfo(np.float32).eps)[0]
  if intercept:
    return Regressor(solution[:-1], solution[-1])
  return Regressor(solution, np.zeros(y.shape[1]))


def mean_shape(points):
  """Mean position of each annotated point: [n, P, 2] to [P, 2]."""
  return np.asarray(points, np.float64).mean(0)


def point_errors(predicted, points, *, normaliser=(0, 1), image_size=None):
  """Distance of each estimate to its point, in per cent of a length.

  Args:
    predicted: [n, P, 2], or [P, 2] for one shape for all images.
    points: [n, P, 2], annotated, in the same unit as predicted.
    normaliser: the length: the indices of two points of the face, for their
      distance in the image at hand, or "image" for the image side.
    image_size: the image side in the unit of points; used by "image" only.

  Returns:
    [n, P] float64. Rows whose two normalising points coincide have no error
    and are NaN; nothing else is.

  Raises:
    UserError: the normaliser does not fit the points, or a value is not finite.
  """
  points = np.asarray(points, np.float64)
  distance = np.linalg.norm(np.asarray(predicted, np.float64) - points, axis=-1)
  _check_finite("estimated or annotated points", distance)
  length = _normalising_length(points, normaliser, image_size)
  length = np.where(length > 0, length, np.nan)
  return 100 * distance / length[:, None]


def error_percent(predicted, points, *, normaliser=(0, 1), image_size=None):
  """Mean error over points and images, in per cent (the papers' "MSE").

  Images whose two normalising points coincide are left out. Arguments as
  `point_errors`.

  Raises:
    UserError: as `point_errors`, or all images are left out.
  """
  errors = point_errors(
    predicted, points, normaliser=normaliser, image_size=image_size
  )
  return float(_defined(errors, normaliser).mean())


def failure_rate(errors, threshold=10.0):
  """Per cent of images whose mean error is above the threshold.

  Args:
    errors: [n, P] from `point_errors`; NaN rows are left out.
    threshold: per cent.
  """
  errors = errors[~np.isnan(errors).any(1)]
  return float(100 * (errors.mean(1) > threshold).mean())


def evaluate(
  train_landmarks,
  train_points,
  test_landmarks,
  test_points,
  *,
  image_size,
  normaliser=(0, 1),
):
  """Fits on the training images, measures on the test images.

  Args:
    train_landmarks: [n, K, 2] discovered landmarks, (x, y) in [-1, 1].
    train_points: [n, P, 2] annotated points, (x, y) in [-1, 1].
    test_landmarks: [m, K, 2], test_points: [m, P, 2], likewise.
    image_size: side in pixels of the images that the model sees.
    normaliser: as `point_errors`.

  Returns:
    A dict that `json.dump` takes; C stands for each of the two conventions:
      "error": {C: per cent}, "mean_shape": per cent, error of the mean training
      shape, "per_point": {C: [P per cents]}, "failure_rate_10": {C: per cent of
      images}, "regressor": {C: {"weights", "bias"}}, "n_train", "n_test" and
      "n_skipped", test images whose two normalising points coincide.

  Raises:
    UserError: as `fit_regressor` and `error_percent`.
  """
  if not len(test_points):
    raise UserError(
      "the regression has no annotated test images: mark some as split test, "
      "or evaluate on another dataset"
    )
  train_landmarks, train_points, test_landmarks, test_points = (
    to_corner_pixels(array, image_size)
    for array in (train_landmarks, train_points, test_landmarks, test_points)
  )
  unit = {"normaliser": normaliser, "image_size": image_size}
  result = {
    "error": {},
    "per_point": {},
    "failure_rate_10": {},
    "regressor": {},
    "n_train": len(train_points),
    "n_test": len(test_points),
  }
  for name, intercept in CONVENTIONS.items():
    regressor = fit_regressor(
      train_landmarks, train_points, intercept=intercept
    )
    errors = _defined(
      point_errors(regressor.apply(test_landmarks), test_points, **unit),
      normaliser,
    )
    result["error"][name] = float(errors.mean())
    result["per_point"][name] = errors.mean(0).tolist()
    result["failure_rate_10"][name] = failure_rate(errors)
    result["regressor"][name] = regressor.as_json()
    result["n_skipped"] = len(test_points) - len(errors)
  baseline = mean_shape(train_points)
  result["mean_shape"] = error_percent(baseline, test_points, **unit)
  return result


def _flatten(points):
  """[n, P, 2] to [n, 2P] float64: x1, y1, x2, y2, .."""
  points = np.asarray(points, np.float64)
  return points.reshape(len(points), -1)


def _check_finite(name, array):
  """Raises UserError unless every row of [n, ..] is finite."""
  bad = np.flatnonzero(~np.isfinite(array).all(1))
  if bad.size:
    raise UserError(
      f"{name} of {bad.size} images are not finite (first: image {bad[0]}): "
      "mend the annotation, or evaluate an earlier checkpoint if training "
      "diverged"
    )


def _normalising_length(points, normaliser, image_size):
  """The length in each image that errors are divided by: [n]."""
  if isinstance(normaliser, str):
    if normaliser != "image" or image_size is None:
      raise UserError(
        f'eval.normaliser is "{normaliser}" with image size {image_size}: '
        'give two point indices, or "image" and a size'
      )
    return np.full(len(points), float(image_size))
  count = points.shape[1]
  if (
    len(normaliser) != 2
    or normaliser[0] == normaliser[1]
    or not all(0 <= index < count for index in normaliser)
  ):
    raise UserError(
      f"eval.normaliser is {tuple(normaliser)} for {count} points: give two "
      f'different indices from 0 to {count - 1}, or "image"'
    )
  first, second = normaliser
  return np.linalg.norm(points[:, first] - points[:, second], axis=-1)


def _defined(errors, normaliser):
  """The rows of `point_errors` that have an error."""
  defined = errors[~np.isnan(errors).any(1)]
  if not len(defined):
    raise UserError(
      f"the points {tuple(normaliser)} of eval.normaliser coincide in all "
      f'{len(errors)} images: choose two others, or "image"'
    )
  return defined
