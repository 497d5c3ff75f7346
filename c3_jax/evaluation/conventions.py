"""The conventions in which papers fit and report landmark regressions.

Codes of the same measure differ silently, so each is fitted, and each number
carries the name of its convention:

  no_intercept         points = landmarks @ weights, in pixels from the corner
                       of the image: IMM, on which the published tables rest
  no_intercept_centre  the same with the origin in the image's centre:
                       lmdis-rep. Without a bias the origin matters
  intercept            a bias is fitted too; no origin matters

Each on all annotated training images (19,000 of MAFL), and with _first90 on the
first nine tenths of them (IMM's 17,100); and each of these with _ridge under
the penalty config.eval.ridge, where that is not 0.
"""

import dataclasses

import numpy as np

from c3_jax import geometry
from c3_jax.errors import UserError
from c3_jax.evaluation import regression

HELD_OUT = 0.1  # IMM's share of the annotated training images.
THRESHOLD = 10.0  # Of failure rate and area under the curve, per cent.


@dataclasses.dataclass(frozen=True)
class Convention:
  """One way to fit the regression.

  Attributes:
    intercept: a bias is fitted.
    centre: without one, the origin is the image's centre, not its corner.
    first: only the first nine tenths of the training images are used.
    ridge: penalty, with lengths in image sides.
  """

  intercept: bool
  centre: bool = False
  first: bool = False
  ridge: float = 0.0

  @property
  def name(self):
    """The key of the convention's numbers."""
    return (
      ("intercept" if self.intercept else "no_intercept")
      + ("_centre" if self.centre else "")
      + ("_first90" if self.first else "")
      + ("_ridge" if self.ridge else "")
    )

  @property
  def title(self):
    """The convention in words."""
    origin = "centre" if self.centre else "corner"
    return (
      ("with intercept" if self.intercept else "without intercept")
      + ("" if self.intercept else f", origin {origin}")
      + (", first 90 %" if self.first else "")
      + (f", ridge {self.ridge:g}" if self.ridge else "")
    )

  def fit(self, data):
    """Fits a `regression.Regressor` to the training images of `Data`."""
    if self.first:
      data = data.only(slice(first(len(data.train_points))))
    return regression.fit_regressor(
      data.train_landmarks,
      data.train_points,
      intercept=self.intercept,
      origin=data.size / 2 if self.centre else 0.0,
      ridge=self.ridge * data.size**2,
    )


MAIN = {each.name: each for each in (Convention(False), Convention(True))}


def conventions(ridge=0.0):
  """Lists all conventions, with the penalty `ridge` too where it is not 0."""
  return [
    Convention(intercept, centre, part, penalty)
    for penalty in ((0.0, ridge) if ridge else (0.0,))
    for part in (False, True)
    for intercept, centre in ((True, False), (False, False), (False, True))
  ]


def first(n):
  """Counts the images in the first nine tenths of n."""
  return n - round(HELD_OUT * n)


@dataclasses.dataclass(frozen=True)
class Data:
  """Landmarks and annotated points in corner-origin pixels of the frame.

  Attributes:
    train_landmarks: [n, K, 2], discovered.
    train_points: [n, P, 2], annotated.
    test_landmarks, test_points: [m, K, 2] and [m, P, 2], likewise.
    size: side of the frame in pixels.
    normaliser: as in `regression.point_errors`.
  """

  train_landmarks: np.ndarray
  train_points: np.ndarray
  test_landmarks: np.ndarray
  test_points: np.ndarray
  size: int
  normaliser: object

  @classmethod
  def of(cls, *coords, size, normaliser):
    """Converts the four arrays in [-1, 1], in the order of the attributes."""
    pixels = (geometry.coords_to_corner_pixels(each, size) for each in coords)
    return cls(*pixels, size, normaliser)

  def only(self, rows):
    """Leaves out all training images but some."""
    return dataclasses.replace(
      self,
      train_landmarks=self.train_landmarks[rows],
      train_points=self.train_points[rows],
    )

  def errors(self, regressor, normaliser=None):
    """Measures [m, P] per cent on the test images; NaN rows have no length."""
    # Few images may lack a point, which is then not measured.
    fitted = ~np.isnan(regressor.bias).reshape(-1, 2)
    return regression.point_errors(
      regressor.apply(self.test_landmarks),
      np.where(fitted, self.test_points, np.nan),
      normaliser=normaliser or self.normaliser,
      image_size=self.size,
    )

  def error(self, convention):
    """Fits, and averages `errors` over the test images that have a length."""
    errors = self.errors(convention.fit(self))
    return float(np.nanmean(regression.defined(errors, self.normaliser)))


def evaluate(data, *, ridge=0.0, few_shot=(), repeats=10, seed=0):
  """Fits on the training images, measures on the test images.

  Args:
    data: `Data`.
    ridge: as `conventions`.
    few_shot: numbers of training images to fit with instead of all.
    repeats, seed: of the random choices of so many images.

  Returns:
    A dict for JSON, described in docs/evaluation.md.

  Raises:
    UserError: there are no images, a value is not finite, or the normaliser
      does not fit the points.
  """
  if not len(data.test_points):
    raise UserError(
      "the regression has no annotated test images: mark some as split test, "
      "or evaluate on another dataset"
    )
  titles = {each.name: each.title for each in conventions(ridge)}
  fits = {each.name: each.fit(data) for each in conventions(ridge)}
  rows = {
    name: regression.defined(data.errors(fit), data.normaliser)
    for name, fit in fits.items()
  }
  per = lambda measure: {name: measure(rows[name]) for name in rows}  # noqa: E731
  return {
    "n_train": len(data.train_points),
    "n_test": len(data.test_points),
    "n_skipped": len(data.test_points) - len(rows["intercept"]),
    "normaliser": normaliser_title(data.normaliser),
    "conventions": titles,
    "n_missing": int(np.isnan(data.test_points).any(-1).sum()),
    "error": per(lambda e: float(np.nanmean(e))),
    "mean_shape": regression.error_percent(
      np.nanmean(data.train_points, 0),
      data.test_points,
      normaliser=data.normaliser,
      image_size=data.size,
    ),
    "per_point": per(regression.per_point),
    "failure_rate_10": per(lambda e: regression.failure_rate(e, THRESHOLD)),
    "auc_10": per(lambda e: regression.area_under_curve(e, THRESHOLD)),
    "normalised_by": normalised_by(data, fits),
    "backward": backward(data),
    "few_shot": few_shots(data, few_shot, repeats, seed),
    "few_shot_repeats": repeats,
    "regressor": {name: fit.as_json() for name, fit in fits.items()},
  }


def check_points(points):
  """Refuses training points [n, P, 2] of which one is in no image.

  The conventions with _first90 count: it must be in the first nine tenths.

  Raises:
    UserError: names the point, counted from 0.
  """
  absent = np.isnan(points[: first(len(points))]).all((0, 2))
  if absent.any():
    raise UserError(
      f"annotated point {int(np.argmax(absent))}, counted from 0, is missing "
      "in all training images, or in the first nine tenths of them: annotate "
      "it, or leave it out of the list."
    )


def normaliser_title(normaliser):
  """Names the length that errors are divided by."""
  if isinstance(normaliser, str):
    return {"box": "root of box area", "image": "image side"}[normaliser]
  return "distance of points {} and {}".format(*normaliser)


def normalised_by(data, fits):
  """Measures {length: {convention: per cent}}; None without any length."""
  result = {}
  for normaliser in (data.normaliser, "box", "image"):
    found = result[normaliser_title(normaliser)] = {}
    for name in MAIN:
      errors = regression.with_length(data.errors(fits[name], normaliser))
      found[name] = float(np.nanmean(errors)) if len(errors) else None
  return result


def backward(data):
  """Measures the landmarks, regressed from the annotated points.

  Landmarks that wander over the object have a large error, even where the
  points can be predicted from the others. Images with all of their points
  count alone.

  Returns:
    {convention: {"error": per cent, "per_landmark": [K per cents]}}; empty
    without such images.
  """
  result = {}
  train, test = (
    ~np.isnan(points).any((1, 2))
    for points in (data.train_points, data.test_points)
  )
  if not train.any() or not test.any():
    return result
  swapped = dataclasses.replace(
    data,
    train_landmarks=data.train_points[train],
    train_points=data.train_landmarks[train],
  )
  for name, convention in MAIN.items():
    errors = regression.point_errors(
      convention.fit(swapped).apply(data.test_points[test]),
      data.test_landmarks[test],
      normaliser=data.normaliser,
      image_size=data.size,
      measured=data.test_points[test],
    )
    errors = regression.defined(errors, data.normaliser)
    result[name] = {
      "error": float(errors.mean()),
      "per_landmark": errors.mean(0).tolist(),
    }
  return result


def few_shots(data, counts, repeats, seed):
  """Measures with few annotated training images, over random choices of them.

  Returns:
    {n: {convention: {"mean": per cent, "deviation": per cent}}} for each n of
    `counts` that is less than all; a sample's deviation.
  """
  result, total = {}, len(data.train_points)
  for n in (n for n in counts if n < total):
    rngs = (np.random.default_rng((seed, n, i)) for i in range(repeats))
    parts = [data.only(rng.choice(total, n, replace=False)) for rng in rngs]
    found = result[str(n)] = {}
    for name, convention in MAIN.items():
      errors = [part.error(convention) for part in parts]
      deviation = float(np.std(errors, ddof=1)) if repeats > 1 else None
      found[name] = {"mean": float(np.mean(errors)), "deviation": deviation}
  return result
