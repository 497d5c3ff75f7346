"""The conventions of the landmark regression against scikit-learn."""

import dataclasses
import json

import numpy as np
import pytest
import sklearn.linear_model

from c3_jax.errors import UserError
from c3_jax.evaluation import conventions, regression

SIZE, N, CUT = 64, 90, 60
LINEAR, RIDGE = (
  sklearn.linear_model.LinearRegression,
  sklearn.linear_model.Ridge,
)


def make(seed, n=N, k=4, p=5, noise=0.05):
  """Landmarks [n, k, 2] and points [n, p, 2] in [-1, 1], nearly affine."""
  rng = np.random.default_rng(seed)
  landmarks = rng.uniform(-0.8, 0.8, (n, k, 2))
  weights = rng.normal(0, 0.06, (2 * k, 2 * p))
  offset = np.stack([np.linspace(-0.5, 0.5, p), np.linspace(0, 0.4, p)], -1)
  points = (landmarks.reshape(n, -1) @ weights).reshape(n, p, 2) + offset
  return landmarks, points + rng.normal(0, noise, points.shape)


def data(landmarks, points, normaliser=(0, 1)):
  """`Data` of which the first CUT images are for training."""
  return conventions.Data.of(
    landmarks[:CUT],
    points[:CUT],
    landmarks[CUT:],
    points[CUT:],
    size=SIZE,
    normaliser=normaliser,
  )


def slow_error(predicted, points, lengths):
  """Mean error in per cent by loops over images and points."""
  total = []
  for estimate, truth, length in zip(predicted, points, lengths, strict=True):
    for a, b in zip(estimate, truth, strict=True):
      total.append(
        100 * ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5 / length
      )
  return sum(total) / len(total)


def eyes(points):
  """Distance of the first two points."""
  return [((p[0] - p[1]) ** 2).sum() ** 0.5 for p in points]


def by_scikit_learn(model, x, y, rows, z):
  """Predictions for z [m, k, 2] of a model fitted to some rows of x and y."""
  flat = lambda points: points.reshape(len(points), -1)  # noqa: E731
  model.fit(flat(x[rows]), flat(y[rows]))
  return model.predict(flat(z)).reshape(len(z), -1, 2)


def test_every_convention_agrees_with_scikit_learn():
  """Error of each convention, fitted from its definition, to 1e-6.

  The penalty is given for lengths in image sides: there the reference fits.
  """
  found, points = make(0)
  result = conventions.evaluate(data(found, points), ridge=0.02)
  # Lengths in sides, from the corner.
  x, y = (found + 1) / 2, (points + 1) / 2
  everything, part = slice(0, CUT), slice(0, 54)
  want = {}
  for suffix, rows in (("", everything), ("_first90", part)):
    for end, cls in (("", LINEAR), ("_ridge", lambda **o: RIDGE(0.02, **o))):
      for name, origin, intercept in (
        ("intercept", 0, True),
        ("no_intercept", 0, False),
        ("no_intercept_centre", 0.5, False),
      ):
        model = cls(fit_intercept=intercept)
        got = by_scikit_learn(
          model, x - origin, y - origin, rows, x[CUT:] - origin
        )
        want[name + suffix + end] = slow_error(
          got + origin, y[CUT:], eyes(y[CUT:])
        )
  assert result["error"].keys() == want.keys() == result["conventions"].keys()
  for name, value in want.items():
    assert result["error"][name] == pytest.approx(value, abs=1e-6), name
    assert np.mean(result["per_point"][name]) == pytest.approx(value)
    regressor = regression.Regressor.from_json(result["regressor"][name])
    again = regressor.apply(SIZE * x[CUT:]) / SIZE
    assert slow_error(again, y[CUT:], eyes(y[CUT:])) == pytest.approx(value)
  # All of them differ, as do their descriptions.
  assert len({round(value, 6) for value in want.values()}) == len(want)
  assert len(set(result["conventions"].values())) == len(want)


def test_without_a_penalty_no_ridge_is_reported():
  """Six conventions are left, and the two that published tables use."""
  result = conventions.evaluate(data(*make(1)))
  assert len(result["error"]) == 6
  assert {"intercept", "no_intercept"} < result["error"].keys()


def test_perfect_landmarks_have_no_error():
  """When the landmarks are the points, every number is that of perfection."""
  _, points = make(2)
  result = conventions.evaluate(data(points, points), few_shot=(50,))
  for name, error in result["error"].items():
    assert error < 1e-9
    assert result["failure_rate_10"][name] == 0
    assert result["auc_10"][name] == pytest.approx(100)
  for found in result["normalised_by"].values():
    assert max(found.values()) < 1e-9
  for name in conventions.MAIN:
    assert result["backward"][name]["error"] < 1e-9
    assert result["few_shot"]["50"][name]["mean"] < 1e-9
  assert result["mean_shape"] > 1


@pytest.mark.parametrize("constant", [0.0, 0.3])
def test_constant_landmarks_give_the_mean_shape(constant):
  """Landmarks that never move predict exactly the mean training shape."""
  _, points = make(3)
  fixed = np.full((N, 4, 2), constant, np.float32)
  result = conventions.evaluate(data(fixed, points), ridge=0.1)
  shape = np.tile(points[:CUT].mean(0), (N - CUT, 1, 1))
  want = slow_error(shape, points[CUT:], eyes(points[CUT:]))
  assert result["mean_shape"] == pytest.approx(want, rel=1e-9)
  for name in ("intercept", "intercept_ridge", "no_intercept"):
    assert result["error"][name] == pytest.approx(want, rel=1e-9)
  # They can be told from the points, and from nothing.
  assert result["backward"]["intercept"]["error"] < 1e-9


def test_lengths_that_errors_are_divided_by():
  """Each normaliser, by loops, under its own name; the chosen one is error."""
  found, points = make(4)
  result = conventions.evaluate(data(found, points, normaliser=(2, 4)))
  x, y = (found + 1) / 2 * SIZE, (points + 1) / 2 * SIZE
  got = by_scikit_learn(LINEAR(), x, y, slice(0, CUT), x[CUT:])
  corners = [((p[2] - p[4]) ** 2).sum() ** 0.5 for p in y[CUT:]]
  boxes = [(np.ptp(p[:, 0]) * np.ptp(p[:, 1])) ** 0.5 for p in y[CUT:]]
  want = {
    "distance of points 2 and 4": corners,
    "root of box area": boxes,
    "image side": [SIZE] * (N - CUT),
  }
  assert result["normalised_by"].keys() == want.keys()
  for name, lengths in want.items():
    value = slow_error(got, y[CUT:], lengths)
    assert result["normalised_by"][name]["intercept"] == pytest.approx(value)
  chosen = result["normalised_by"]["distance of points 2 and 4"]
  assert result["normaliser"] == "distance of points 2 and 4"
  for name in conventions.MAIN:
    assert chosen[name] == pytest.approx(result["error"][name])


def test_a_length_that_no_image_has_is_left_open():
  """Points on one horizontal line have no box; the rest is measured."""
  found, points = make(5)
  points[..., 1] = 0.25
  result = conventions.evaluate(data(found, points))
  assert result["normalised_by"]["root of box area"] == {
    "no_intercept": None,
    "intercept": None,
  }
  with pytest.raises(UserError, match="eval.normaliser, box, is 0 in all"):
    conventions.evaluate(data(found, points, normaliser="box"))


def test_backward_error_is_the_regression_the_other_way_round():
  """Landmarks estimated from points, divided by the length of the points."""
  found, points = make(6)
  result = conventions.evaluate(data(found, points))["backward"]
  x, y = (found + 1) / 2 * SIZE, (points + 1) / 2 * SIZE
  for name, intercept in (("intercept", True), ("no_intercept", False)):
    model = LINEAR(fit_intercept=intercept)
    got = by_scikit_learn(model, y, x, slice(0, CUT), y[CUT:])
    want = slow_error(got, x[CUT:], eyes(y[CUT:]))
    assert result[name]["error"] == pytest.approx(want)
    assert len(result[name]["per_landmark"]) == 4
    assert np.mean(result[name]["per_landmark"]) == pytest.approx(want)


def test_few_shots_are_means_over_seeded_choices():
  """Mean and deviation over choices without replacement, by scikit-learn."""
  found, points = make(7)
  options = {"few_shot": (5, 20, CUT, 500), "repeats": 4, "seed": 3}
  result = conventions.evaluate(data(found, points), **options)
  # Fitting to all of them is no choice.
  assert result["few_shot"].keys() == {"5", "20"}
  assert result["few_shot_repeats"] == 4
  x, y = (found + 1) / 2 * SIZE, (points + 1) / 2 * SIZE
  for n in (5, 20):
    errors = []
    for repeat in range(4):
      rng = np.random.default_rng((3, n, repeat))
      rows = rng.choice(CUT, n, replace=False)
      assert len(set(rows)) == n
      got = by_scikit_learn(LINEAR(), x, y, rows, x[CUT:])
      errors.append(slow_error(got, y[CUT:], eyes(y[CUT:])))
    got = result["few_shot"][str(n)]["intercept"]
    assert got["mean"] == pytest.approx(sum(errors) / 4)
    variance = sum((e - sum(errors) / 4) ** 2 for e in errors) / 3
    assert got["deviation"] == pytest.approx(variance**0.5)


def test_result_counts_images_and_is_plain_json():
  """It goes through JSON unchanged and counts the images without a length."""
  found, points = make(8)
  points[CUT + 3, 1] = points[CUT + 3, 0]
  result = conventions.evaluate(data(found, points), ridge=0.1, few_shot=(2,))
  assert json.loads(json.dumps(result, allow_nan=False)) == result
  counts = (result["n_train"], result["n_test"], result["n_skipped"])
  assert counts == (CUT, N - CUT, 1)


def test_empty_splits_are_named():
  """No training or no test images is a mistake that says what to do."""
  found, points = make(9)
  full = data(found, points)
  for empty, match in (
    (("test_landmarks", "test_points"), "no annotated test"),
    (("train_landmarks", "train_points"), "no annotated training"),
  ):
    arrays = {name: getattr(full, name)[:0] for name in empty}
    with pytest.raises(UserError, match=match):
      conventions.evaluate(dataclasses.replace(full, **arrays))


def test_missing_points_are_masked_one_by_one():
  """Each point is fitted and measured on the images that have it."""
  landmarks, points = make(3)
  rng = np.random.default_rng(4)
  gone = rng.random(points.shape[:2]) < 0.2
  gone[:, 0] = False
  known, points = points, np.where(gone[..., None], np.nan, points)
  given = data(landmarks, points)
  result = conventions.evaluate(given)
  pixels, truth = given.test_landmarks, given.test_points
  estimates = np.zeros_like(truth)
  for p in range(points.shape[1]):
    rows = ~np.isnan(given.train_points[:, p, 0])
    model = sklearn.linear_model.LinearRegression().fit(
      given.train_landmarks[rows].reshape(rows.sum(), -1),
      given.train_points[rows, p],
    )
    estimates[:, p] = model.predict(pixels.reshape(len(pixels), -1))
  found, skipped = [], 0
  for estimate, shape in zip(estimates, truth):
    length = np.linalg.norm(shape[0] - shape[1])
    skipped += bool(np.isnan(length))
    if not np.isnan(length):
      distance = np.linalg.norm(estimate - shape, axis=-1) / length
      found += [100 * x for x in distance if not np.isnan(x)]
  np.testing.assert_allclose(result["error"]["intercept"], np.mean(found))
  assert result["n_skipped"] == skipped > 0
  assert result["n_missing"] == np.isnan(truth[..., 0]).sum()
  json.dumps(result, allow_nan=False)
  whole = conventions.evaluate(data(landmarks, known))
  assert whole["n_missing"] == 0


def test_a_point_that_no_training_image_has_is_named():
  """It cannot be fitted: a mistake in the list."""
  _, points = make(3)
  points[:, 2] = np.nan
  with pytest.raises(UserError, match="annotated point 2, counted from 0"):
    conventions.check_points(points)
