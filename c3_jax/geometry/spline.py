"""Thin-plate splines: IMM's random ones, and one between two sets of landmarks.

Both have the kernel U(r) = r^2 log r^2.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from c3_jax.geometry.frame import AnyArray

# On the diagonal: landmarks on one spot have one displacement.
SMOOTHING = 1e-3


def control_grid(n) -> Float[Array, "{n*n} 2"]:
  """Places n x n control points from edge to edge of [-1, 1]."""
  line = jnp.linspace(-1.0, 1.0, n)
  x, y = jnp.meshgrid(line, line)
  return jnp.stack([x.ravel(), y.ravel()], -1)


def kernel(
  a: Float[AnyArray, "m 2"], b: Float[AnyArray, "n 2"]
) -> Float[AnyArray, "m n"]:
  """Evaluates r^2 log r^2 between two sets of points; NumPy in, NumPy out."""
  xp = jnp if isinstance(a, jax.Array) else np
  dx, dy = (a[:, None, i] - b[None, :, i] for i in range(2))
  # Not a sum over an axis: XLA then makes one loop of the whole kernel.
  r2 = dx**2 + dy**2
  # The inner `where` keeps the gradient finite at r = 0.
  return xp.where(r2 > 0, r2 * xp.log(xp.where(r2 > 0, r2, 1.0)), 0.0)


def displacement(
  coords: Float[AnyArray, "*p 2"],
  controls: Float[AnyArray, "n 2"],
  weights: Float[AnyArray, "n 2"],
) -> Float[Array, "*p 2"]:
  """Evaluates sum_k w_k U(|x - c_k|), the displacement of a spline."""
  flat = coords.reshape(-1, 2)
  return (kernel(flat, controls) @ weights).reshape(coords.shape)


def move(
  source: Float[AnyArray, "n k 2"],
  target: Float[AnyArray, "n k 2"],
  points: Float[AnyArray, "n p 2"],
) -> Float[np.ndarray, "n p 2"]:
  """Moves points by the thin-plate spline that takes source to target.

  It tolerates landmarks on one spot or on one line, where SciPy's raises:
  displacements are smoothed, and of the affine parts that fit equally well the
  one nearest to the identity is taken. Computes in float64.
  """
  k = source.shape[1]
  moved = np.asarray(points, np.float64).copy()
  for a, b, p in zip(*(np.asarray(x, float) for x in (source, target)), moved):
    matrix = np.zeros((k + 3, k + 3))
    matrix[:k, :k] = kernel(a, a) + SMOOTHING * np.eye(k)
    matrix[:k, k:] = np.concatenate([np.ones((k, 1)), a], 1)
    matrix[k:, :k] = matrix[:k, k:].T
    right = np.concatenate([b - a, np.zeros((3, 2))])
    # Landmarks are float32: a smaller spread than its rounding is none.
    cut = np.finfo(np.float32).eps
    solution = np.linalg.lstsq(matrix, right, rcond=cut)[0]
    basis = np.concatenate([kernel(p, a), np.ones((len(p), 1)), p], 1)
    p += basis @ solution
  return moved
