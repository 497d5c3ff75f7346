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

MAIN = ("no_intercept", "intercept")
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
    words = "with intercept" if self.intercept else "without intercept"
    if not self.intercept:
      words += f", origin {'centre' if self.centre else 'corner'}"
    words += ", first 90 %" if self.first else ""
    return words + (f", ridge {self.ridge:g}" if self.ridge else "")

  def fit(self, landmarks, points, size):
    """Fits a `regression.Regressor` to training images, in corner pixels."""
    n = first(len(points)) if self.first else len(points)
    return regression.fit_regressor(
      landmarks[:n],
      points[:n],
      intercept=self.intercept,
      origin=size / 2 if self.centre else 0.0,
      ridge=self.ridge * size**2,
    )


def conventions(ridge=0.0):
  """Lists all conventions; those with a penalty where it is above 0."""
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

  def errors(self, regressor, normaliser=None):
    """Measures [m, P] per cent on the test images; NaN rows have no length."""
    return regression.point_errors(
      regressor.apply(self.test_landmarks),
      self.test_points,
      normaliser=normaliser or self.normaliser,
      image_size=self.size,
    )

  def error(self, regressor):
    """Averages `errors` over the test images that have a length."""
    return float(
      regression.defined(self.errors(regressor), self.normaliser).mean()
    )

  def intercept_error(self):
    """Measures the error of the convention "intercept" alone."""
    convention = Convention(intercept=True)
    return self.error(
      convention.fit(self.train_landmarks, self.train_points, self.size)
    )


def evaluate(data, *, ridge=0.0, few_shot=(), repeats=10, seed=0):
  """Fits on the training images, measures on the test images.

  Args:
    data: `Data`.
    ridge: penalty of the additional conventions, with lengths in image sides;
      0 leaves them out.
    few_shot: numbers of training images to fit with instead of all.
    repeats: how many random choices of so many images.
    seed: of these choices.

  Returns:
    A dict that `json.dump` takes, described in docs/evaluation.md.

  Raises:
    UserError: there are no images, a value is not finite, or the normaliser
      does not fit the points.
  """
  if not len(data.test_points):
    raise UserError(
      "the regression has no annotated test images: mark some as split test, "
      "or evaluate on another dataset"
    )
  fits = {
    each.name: each.fit(data.train_landmarks, data.train_points, data.size)
    for each in conventions(ridge)
  }
  every = {name: data.errors(fit) for name, fit in fits.items()}
  rows = {
    name: regression.defined(errors, data.normaliser)
    for name, errors in every.items()
  }
  per = lambda measure: {name: measure(rows[name]) for name in rows}  # noqa: E731
  shape = regression.mean_shape(data.train_points)
  return {
    "n_train": len(data.train_points),
    "n_test": len(data.test_points),
    "n_skipped": len(data.test_points) - len(rows["intercept"]),
    "normaliser": normaliser_title(data.normaliser),
    "conventions": {each.name: each.title for each in conventions(ridge)},
    "error": per(lambda e: float(e.mean())),
    "mean_shape": regression.error_percent(
      shape,
      data.test_points,
      normaliser=data.normaliser,
      image_size=data.size,
    ),
    "per_point": per(lambda e: e.mean(0).tolist()),
    "failure_rate_10": per(lambda e: regression.failure_rate(e, THRESHOLD)),
    "auc_10": per(lambda e: regression.area_under_curve(e, THRESHOLD)),
    "normalised_by": normalised_by(data, {name: fits[name] for name in MAIN}),
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
    found = {}
    for name, fit in fits.items():
      errors = data.errors(fit, normaliser)
      errors = errors[~np.isnan(errors).any(1)]
      found[name] = float(errors.mean()) if len(errors) else None
    result[normaliser_title(normaliser)] = found
  return result


def backward(data):
  """Measures the landmarks, regressed from the annotated points.

  Landmarks that wander over the object have a large error, even where the
  points can be predicted from the others.

  Returns:
    {convention: {"error": per cent, "per_landmark": [K per cents]}}.
  """
  result = {}
  for name in MAIN:
    fit = Convention(name == "intercept").fit(
      data.train_points, data.train_landmarks, data.size
    )
    errors = regression.defined(
      regression.point_errors(
        fit.apply(data.test_points),
        data.test_landmarks,
        normaliser=data.normaliser,
        image_size=data.size,
        measured=data.test_points,
      ),
      data.normaliser,
    )
    result[name] = {
      "error": float(errors.mean()),
      "per_landmark": errors.mean(0).tolist(),
    }
  return result


def few_shots(data, counts, repeats, seed):
  """Measures with few annotated training images, over random choices of them.

  Returns:
    {n: {convention: {"mean": per cent, "deviation": per cent}}} for each n of
    `counts` that is less than all; the deviation is that of a sample.
  """
  result, total = {}, len(data.train_points)
  for n in counts:
    if n >= total:
      continue
    errors = {name: [] for name in MAIN}
    for repeat in range(repeats):
      rng = np.random.default_rng((seed, n, repeat))
      chosen = rng.choice(total, n, replace=False)
      for name in MAIN:
        fit = Convention(name == "intercept").fit(
          data.train_landmarks[chosen], data.train_points[chosen], data.size
        )
        errors[name].append(data.error(fit))
    result[str(n)] = {
      name: {
        "mean": float(np.mean(values)),
        "deviation": float(np.std(values, ddof=1)) if repeats > 1 else None,
      }
      for name, values in errors.items()
    }
  return result
