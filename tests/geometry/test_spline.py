"""The spline that forgives is SciPy's where there is nothing to forgive."""

import numpy as np
import pytest
from scipy.interpolate import RBFInterpolator

from c3_jax.geometry import spline


def test_spline_is_scipys():
  """Smoothed displacements as RBFInterpolator gives them."""
  rng = np.random.default_rng(2)
  source, target = rng.uniform(-1, 1, (2, 3, 7, 2))
  points = rng.uniform(-1, 1, (3, 20, 2))
  got = spline.spline(source, target, points)
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
  moved = spline.spline(source, target, points)
  np.testing.assert_allclose(moved[0, 0], [0.4, -0.1], atol=0.01)
  assert np.abs(moved - points - [0.3, -0.2]).max() < 0.1
