"""Max-pooling whose gradient is cheap on a CPU."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from c3_jax.geometry import AnyArray


@jax.custom_vjp
def max_pool(
  x: Float[AnyArray, "b h w c"],
) -> Float[Array, "b {x.shape[1]//2} {x.shape[2]//2} c"]:
  """Takes the maxima of 2 x 2 cells; a last odd row or column is left out.

  It equals `flax.linen.max_pool` of window and stride 2. The gradient of that
  goes through arrays of indices, which take XLA longer on a CPU than the
  convolution before them.
  """
  a, b, c, d = _corners(x)
  return jnp.maximum(jnp.maximum(a, b), jnp.maximum(c, d))


def _corners(x):
  """Gives the four cells of each window, in the order of rows."""
  b, h, w, c = x.shape
  x = x[:, : h // 2 * 2, : w // 2 * 2]
  x = x.reshape(b, h // 2, 2, w // 2, 2, c)
  return [x[:, :, i, :, j] for i in range(2) for j in range(2)]


def _forward(x):
  maxima = max_pool(x)
  return maxima, (x, maxima)


def _backward(kept, g):
  x, maxima = kept
  parts, taken = [], False
  for cell in _corners(x):
    # The first of equals takes all.
    chosen = (cell == maxima) & ~jnp.asarray(taken)
    parts.append(jnp.where(chosen, g, 0))
    taken = taken | chosen
  rows = [jnp.stack(parts[i : i + 2], 3) for i in (0, 2)]
  b, h, w, c = g.shape
  dx = jnp.stack(rows, 2).reshape(b, 2 * h, 2 * w, c)
  ends = [(0, x.shape[i] - dx.shape[i]) for i in (1, 2)]
  return (jnp.pad(dx, [(0, 0), *ends, (0, 0)]),)


max_pool.defvjp(_forward, _backward)
