"""Regression from landmarks to annotated points against slow references."""

import json

import numpy as np
import pytest
import scipy.linalg

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


def test_corner_pixels_put_the_edges_at_zero_and_size():
  """The edges of the image are 0 and size, the first pixel's centre is 1/2."""
  coords = np.array([[-1.0, 1.0], [1 / SIZE - 1, 0.0]], np.float32)
  pixels = regression.to_corner_pixels(coords, SIZE)
  np.testing.assert_allclose(pixels, [[0, SIZE], [0.5, SIZE / 2]], atol=1e-5)


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
  with pytest.raises(UserError, match="coincide in all 1 images"):
    regression.error_percent(predicted[3:4], broken[3:4])


def test_failure_rate_counts_images_not_points():
  """One wild point fails its image; NaN rows count neither way."""
  errors = np.array([[1.0, 30.0], [9.0, 10.9], [10.0, 10.0], [np.nan, np.nan]])
  assert regression.failure_rate(errors) == pytest.approx(100 / 3)


def test_perfect_landmarks_have_no_error():
  """When the landmarks are the points, both conventions give zero."""
  _, points = make_data(10)
  result = regression.evaluate(
    points[:40], points[:40], points[40:], points[40:], image_size=SIZE
  )
  for name in ("no_intercept", "intercept"):
    assert result["error"][name] < 1e-9
    assert result["failure_rate_10"][name] == 0
  assert result["mean_shape"] > 1


@pytest.mark.parametrize("constant", [0.0, 0.3])
def test_constant_landmarks_give_the_mean_shape(constant):
  """Landmarks that never move predict the mean training shape."""
  _, points = make_data(11)
  fixed = np.full((60, 4, 2), constant, np.float32)
  result = regression.evaluate(
    fixed[:40], points[:40], fixed[40:], points[40:], image_size=SIZE
  )
  want = slow_error(np.tile(points[:40].mean(0), (20, 1, 1)), points[40:])
  assert result["mean_shape"] == pytest.approx(want, rel=1e-9)
  assert result["error"]["intercept"] == pytest.approx(want, rel=1e-9)


def test_evaluate_agrees_with_scipy_in_both_conventions():
  """Errors of both conventions equal scipy's fit on corner-origin pixels."""
  landmarks, points = make_data(12, noise=0.05)
  pixels = [(a + 1) / 2 * SIZE for a in (landmarks, points)]
  x, y = pixels[0].reshape(60, -1), pixels[1].reshape(60, -1)
  ones = np.ones((60, 1))
  result = regression.evaluate(
    landmarks[:40],
    points[:40],
    landmarks[40:],
    points[40:],
    image_size=SIZE,
  )
  designs = {"no_intercept": x, "intercept": np.concatenate([x, ones], 1)}
  for name, design in designs.items():
    predicted = design[40:] @ scipy.linalg.lstsq(design[:40], y[:40])[0]
    want = slow_error(predicted.reshape(20, 5, 2), pixels[1][40:])
    assert result["error"][name] == pytest.approx(want, rel=1e-8)
    per_point = result["per_point"][name]
    assert len(per_point) == 5
    assert np.mean(per_point) == pytest.approx(want, rel=1e-8)
  errors = list(result["error"].values())
  assert abs(errors[0] - errors[1]) > 0.1


def test_only_the_fit_without_intercept_depends_on_the_origin():
  """Moving the origin changes the estimates without a bias, and only those."""
  landmarks, points = make_data(13)

  def estimates(shift, intercept):
    moved = landmarks + shift, points + shift
    fitted = regression.fit_regressor(*moved, intercept=intercept)
    return fitted.apply(moved[0]) - shift

  np.testing.assert_allclose(estimates(0, True), estimates(5, True), atol=1e-9)
  assert np.abs(estimates(0, False) - estimates(5, False)).max() > 0.01


def test_evaluate_counts_images_and_is_plain_json():
  """The result goes through JSON unchanged and counts skipped images."""
  landmarks, points = make_data(14)
  points[45, 1] = points[45, 0]
  result = regression.evaluate(
    landmarks[:40], points[:40], landmarks[40:], points[40:], image_size=SIZE
  )
  assert json.loads(json.dumps(result)) == result
  assert (result["n_train"], result["n_test"], result["n_skipped"]) == (
    40,
    20,
    1,
  )
  assert np.shape(result["regressor"]["intercept"]["weights"]) == (8, 10)


def test_user_mistakes_name_the_mend():
  """Bad normalisers, empty splits and NaN are UserErrors that say the mend."""
  landmarks, points = make_data(15)
  for normaliser in [(0, 5), (1, 1), (-1, 0), (0, 1, 2), "eyes", "image"]:
    with pytest.raises(UserError, match="eval.normaliser is.*give two"):
      regression.error_percent(points, points, normaliser=normaliser)
  with pytest.raises(UserError, match="no annotated training"):
    regression.fit_regressor(landmarks[:0], points[:0], intercept=True)
  with pytest.raises(UserError, match="no annotated test"):
    regression.evaluate(
      landmarks, points, landmarks[:0], points[:0], image_size=SIZE
    )
  with pytest.raises(UserError, match="no annotated training"):
    regression.evaluate(
      landmarks[:0], points[:0], landmarks, points, image_size=SIZE
    )
  with pytest.raises(ValueError, match="60 landmark rows"):
    regression.fit_regressor(landmarks, points[:-1], intercept=True)
  landmarks[7, 2, 1] = np.nan
  with pytest.raises(UserError, match="landmarks of 1 images.*image 7"):
    regression.fit_regressor(landmarks, points, intercept=True)
