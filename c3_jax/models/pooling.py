"""Pooling: maxima whose gradient is cheap on a CPU, and means of squares."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from c3_jax.geometry import AnyArray


def mean_pool(
  x: Float[AnyArray, "b h w c"], side, *, option
) -> Float[Array, "b _ _ c"]:
  """Averages squares of cells, without overlap; what is left over goes.

  Args:
    x: maps.
    side: of the squares, in cells; 1 returns x.
    option: of the config that gives it.

  Raises:
    ValueError: a map has less than a square.
  """
  if side == 1:
    return x
  h, w = x.shape[1:3]
  if side > min(h, w):
    raise ValueError(
      f"{option}={side} is above the sides of what it averages, {h} x {w}"
    )
  return nn.avg_pool(x, (side, side), strides=(side, side))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool(
  x: Float[AnyArray, "b h w c"], window=2
) -> Float[Array, "b _ _ c"]:
  """Takes the maxima of windows of cells, two cells apart.

  It equals `flax.linen.max_pool` with stride 2, whose gradient goes through
  arrays of indices, which take XLA longer on a CPU than the convolution before.

  Args:
    x: maps.
    window: 2, windows without overlap; a last odd row or column is left out.
      Or 3, round every other cell from the first on; beyond the map is nothing.

  Returns:
    [b, h / 2, w / 2, c]: rounded down for a window of 2, up for one of 3.
  """
  return functools.reduce(jnp.maximum, _cells(x, window).values())


def _cells(x, window):
  """Gives place in the window (i, j) -> the cells there [b, h', w', c]."""
  h, w = ((side + window - 2) // 2 for side in x.shape[1:3])
  if window > 2:
    low = jnp.array(-jnp.inf, x.dtype)
    ends = [(1, 2 * n - side, 0) for n, side in zip((h, w), x.shape[1:3])]
    x = jax.lax.pad(x, low, [(0, 0, 0), *ends, (0, 0, 0)])
  return {
    (i, j): x[:, i : i + 2 * h - 1 : 2, j : j + 2 * w - 1 : 2]
    for i in range(window)
    for j in range(window)
  }


def _forward(x, window):
  maxima = max_pool(x, window)
  return maxima, (x, maxima)


def _backward(window, kept, g):
  x, maxima = kept
  more = window // 3  # Windows share cells with the next ones.
  taken, sums = False, dict.fromkeys([(0, 0), (0, 1), (1, 0), (1, 1)], 0)
  for (i, j), cell in _cells(x, window).items():
    # The first of equals takes all.
    chosen = (cell == maxima) & ~jnp.asarray(taken)
    taken = taken | chosen
    part = jnp.where(chosen, g, 0)
    ends = [(n // 2, more - n // 2) for n in (i, j)]
    sums[i % 2, j % 2] += jnp.pad(part, [(0, 0), *ends, (0, 0)])
  rows = [jnp.stack([sums[i, 0], sums[i, 1]], 3) for i in range(2)]
  b, h, w, c = sums[0, 0].shape
  dx = jnp.stack(rows, 2).reshape(b, 2 * h, 2 * w, c)
  dx = dx[:, more : more + x.shape[1], more : more + x.shape[2]]
  ends = [(0, x.shape[i] - dx.shape[i]) for i in (1, 2)]
  return (jnp.pad(dx, [(0, 0), *ends, (0, 0)]),)


max_pool.defvjp(_forward, _backward)
