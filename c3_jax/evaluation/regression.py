"""Linear regression from discovered landmarks to annotated points (sec. 4.2).

Unsupervised landmarks are scored by how well a linear map predicts the
annotated points from them. Codes differ silently in how they fit it
(`conventions` names the ways) and in the length that the error is divided by.

The error is the mean distance between estimated and annotated points, in per
cent of that length, as a rule the distance between the eyes. The papers call it
"MSE", though nothing in it is squared.
"""

import dataclasses

import numpy as np

from c3_jax.errors import UserError


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
    """Inverts `as_json`."""
    return cls(*(np.asarray(value[x], float) for x in ("weights", "bias")))


def fit_regressor(landmarks, points, *, intercept, origin=0.0, ridge=0.0):
  """Fits annotated points to landmarks by least squares.

  Collapsed or constant landmarks make the problem rank deficient; the solution
  of least norm is taken then. Each point is fitted on the images that have it;
  a point that none has gets NaN.

  Args:
    landmarks: [n, K, 2], discovered, in corner-origin pixels.
    points: [n, P, 2], annotated in the same images, in corner-origin pixels;
      NaN where one is missing.
    intercept: whether the bias is fitted too; it is never penalised.
    origin: x and y of the origin of a fit without intercept, in pixels from
      the corner.
    ridge: this times the sum of the squared weights is added to the sum of the
      squared distances in pixels.

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
  here = ~np.isnan(y)
  _check_finite("annotated points", np.where(here, y, 0))
  weights, bias = np.full((x.shape[1], y.shape[1]), np.nan), y[0] * np.nan
  groups = {}
  for column in range(y.shape[1]):
    groups.setdefault(here[:, column].tobytes(), []).append(column)
  for columns in groups.values():
    rows = here[:, columns[0]]
    if rows.any():
      weights[:, columns], bias[columns] = _solve(
        x[rows], y[rows][:, columns], intercept, origin, ridge
      )
  return Regressor(weights, bias)


def _solve(x, y, intercept, origin, ridge):
  """Fits y [n, q] to x [n, p] as `fit_regressor`: (weights, bias)."""
  zero_x, zero_y = (
    each.mean(0) if intercept else np.full(each.shape[1], origin)
    for each in (x, y)
  )
  u, s, vt = np.linalg.svd(x - zero_x, full_matrices=False)
  # Landmarks are float32. Where they have collapsed, a direction of smaller
  # spread than their rounding is noise, which would get enormous weights.
  kept = s > np.finfo(np.float32).eps * np.linalg.norm(x)
  u, s, vt = u[:, kept], s[kept], vt[kept]
  weights = vt.T @ ((s / (s**2 + ridge))[:, None] * (u.T @ (y - zero_y)))
  return weights, zero_y - zero_x @ weights


def point_errors(
  predicted, points, *, normaliser=(0, 1), image_size=None, measured=None
):
  """Measures the distance of each estimate, in per cent of a length.

  Args:
    predicted: [n, P, 2], or [P, 2] for one shape for all images.
    points: [n, P, 2], annotated, in the same unit as predicted; NaN where one
      is missing.
    normaliser: the length: the indices of two annotated points, for their
      distance in the image at hand; "box", the square root of the area of the
      smallest upright box around all points; or "image", the image side.
    image_size: the image side in the unit of points; used by "image" only.
    measured: [n, Q, 2], where the length is not measured on `points`.

  Returns:
    [n, P] float64. NaN are missing points, and rows whose length is 0 (the two
    points coincide, or the box is flat) or rests on a missing point.

  Raises:
    UserError: the normaliser does not fit the points, or a value is not finite.
  """
  points = np.asarray(points, np.float64)
  distance = np.linalg.norm(np.asarray(predicted, np.float64) - points, axis=-1)
  given = ~np.isnan(points).any(-1)
  _check_finite("estimated or annotated points", np.where(given, distance, 0.0))
  measured = points if measured is None else np.asarray(measured, np.float64)
  length = _normalising_length(measured, normaliser, image_size)
  length = np.where(length > 0, length, np.nan)
  return 100 * distance / length[:, None]


def image_errors(predicted, points, **options):
  """Averages `point_errors` over the points of each image: [n], or NaN."""
  errors = point_errors(predicted, points, **options)
  here = ~np.isnan(errors)
  return np.where(here, errors, 0).sum(1) / np.where(
    here.any(1), here.sum(1), np.nan
  )


def error_percent(predicted, points, *, normaliser=(0, 1), image_size=None):
  """Averages the error over points and images, in per cent (papers' "MSE").

  Images without a length are left out. Arguments and errors are those of
  `point_errors` and `defined`.
  """
  errors = point_errors(
    predicted, points, normaliser=normaliser, image_size=image_size
  )
  return float(np.nanmean(defined(errors, normaliser)))


def failure_rate(errors, threshold=10.0):
  """Counts images whose mean error is above the threshold, in per cent.

  `errors` [n, P] are those of `point_errors`; NaN rows are left out.
  """
  means = np.nanmean(with_length(errors), 1)
  return float(100 * (means > threshold).mean())


def area_under_curve(errors, threshold=10.0):
  """Integrates the curve of errors up to a threshold, in per cent.

  The curve is the share of images whose mean error is at most e, for e from 0
  to the threshold: 100 where no image has an error. `errors` [n, P] are those
  of `point_errors`; NaN rows are left out.
  """
  errors = np.nanmean(with_length(errors), 1)
  return float(100 * np.maximum(0, 1 - errors / threshold).mean())


def _flatten(points):
  """Lays [n, P, 2] out as [n, 2P] float64: x1, y1, x2, y2, .."""
  points = np.asarray(points, np.float64)
  return points.reshape(len(points), -1)


def _check_finite(name, array):
  """Raises UserError unless every row of [n, ..] is finite."""
  bad = np.flatnonzero(~np.isfinite(array).all(1))
  if bad.size:
    raise UserError(
      f"{name} of {bad.size} images are not finite (first: image {bad[0]}): "
      "correct the annotation, or evaluate an earlier checkpoint if training "
      "diverged"
    )


def _normalising_length(points, normaliser, image_size):
  """Measures the length that errors are divided by, in each image: [n]."""
  if normaliser == "box":
    gone = np.isnan(points)
    high = np.where(gone, -np.inf, points).max(1)
    sides = high - np.where(gone, np.inf, points).min(1)
    return np.sqrt(np.prod(np.where(gone.all(1), np.nan, sides), axis=-1))
  if isinstance(normaliser, str):
    if normaliser != "image" or image_size is None:
      raise UserError(
        f'eval.normaliser is "{normaliser}" with image size {image_size}: '
        'give two point indices, "box", or "image" and a size'
      )
    return np.full(len(points), float(image_size))
  count = points.shape[1]
  if len(normaliser) != 2 or len({*normaliser} & {*range(count)}) != 2:
    raise UserError(
      f"eval.normaliser is {tuple(normaliser)} for {count} points: give two "
      f'different indices from 0 to {count - 1}, "box" or "image"'
    )
  first, second = normaliser
  return np.linalg.norm(points[:, first] - points[:, second], axis=-1)


def with_length(errors):
  """Selects the rows of `point_errors` that are not all NaN."""
  return errors[~np.isnan(errors).all(1)]


def per_point(errors):
  """Averages [n, P] over images: P floats, None for a point that none has."""
  here = ~np.isnan(errors)
  sums = np.where(here, errors, 0).sum(0)
  return [
    float(total / n) if n else None for total, n in zip(sums, here.sum(0))
  ]


def defined(errors, normaliser):
  """Selects the rows of `point_errors` that have an error.

  Raises:
    UserError: there is none.
  """
  rows = with_length(errors)
  if not len(rows):
    raise UserError(
      f"the length of eval.normaliser, {normaliser}, is 0 in all "
      f'{len(errors)} images: choose two other points, or "image"'
    )
  return rows
