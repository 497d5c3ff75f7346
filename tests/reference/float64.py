"""The whole program in float64, where rounding hides nothing.

In float32 the order of a sum moves a gradient by 1e-6 of the largest, and more
where a unit is near its kink; Adam then takes whole steps of what is left of
small ones. A missing average would drown in that.
"""

import contextlib

import jax

DTYPE = "float64"


@contextlib.contextmanager
def program():
  """Runs JAX in float64, without most of XLA's optimisations.

  A config has to say so, too: `config.model.dtype = float64.DTYPE`.
  """
  options = ("jax_enable_x64", "jax_disable_most_optimizations")
  before = {name: jax.config.values[name] for name in options}
  for name in options:
    jax.config.update(name, True)
  try:
    yield
  finally:
    for name, value in before.items():
      jax.config.update(name, value)
