"""Optimiser, schedule, and which parameters a stage moves."""

from collections import Counter
from collections.abc import Sequence

import flax.traverse_util
import jax.numpy as jnp
import optax


def schedule(learning_rate, *, steps, drops: Sequence[float], warmup=0):
  """Piecewise constant rate: divided by ten at fractions of the stage.

  Args:
    learning_rate: the first rate.
    steps: length of the stage.
    drops: fractions of the stage in (0, 1); the paper's are 100 / 200 and
      150 / 200.
    warmup: steps of linear warm-up.

  Returns:
    An optax schedule over the stage's own step count, from 0.
  """
  # In a very short stage two drops can fall on one step.
  boundaries = Counter(round(drop * steps) for drop in drops)
  constant = optax.piecewise_constant_schedule(
    learning_rate, {step: 0.1**n for step, n in boundaries.items()}
  )
  if not warmup:
    return constant
  return lambda count: constant(count) * jnp.minimum((count + 1) / warmup, 1)


def adam(rate, *, weight_decay, decoupled=False):
  """Adam with L2 in the gradient, as PyTorch's `Adam(weight_decay=)` of 2020.

  Args:
    rate: schedule or float.
    weight_decay: the paper's 1e-4.
    decoupled: True gives AdamW instead.

  Returns:
    An optax transformation.
  """
  decay = optax.add_decayed_weights(weight_decay)
  scale = optax.scale_by_adam()
  order = (scale, decay) if decoupled else (decay, scale)
  return optax.chain(*order, optax.scale_by_learning_rate(rate))


def partition(params, prefixes: Sequence[str]):
  """Splits parameters into those a stage moves and the others.

  Args:
    params: nested dict.
    prefixes: paths such as "flow" or "backbone/layer4_0"; every parameter
      under one of them moves.

  Returns:
    (moving, fixed): flat dicts path -> array.

  Raises:
    ValueError: a prefix names no parameter.
  """
  flat = flax.traverse_util.flatten_dict(params, sep="/")
  for prefix in prefixes:
    if not any(_under(path, prefix) for path in flat):
      raise ValueError(f"no parameter lies under {prefix!r}")
  moving = {
    path: value
    for path, value in flat.items()
    if any(_under(path, prefix) for prefix in prefixes)
  }
  fixed = {path: value for path, value in flat.items() if path not in moving}
  return moving, fixed


def merge(moving, fixed):
  """Inverse of `partition`."""
  return flax.traverse_util.unflatten_dict(moving | fixed, sep="/")


def _under(path, prefix):
  return f"{path}/".startswith(f"{prefix}/")
