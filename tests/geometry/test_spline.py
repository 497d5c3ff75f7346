"""Thin-plate splines against SciPy and slow loops."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from c3_jax.geometry import spline


def slow_kernel(a, b):
  """U(r) = r^2 log r^2 of the distance of two points."""
  r2 = (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2
  return r2 * math.log(r2) if r2 > 0 else 0.0


def test_control_grid_reaches_from_edge_to_edge():
  """The corners are control points, x runs first."""
  np.testing.assert_allclose(
    spline.control_grid(3),
    [[x, y] for y in (-1, 0, 1) for x in (-1, 0, 1)],
    atol=1e-6,
  )


def test_weighted_spline_agrees_with_loops():
  """The displacement is the sum over control points of weight times U."""
  rng = np.random.default_rng(5)
  controls, weights = rng.uniform(-1, 1, (2, 7, 2))
  coords = rng.uniform(-1, 1, (2, 3, 2))
  coords[0, 1] = controls[4]
  want = np.zeros_like(coords)
  for i in np.ndindex(2, 3):
    for control, weight in zip(controls, weights):
      want[i] += weight * slow_kernel(coords[i], control)
  got = jax.jit(spline.displacement)(
    *(jnp.array(x, "f4") for x in (coords, controls, weights))
  )
  np.testing.assert_allclose(got, want, atol=1e-5)


def test_spline_kernel_has_a_finite_gradient_at_zero_distance():
  """The gradient at a control point is 0, the analytic one elsewhere."""

  @jax.jit
  @jax.grad
  def gradient(x):
    return spline.kernel(x[None], jnp.zeros((1, 2)))[0, 0]

  np.testing.assert_array_equal(gradient(jnp.zeros(2)), [0, 0])
  x = np.array([0.3, -0.4])
  want = 2 * x * (math.log(0.25) + 1)
  np.testing.assert_allclose(gradient(jnp.array(x, "f4")), want, 1e-5)


def test_carry_is_scipys():
  """Smoothed displacements as RBFInterpolator gives them."""
  rng = np.random.default_rng(2)
  source, target = rng.uniform(-1, 1, (2, 3, 7, 2))
  points = rng.uniform(-1, 1, (3, 20, 2))
  got = spline.move(source, target, points)
  for a, b, p, q in zip(source, target, points, got):
    # SciPy's kernel is r^2 log r, half of ours.
    expected = RBFInterpolator(
      a,
      b - a,
      kernel="thin_plate_spline",
      degree=1,
      smoothing=spline.SMOOTHING / 2,
    )
    np.testing.assert_allclose(q, p + expected(p), atol=1e-6)


@pytest.mark.parametrize("k", [1, 2, 5])
def test_collapsed_landmarks_shift_the_points(k):
  """Landmarks on one spot, or too few for a spline, give a shift or so."""
  source = np.full((1, k, 2), 0.1)
  target = source + [0.3, -0.2]
  points = np.array([[[0.1, 0.1], [0.2, 0.0]]])
  moved = spline.move(source, target, points)
  np.testing.assert_allclose(moved[0, 0], [0.4, -0.1], atol=0.01)
  assert np.abs(moved - points - [0.3, -0.2]).max() < 0.1
