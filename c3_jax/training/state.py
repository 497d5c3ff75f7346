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
    params: nested dict of float32 arrays.
    batch_stats: running statistics of batch norms; {} without any.
    opt_state: of the parameters the current stage moves.
    running: dict term -> dict tap -> running mean of the perceptual distance.
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  running: Mapping[str, Mapping[str, jax.Array]]

  @property
  def variables(self):
    """The networks' variables, as `model.apply` takes them."""
    return {"params": self.params, "batch_stats": self.batch_stats}


def initial_state(config, model) -> TrainState:
  """Makes the untrained state: a function of the config's seed alone."""
  return state_at_0(config, initial.untrained(config, model))


def state_at_0(config, variables) -> TrainState:
  """Makes the state at step 0 of a network's variables.

  Its `opt_state` is None; `enter` makes one for a stage.
  """
  return TrainState(
    step=jnp.int32(0),
    opt_state=None,
    running={
      term: {tap: jnp.zeros((), float) for tap in config.perceptual.taps}
      for term in PERCEPTUAL
    },
    **variables,
  )


def enter(state, stage) -> TrainState:
  """Starts a stage: a fresh optimiser for the parameters it moves."""
  moving, _ = optim.partition(state.params, stage.train)
  return state.replace(opt_state=jax.jit(stage.tx.init)(moving))


def older_name(name):
  """Gives the name of a leaf of the state in older checkpoints.

  There the perceptual terms shared one running mean a tap, with which both of
  them now go on.

  Args:
    name: "running/TERM/TAP" or that of any other leaf.
  """
  room, _, rest = name.partition("/")
  return f"running/{rest.partition('/')[2]}" if room == "running" else name
