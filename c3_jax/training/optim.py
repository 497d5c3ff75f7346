"""Optimiser, schedule, and which parameters a stage moves."""

from collections import Counter
from collections.abc import Sequence

import flax.traverse_util
import jax
import jax.numpy as jnp
import optax

from c3_jax.training import objectives


def schedule(learning_rate, *, steps, drops: Sequence[float], warmup=0):
  """Makes a schedule over the steps of a stage, counted from 0.

  Args:
    learning_rate: the first rate.
    steps: length of the stage.
    drops: fractions of the stage in (0, 1) at which the rate is divided by ten.
    warmup: steps of linear warm-up.
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
  """Makes Adam with L2 in the gradient, as PyTorch's `Adam(weight_decay=)`.

  Args:
    rate: schedule or float.
    weight_decay: factor of the parameters.
    decoupled: True gives AdamW instead.
  """
  decay = optax.add_decayed_weights(weight_decay)
  scale = optax.scale_by_adam()
  order = (scale, decay) if decoupled else (decay, scale)
  return optax.chain(*order, optax.scale_by_learning_rate(rate))


def move_average(state, params, decay):
  """Moves the running mean of a `TrainState` towards new parameters.

  The decay grows with the step, as that of P's means: the first parameters are
  those of an untrained network.
  """
  decay = objectives.early_decay(decay, state.step)
  return jax.tree.map(
    lambda mean, new: (decay * mean + (1 - decay) * new).astype(mean.dtype),
    state.average,
    params if state.average else {},
  )


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
  moving = {}
  for prefix in prefixes:
    found = {p: x for p, x in flat.items() if f"{p}/".startswith(f"{prefix}/")}
    if not found:
      raise ValueError(f"no parameter lies under {prefix!r}")
    moving |= found
  fixed = {path: x for path, x in flat.items() if path not in moving}
  return moving, fixed


def merge(moving, fixed):
  """Inverts `partition`."""
  return flax.traverse_util.unflatten_dict(moving | fixed, sep="/")
