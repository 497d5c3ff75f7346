"""The train step: one function for every stage, pure but for the device axis.

A stage is data. Which terms count is read off its weights, which parameters
move off its prefixes; a term of weight 0 is not computed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from c3_jax.models.c3 import C3
from c3_jax.models.vgg import VGG
from c3_jax.runtime import parallel
from c3_jax.training import augment, objectives, optim
from c3_jax.training.terms import loss_terms


@flax.struct.dataclass
class TrainState:
  """Everything that changes during training.

  Attributes:
    step: int32, steps done over all stages.
    params: nested dict of float32 arrays.
    batch_stats: running statistics of batch norms; {} without any.
    opt_state: of the parameters the current stage moves.
    running: dict tap -> running mean of the perceptual distance.
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  running: Mapping[str, jax.Array]


@dataclass(frozen=True)
class Stage:
  """One stage of training.

  Attributes:
    name: pairs, flow or cycle.
    start, steps: the stage covers steps start + 1 .. start + steps.
    weights: term -> lambda; a term of weight 0 is left out.
    train: prefixes of the parameters that move.
    tx: optax transformation.
    rate: schedule over the stage's own steps, for the log.
  """

  name: str
  start: int
  steps: int
  weights: Mapping[str, float]
  train: Sequence[str]
  tx: optax.GradientTransformation
  rate: optax.Schedule

  @property
  def end(self):
    return self.start + self.steps


@dataclass(frozen=True)
class Setup:
  """What the step needs beside its arguments; the same in all stages.

  Attributes:
    model, vgg: the networks.
    image_size: side of the model frame in pixels.
    seed: of augmentation.
    augment: tables `target`, `source` and `natural` of `augment.sample_warp`
      (natural None: the natural pairs are not warped), `mask_margin`, and
      `recolour`, the strength of `augment.recolour` on what E_p sees of a
      synthetic pair.
    decay: of the perceptual running means.
    stop_gradient: on the first swapped images (appendix).
    hard_flow: T by argmax (True) or by expectation.
    flow_temperature: divides C^ before the softmax of that expectation.
    natural_positives: the weak flow loss takes natural pairs as positives
      and their neighbours as negatives, not an image and its own view.
    apart: distance in coordinates over which L_apart falls off.
    accumulate: parts that a device cuts its batch into, to be done one after
      another. The gradient is their mean; batch norms see one part at a time.
    remat: what a network computes inside is not kept for the backward pass,
      but computed again there.
  """

  model: C3
  vgg: VGG
  image_size: int
  seed: int
  augment: Mapping
  decay: float = 0.99
  stop_gradient: bool = True
  hard_flow: bool = True
  flow_temperature: float = 0.02
  natural_positives: bool = False
  apart: float = 0.15
  accumulate: int = 1
  remat: bool = False


def accumulated(gradient, moving, state, images, keys, *, parts):
  """The gradient on a device's batch, in `parts` runs of its rows.

  Args:
    gradient: (moving, state, images, keys) -> (gradients, (terms,
      (batch_stats, running, raw))).
    moving: parameters, as `optim.partition` gives them.
    state: `TrainState`; the parts hand on its statistics and running means.
    images, keys: [b, ...], b a multiple of `parts`.
    parts: int; 1 is the whole batch at once.

  Returns:
    (gradients, terms, batch_stats, running, raw): means over the parts, and
    the statistics after the last.
  """

  def part(state, rows):
    grads, (terms, (batch_stats, running, raw)) = gradient(moving, state, *rows)
    state = state.replace(batch_stats=batch_stats, running=running)
    return state, (grads, terms, raw)

  if parts == 1:
    state, means = part(state, (images, keys))
  else:
    rows = jax.tree.map(
      lambda x: x.reshape(parts, -1, *x.shape[1:]), (images, keys)
    )
    shapes = jax.eval_shape(lambda: part(state, (rows[0][0], rows[1][0]))[1])
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def add(carry, rows):
      state, sums = carry
      state, values = part(state, rows)
      return (state, jax.tree.map(jnp.add, sums, values)), None

    (state, sums), _ = jax.lax.scan(add, (state, zeros), rows)
    means = jax.tree.map(lambda x: x / parts, sums)
  grads, terms, raw = means
  return grads, terms, state.batch_stats, state.running, raw


def train_step(setup, stage, state, frozen, batch):
  """One step on this device's part of the batch; runs under `parallel.AXIS`.

  Args:
    setup, stage: static.
    state: `TrainState`, replicated.
    frozen: see `loss_terms`, replicated.
    batch: dict with image, uint8 [b, s, s, 3], b even.

  Returns:
    (state, metrics): the next state and a dict of float32 scalars, both equal
    on all devices.
  """
  images = batch["image"]
  keys = augment.example_keys(
    jax.random.key(setup.seed),
    state.step,
    len(images),
    parallel.offset(len(images)),
  )
  moving, fixed = optim.partition(state.params, stage.train)

  def loss(moving, state, images, keys):
    terms, rest = loss_terms(
      setup,
      stage,
      optim.merge(moving, fixed),
      state,
      frozen,
      images.astype(jnp.float32) / 255,
      keys,
    )
    return objectives.total(terms, stage.weights), (terms, rest)

  grads, terms, batch_stats, running, raw = accumulated(
    jax.grad(loss, has_aux=True),
    moving,
    state,
    images,
    keys,
    parts=setup.accumulate,
  )
  grads, terms = parallel.mean((grads, terms))
  with jax.named_scope("optimiser"):
    updates, opt_state = stage.tx.update(grads, state.opt_state, moving)
    moving = optax.apply_updates(moving, updates)
  metrics = terms | {f"raw_{tap}": value for tap, value in raw.items()}
  metrics["loss"] = objectives.total(terms, stage.weights)
  metrics["gradient_norm"] = optax.tree.norm(grads)
  metrics["learning_rate"] = stage.rate(state.step - stage.start)
  state = TrainState(
    step=state.step + 1,
    params=optim.merge(moving, fixed),
    batch_stats=batch_stats,
    opt_state=opt_state,
    running=running,
  )
  return state, metrics
