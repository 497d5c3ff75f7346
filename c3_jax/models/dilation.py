"""Dilated and strided convolutions as plain ones: XLA sees no dilation.

The gradient to a dilated kernel is a strided convolution in JAX, and the one to
a strided kernel a dilated one; XLA has no fast path for the former on GPUs.

A convolution of dilation d sees each of d x d interleaved sub-grids of a map on
its own: [n, H, W, c] is "folded" into [n, d, d, H / d, W / d, c], where it is a
plain one. Sides that d does not divide are filled up with cells at the end,
which `inside` tells apart.
"""

import jax
import jax.numpy as jnp
import numpy as np


def fold(x, dilation):
  """Folds a map for a dilation.

  Args:
    x: [n, e, e, h, w, c], folded for e, a divisor of `dilation`; 1 for a map as
      it is.
    dilation: d.

  Returns:
    [n, d, d, ceil(h e / d), ceil(w e / d), c]; cell (y, x) of part (i, j) is
    cell (d y + i, d x + j) of the map, 0 beyond it.
  """
  n, e, _, h, w, c = x.shape
  f = dilation // e
  if f == 1:
    return x
  x = jnp.pad(x, [(0, 0)] * 3 + [(0, -h % f), (0, -w % f), (0, 0)])
  x = x.reshape(n, e, e, -(-h // f), f, -(-w // f), f, c)
  x = x.transpose(0, 4, 1, 6, 2, 3, 5, 7)
  return x.reshape(n, dilation, dilation, *x.shape[5:])


def unfold(x, size):
  """Inverts `fold`: [n, d, d, h, w, c] to [n, H, W, c], size being (H, W)."""
  n, d, _, h, w, c = x.shape
  x = x.transpose(0, 3, 1, 4, 2, 5).reshape(n, h * d, w * d, c)
  return x[:, : size[0], : size[1]]


def inside(size, dilation):
  """Tells which cells of a folded map are cells of the map.

  Args:
    size: (H, W) of the map.
    dilation: d.

  Returns:
    bool [d, d, h, w, 1]; None where all are.
  """
  if not any(side % dilation for side in size):
    return None
  rows, columns = (
    np.arange(dilation)[:, None] + dilation * np.arange(-(-side // dilation))
    < side
    for side in size
  )
  return (rows[:, None, :, None] & columns[None, :, None, :])[..., None]


def strided(x, kernel, strides, padding, **kwargs):
  """Computes `jax.lax.conv_general_dilated` of s x s cells as channels.

  Args:
    x: [n, h, w, c].
    kernel: [k, k, c, o], k = 2 p + 1.
    strides: (s, s).
    padding: ((p, p), (p, p)).
    **kwargs: of the convolution without strides.

  Returns:
    [n, ceil(h / s), ceil(w / s), o].
  """
  (s, _), ((p, _), _), k = strides, padding, len(kernel)
  # Zero taps in front and behind, so that both ends lie on whole cells.
  front = -p % s
  taps = -(-(k + front) // s)
  ends = (front, taps * s - k - front)
  kernel = jnp.pad(kernel, [ends, ends, (0, 0), (0, 0)])
  kernel = kernel.reshape(taps, s, taps, s, *kernel.shape[2:])
  kernel = kernel.transpose(0, 2, 1, 3, 4, 5)
  kernel = kernel.reshape(taps, taps, -1, kernel.shape[-1])
  n, h, w, c = x.shape
  x = jnp.pad(x, [(0, 0), (0, -h % s), (0, -w % s), (0, 0)])
  x = x.reshape(n, -(-h // s), s, -(-w // s), s, c)
  x = x.transpose(0, 1, 3, 2, 4, 5)
  x = x.reshape(*x.shape[:3], -1)
  before = (p + front) // s
  ends = (before, taps - 1 - before)
  return jax.lax.conv_general_dilated(x, kernel, (1, 1), [ends] * 2, **kwargs)
