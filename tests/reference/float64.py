"""The whole program in float64, where rounding hides nothing.

In float32 the order of a sum moves a gradient by 1e-6 of the largest, and more
where a unit is near its kink; Adam then takes whole steps of what is left of
small ones. A missing average would drown in that.
"""

import contextlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3_jax.training import build

DTYPE = "float64"


def cast(tree):
  """The tree as NumPy arrays, float64 instead of float32."""
  return jax.tree.map(
    lambda x: x.astype(np.float64) if x.dtype == np.float32 else x,
    jax.device_get(tree),
  )


@contextlib.contextmanager
def program():
  """JAX and the program are in float64, without most of XLA's optimisations.

  A config has to say so, too: `config.model.dtype = float64.DTYPE`.
  """
  options = ("jax_enable_x64", "jax_disable_most_optimizations")
  before = {name: jax.config.values[name] for name in options}
  with pytest.MonkeyPatch.context() as patch:
    # The code names the dtype of what it computes outside the networks.
    patch.setattr(jnp, "float32", jnp.float64)
    patch.setattr(build, "DTYPES", (*build.DTYPES, DTYPE))
    for name in ("initial_state", "frozen"):
      make = getattr(build, name)
      patch.setattr(build, name, lambda *args, make=make: cast(make(*args)))
    for name in options:
      jax.config.update(name, True)
    try:
      yield
    finally:
      for name, value in before.items():
        jax.config.update(name, value)
