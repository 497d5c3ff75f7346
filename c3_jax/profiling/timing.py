"""Times warm calls and compilation; measures memory and the matrix rate."""

import collections
import statistics
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from c3_jax.runtime import parallel

# Side of the square matrix product taken as the peak rate of a device.
PRODUCT_SIDE = {"cpu": 2048, "gpu": 8192, "tpu": 8192}


@dataclass(frozen=True)
class Timing:
  """The time of one call.

  Attributes:
    seconds: median over the rounds.
    spread: (longest - shortest) / median of the rounds.
  """

  seconds: float
  spread: float

  def speed(self, n, unit="images"):
    """Gives the speed of a call that does n units, and its spread: a dict."""
    return {f"{unit}_per_second": n / self.seconds, "spread": self.spread}


def warm(call, *, rounds=5, seconds=1.0) -> Timing:
  """Times a function without arguments that is called again and again.

  A result is waited for `parallel.AHEAD` calls later, so that calls overlap on
  the device as they do in training. A round takes at least `seconds`.
  """
  jax.block_until_ready(call())
  start = time.perf_counter()
  jax.block_until_ready(call())
  calls = max(1, round(seconds / max(time.perf_counter() - start, 1e-6)))
  readings = []
  for _ in range(rounds):
    start = time.perf_counter()
    waiting = collections.deque()
    for _ in range(calls):
      waiting.append(call())
      if len(waiting) > parallel.AHEAD:
        jax.block_until_ready(waiting.popleft())
    jax.block_until_ready(waiting)
    readings.append((time.perf_counter() - start) / calls)
  middle = statistics.median(readings)
  return Timing(middle, (max(readings) - min(readings)) / middle)


def compile_lowered(lowered):
  """Compiles a lowered program: (program, seconds)."""
  start = time.perf_counter()
  compiled = lowered.compile()
  return compiled, time.perf_counter() - start


def peak_bytes(compiled):
  """Adds up the bytes one device needs for a compiled program's arrays."""
  memory = compiled.memory_analysis()
  return (
    memory.argument_size_in_bytes
    + memory.output_size_in_bytes
    - memory.alias_size_in_bytes
    + memory.temp_size_in_bytes
  )


def matmul_rate(dtype):
  """Measures the FLOP/s of a large square matrix product on one device."""
  side = PRODUCT_SIDE.get(jax.default_backend(), 4096)
  a = jnp.ones((side, side), dtype)
  product = jax.jit(jnp.matmul)
  return 2 * side**3 / warm(lambda: product(a, a)).seconds
