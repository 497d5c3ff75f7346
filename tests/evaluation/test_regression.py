"""Regression from landmarks to annotated points against slow references."""

import json

import numpy as np
import pytest
import scipy.linalg
import sklearn.linear_model

from c3_jax.errors import UserError
from c3_jax.evaluation import regression

SIZE = 64


def make_data(seed, n=60, k=4, p=5, noise=0.02):
  """Landmarks [n, k, 2] and points [n, p, 2] in [-1, 1], nearly affine."""
  rng = np.random.default_rng(seed)
  landmarks = rng.uniform(-0.8, 0.8, (n, k, 2))
  weights = rng.normal(0, 0.3, (2 * k, 2 * p))
  offset = np.stack([np.linspace(-0.5, 0.5, p), np.linspace(0, 0.4, p)], -1)
  points = (landmarks.reshape(n, -1) @ weights).reshape(n, p, 2) * 0.2 + offset
  return landmarks, points + rng.normal(0, noise, points.shape)


def slow_error(predicted, points, first=0, second=1):
  """Error in per cent by loops over images and points."""
  total = []
  for estimate, truth in zip(predicted, points):
    eyes = sum((truth[first] - truth[second]) ** 2) ** 0.5
    for a, b in zip(estimate, truth):
      total.append(
        100 * ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) ** 0.5 / eyes
      )
  return sum(total) / len(total)


@pytest.mark.parametrize("intercept", [False, True])
def test_fit_agrees_with_the_normal_equations(intercept):
  """Weights and bias solve X^T X w = X^T y, with or without a ones column."""
  landmarks, points = make_data(0)
  x, y = landmarks.reshape(60, -1) * 30 + 32, points.reshape(60, -1) * 30 + 32
  design = np.concatenate([x, np.ones((60, 1))], 1) if intercept else x
  want = np.linalg.solve(design.T @ design, design.T @ y)
  got = regression.fit_regressor(
    landmarks * 30 + 32, points * 30 + 32, intercept=intercept
  )
  np.testing.assert_allclose(got.weights, want[:8], rtol=1e-7, atol=1e-9)
  bias = want[8] if intercept else np.zeros(10)
  np.testing.assert_allclose(got.bias, bias, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("ridge", [0.0, 0.3, 50.0])
@pytest.mark.parametrize("n", [60, 5, 1])
@pytest.mark.parametrize(
  ("intercept", "origin"), [(True, 0), (False, 0), (False, 32)]
)
def test_fit_agrees_with_scikit_learn(intercept, origin, n, ridge):
  """Estimates are those of LinearRegression and Ridge to 1e-6 pixels.

  With 5 and 1 images there are more unknowns than equations.
  """
  landmarks, points = make_data(16)
  x, y = (each.reshape(60, -1) * 30 + 32 for each in (landmarks, points))
  model = sklearn.linear_model.LinearRegression(fit_intercept=intercept)
  if ridge:
    model = sklearn.linear_model.Ridge(ridge, fit_intercept=intercept)
  model.fit(x[:n] - origin, y[:n] - origin)
  want = model.predict(x - origin).reshape(60, 5, 2) + origin
  got = regression.fit_regressor(
    landmarks[:n] * 30 + 32,
    points[:n] * 30 + 32,
    intercept=intercept,
    origin=origin,
    ridge=ridge,
  ).apply(landmarks * 30 + 32)
  np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


def test_apply_keeps_x_and_y_of_each_point_together():
  """A regressor fitted to permuted landmarks returns just that permutation."""
  landmarks, _ = make_data(1)
  order = [2, 0, 3, 1]
  regressor = regression.fit_regressor(
    landmarks, landmarks[:, order], intercept=False
  )
  fresh = np.random.default_rng(2).uniform(0, SIZE, (7, 4, 2))
  np.testing.assert_allclose(regressor.apply(fresh), fresh[:, order], atol=1e-9)


def test_rank_deficient_fit_is_the_least_norm_solution():
  """Two landmarks on one spot share the weight, as scipy's pseudo-inverse."""
  landmarks, points = make_data(3)
  landmarks[:, 1] = landmarks[:, 0]
  got = regression.fit_regressor(landmarks, points, intercept=False)
  want = scipy.linalg.pinv(landmarks.reshape(60, -1)) @ points.reshape(60, -1)
  np.testing.assert_allclose(got.weights, want, atol=1e-9)
  np.testing.assert_allclose(got.weights[:2], got.weights[2:4], atol=1e-9)


def test_float32_rounding_of_collapsed_landmarks_is_not_fitted():
  """Landmarks that differ by rounding only give weights of moderate size."""
  _, points = make_data(4)
  rng = np.random.default_rng(5)
  landmarks = 40 + rng.uniform(-1, 1, (60, 4, 2)) * 40 * 2.0**-25
  regressor = regression.fit_regressor(landmarks, points, intercept=True)
  assert np.abs(regressor.weights).max() < 1
  np.testing.assert_allclose(
    regressor.apply(landmarks[:3]),
    np.broadcast_to(points.mean(0), (3, 5, 2)),
    atol=1e-5,
  )


def test_regressor_survives_json():
  """A regressor written to JSON and read back maps landmarks identically."""
  landmarks, points = make_data(6)
  regressor = regression.fit_regressor(landmarks, points, intercept=True)
  text = json.dumps(regressor.as_json())
  again = regression.Regressor.from_json(json.loads(text))
  np.testing.assert_array_equal(
    again.apply(landmarks), regressor.apply(landmarks)
  )


def test_error_agrees_with_loops():
  """The error is the mean distance over the eye distance of the same image."""
  _, points = make_data(7)
  predicted = points + np.random.default_rng(8).normal(0, 0.05, points.shape)
  got = regression.error_percent(predicted, points)
  np.testing.assert_allclose(got, slow_error(predicted, points), rtol=1e-12)
  got = regression.error_percent(predicted, points, normaliser=(4, 2))
  np.testing.assert_allclose(
    got, slow_error(predicted, points, 4, 2), rtol=1e-12
  )


def test_error_of_a_known_offset():
  """A 3-4-5 offset of all points with eyes 20 apart is an error of 25 %."""
  points = np.array([[[10.0, 20.0], [30.0, 20.0], [20.0, 40.0]]] * 2)
  predicted = points + [3.0, 4.0]
  assert regression.error_percent(predicted, points) == pytest.approx(25)
  got = regression.error_percent(
    predicted, points, normaliser="image", image_size=50
  )
  assert got == pytest.approx(10)


def test_box_is_the_root_of_its_area():
  """A 30 x 20 box divides by the root of 600; a flat box leaves the image out.

  The length can be measured on other points than the errors.
  """
  box = np.array([[[0.0, 0.0], [30.0, 5.0], [10.0, 20.0]]])
  flat = np.array([[[0.0, 3.0], [30.0, 3.0], [10.0, 3.0]]])
  points = np.concatenate([box, flat])
  got = regression.point_errors(points + [3.0, 4.0], points, normaliser="box")
  np.testing.assert_allclose(got[0], 500 / 600**0.5)
  assert np.isnan(got[1]).all()
  got = regression.point_errors(
    flat + [3.0, 4.0], flat, normaliser="box", measured=box
  )
  np.testing.assert_allclose(got, [[500 / 600**0.5] * 3])


def test_coinciding_eyes_are_left_out_of_the_mean_and_marked():
  """An image without eye distance is a NaN row and does not move the mean."""
  _, points = make_data(9)
  predicted = points + 0.1
  broken = points.copy()
  broken[3, 1] = broken[3, 0]
  rows = np.isnan(regression.point_errors(predicted, broken))
  assert rows[3].all() and rows.sum() == 5
  keep = np.arange(60) != 3
  np.testing.assert_allclose(
    regression.error_percent(predicted, broken),
    slow_error(predicted[keep], broken[keep]),
  )
  with pytest.raises(UserError, match="is 0 in all 1 images"):
    regression.error_percent(predicted[3:4], broken[3:4])


def test_failure_rate_counts_images_not_points():
  """One wild point fails its image; NaN rows count neither way."""
  errors = np.array([[1.0, 30.0], [9.0, 10.9], [10.0, 10.0], [np.nan, np.nan]])
  assert regression.failure_rate(errors) == pytest.approx(100 / 3)


def test_only_the_fit_without_intercept_depends_on_the_origin():
  """Moving the origin changes the estimates without a bias, and only those."""
  landmarks, points = make_data(13)

  def estimates(shift, intercept):
    moved = landmarks + shift, points + shift
    fitted = regression.fit_regressor(*moved, intercept=intercept)
    return fitted.apply(moved[0]) - shift

  np.testing.assert_allclose(estimates(0, True), estimates(5, True), atol=1e-9)
  assert np.abs(estimates(0, False) - estimates(5, False)).max() > 0.01


def test_user_mistakes_name_the_mend():
  """Bad normalisers, empty splits and NaN are named with what to do."""
  landmarks, points = make_data(15)
  for normaliser in [(0, 5), (1, 1), (-1, 0), (0, 1, 2), "eyes", "image"]:
    with pytest.raises(UserError, match="eval.normaliser is.*give two"):
      regression.error_percent(points, points, normaliser=normaliser)
  with pytest.raises(UserError, match="no annotated training"):
    regression.fit_regressor(landmarks[:0], points[:0], intercept=True)
  with pytest.raises(ValueError, match="60 landmark rows"):
    regression.fit_regressor(landmarks, points[:-1], intercept=True)
  landmarks[7, 2, 1] = np.nan
  with pytest.raises(UserError, match="landmarks of 1 images.*image 7"):
    regression.fit_regressor(landmarks, points, intercept=True)


def test_area_under_the_curve_is_that_of_the_curve():
  """It is the integral of the share of images up to each error."""
  rng = np.random.default_rng(17)
  errors = rng.exponential(8, (50, 3))
  grid = np.linspace(0, 10, 20001)
  share = (errors.mean(1)[:, None] <= grid).mean(0)
  want = np.trapezoid(share, grid) / 10 * 100
  got = regression.area_under_curve(np.vstack([errors, [[np.nan] * 3]]))
  assert got == pytest.approx(want, abs=0.01)
  assert regression.area_under_curve(np.zeros((2, 3))) == 100
