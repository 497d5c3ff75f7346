"""The state of training: everything that changes from step to step."""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from c3_jax.models import initial
from c3_jax.training import optim
from c3_jax.training.terms import PERCEPTUAL


@flax.struct.dataclass
class TrainState:
  """Everything that changes during training.

  Attributes:
    step: int32, steps done over all stages.
    params, batch_stats: nested dicts of arrays.
    opt_state: of the parameters the current stage moves.
    running: dict term -> dict tap -> running mean of the perceptual distance.
    average: running mean of params, which evaluation then uses; {} is none.
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  running: Mapping[str, Mapping[str, jax.Array]]
  average: Any = flax.struct.field(default_factory=dict)

  @property
  def variables(self):
    """The networks' variables to evaluate, as `model.apply` takes them."""
    params = self.average or self.params
    return {"params": params, "batch_stats": self.batch_stats}


def initial_state(config, model) -> TrainState:
  """Makes the untrained state: a function of the config's seed alone."""
  return state_at_0(config, initial.untrained(config, model))


def state_at_0(config, variables) -> TrainState:
  """Makes the state at step 0, whose `opt_state` is None until `enter`."""
  return TrainState(
    step=jnp.int32(0),
    opt_state=None,
    running={
      term: {tap: jnp.zeros((), float) for tap in config.perceptual.taps}
      for term in PERCEPTUAL
    },
    average=start_average(config, variables["params"]),
    **variables,
  )


def start_average(config, params):
  """Makes the running mean of the parameters at its start; {} is none."""
  # Copies: a step gives its state's buffers away, each once.
  return jax.tree.map(jnp.array, params) if config.average else {}


def enter(state, stage) -> TrainState:
  """Starts a stage: a fresh optimiser for the parameters it moves."""
  moving, _ = optim.partition(state.params, stage.train)
  return state.replace(opt_state=jax.jit(stage.tx.init)(moving))
