"""Max-pooling against Flax's."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3_jax.models import pooling


@pytest.mark.parametrize("window, padding", [(2, 0), (3, 1)])
@pytest.mark.parametrize("shape", [(2, 6, 4, 3), (1, 5, 7, 2), (1, 1, 2, 1)])
def test_maxima_and_gradients_are_flaxs(shape, window, padding):
  """Bit by bit, with many equal cells in a window and with odd sides."""

  def theirs(x):
    ends = ((padding, padding),) * 2
    return nn.max_pool(x, (window, window), (2, 2), ends)

  rng = np.random.default_rng(0)
  x = rng.integers(0, 3, shape).astype("f4")
  want, pull = jax.vjp(theirs, x)
  got, pull_ours = jax.vjp(lambda x: pooling.max_pool(x, window), x)
  np.testing.assert_array_equal(got, want)
  # Whole numbers: their sums have no rounding.
  g = rng.integers(1, 9, want.shape).astype("f4")
  np.testing.assert_array_equal(pull_ours(g)[0], pull(g)[0])


def test_half_precision_stays():
  """bfloat16 in, bfloat16 out, in both directions."""
  out, pull = jax.vjp(pooling.max_pool, jnp.ones((1, 4, 4, 2), jnp.bfloat16))
  assert out.dtype == pull(out)[0].dtype == jnp.bfloat16
