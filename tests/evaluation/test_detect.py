"""Confidence of landmarks against a slow sum."""

import numpy as np

from c3_jax import geometry
from c3_jax.evaluation.detect import confidence


def test_confidence_is_the_concentration_of_the_map():
  """1 for one cell, 0 for a flat map and for opposite corners, in between."""
  maps = np.zeros((1, 8, 8, 4), np.float32)
  maps[0, 2, 5, 0] = 1
  maps[..., 1] = 1 / 64
  maps[0, 0, 0, 2] = maps[0, 7, 7, 2] = 0.5
  maps[0, 2:4, 5:7, 3] = 0.25
  cells = geometry.grid(8, 8)
  points = np.einsum("nyxk,yxd->nkd", maps, cells)
  got = confidence(points, maps)[0]
  spread = lambda k: sum(  # noqa: E731
    maps[0, y, x, k] * ((cells[y, x] - points[0, k]) ** 2).sum()
    for y in range(8)
    for x in range(8)
  )
  want = [1, 0, 0, 1 - (spread(3) / spread(1)) ** 0.5]
  np.testing.assert_allclose(got, want, atol=1e-5)
  assert 0.5 < got[3] < 1
