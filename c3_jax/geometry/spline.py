"""Points that move along with landmarks, whatever the landmarks do."""

import numpy as np

# On the diagonal: landmarks on one spot have one displacement.
SMOOTHING = 1e-3


def spline(source, target, points):
  """Moves points by the thin-plate spline that takes source to target.

  Unlike `warp.tps_interpolate` it forgives landmarks on one spot or on one
  line: displacements are smoothed, and of the affine parts that fit alike the
  one nearest to standing still is taken.

  Args:
    source, target: [n, K, 2] control points.
    points: [n, P, 2].

  Returns:
    [n, P, 2] float64.
  """
  k = source.shape[1]
  moved = np.asarray(points, np.float64).copy()
  for a, b, p in zip(*(np.asarray(x, float) for x in (source, target)), moved):
    matrix = np.zeros((k + 3, k + 3))
    matrix[:k, :k] = _kernel(a, a) + SMOOTHING * np.eye(k)
    matrix[:k, k:] = np.concatenate([np.ones((k, 1)), a], 1)
    matrix[k:, :k] = matrix[:k, k:].T
    right = np.concatenate([b - a, np.zeros((3, 2))])
    # Landmarks are float32: a smaller spread than its rounding is none.
    cut = np.finfo(np.float32).eps
    solution = np.linalg.lstsq(matrix, right, rcond=cut)[0]
    basis = np.concatenate([_kernel(p, a), np.ones((len(p), 1)), p], 1)
    p += basis @ solution
  return moved


def _kernel(a, b):
  """r^2 log r^2 between point sets [m, 2], [n, 2]: [m, n]."""
  square = ((a[:, None] - b[None]) ** 2).sum(-1)
  return square * np.log(np.where(square > 0, square, 1))
