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
    return regression.point_errors(
      regressor.apply(self.test_landmarks),
      self.test_points,
      normaliser=normaliser or self.normaliser,
      image_size=self.size,
    )

  def error(self, convention):
    """Fits, and averages `errors` over the test images that have a length."""
    errors = self.errors(convention.fit(self))
    return float(regression.defined(errors, self.normaliser).mean())


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
    "error": per(lambda e: float(e.mean())),
    "mean_shape": regression.error_percent(
      data.train_points.mean(0),
      data.test_points,
      normaliser=data.normaliser,
      image_size=data.size,
    ),
    "per_point": per(lambda e: e.mean(0).tolist()),
    "failure_rate_10": per(lambda e: regression.failure_rate(e, THRESHOLD)),
    "auc_10": per(lambda e: regression.area_under_curve(e, THRESHOLD)),
    "normalised_by": normalised_by(data, fits),
    "backward": backward(data),
    "few_shot": few_shots(data, few_shot, repeats, seed),
    "few_shot_repeats": repeats,
    "regressor": {name: fit.as_json() for name, fit in fits.items()},
  }


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
      found[name] = float(errors.mean()) if len(errors) else None
  return result


def backward(data):
  """Measures the landmarks, regressed from the annotated points.

  Landmarks that wander over the object have a large error, even where the
  points can be predicted from the others.

  Returns:
    {convention: {"error": per cent, "per_landmark": [K per cents]}}.
  """
  result = {}
  swapped = dataclasses.replace(
    data, train_landmarks=data.train_points, train_points=data.train_landmarks
  )
  for name, convention in MAIN.items():
    errors = regression.point_errors(
      convention.fit(swapped).apply(data.test_points),
      data.test_landmarks,
      normaliser=data.normaliser,
      image_size=data.size,
      measured=data.test_points,
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
