"""What a run trains, out of its config: stages, and the step's static part."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import optax

from c3_jax.errors import UserError
from c3_jax.models import initial
from c3_jax.models.c3 import C3
from c3_jax.models.vgg import VGG
from c3_jax.settings.stages import STAGES
from c3_jax.training import optim
from c3_jax.training.augment import Augmentation


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
    """The stage's last step."""
    return self.start + self.steps


@dataclass(frozen=True)
class Setup:
  """What the step needs besides its arguments; the same in all stages.

  Attributes:
    model, vgg: the networks.
    image_size: side of the model frame in pixels.
    seed: of augmentation.
    augment: how images are warped and recoloured.

  The others are keys of the config, explained in settings/base.py.
  """

  model: C3
  vgg: VGG
  image_size: int
  seed: int
  augment: Augmentation
  decay: float = 0.99
  early: bool = False
  stop_gradient: bool = True
  hard_flow: bool = True
  flow_temperature: float = 0.02
  flow_reach: int = 0
  flow_smooth: float = 0.0
  flow_check: float = 0.0
  match_temperature: float = 0.05
  natural_positives: bool = False
  apart: float = 0.15
  average: float = 0.0
  accumulate: int = 1
  remat: bool = False

  @classmethod
  def of(cls, config):
    """Makes the networks and the rest of the static part of a config."""
    model, vgg = initial.networks(config)
    return cls(
      model=model,
      vgg=vgg,
      image_size=config.data.image_size,
      seed=config.seed,
      augment=Augmentation.of(config.augment),
      decay=config.perceptual.decay,
      early=config.perceptual.early,
      average=config.average,
      accumulate=config.accumulate,
      remat=config.remat,
      **config.objective,
    )


def stages(config, n_train) -> list[Stage]:
  """Lays the stages of a run end to end; those of length 0 are left out.

  Args:
    config: of the run.
    n_train: images in an epoch, for lengths given in epochs.

  Raises:
    UserError: a length or a weight makes no sense; names the key.
  """
  result, start = [], 0
  for name in STAGES:
    options = config.stages[name]
    steps = _length(name, options, n_train, config.batch_size)
    if not steps:
      continue
    rate = optim.schedule(
      options.learning_rate,
      steps=steps,
      drops=options.drops,
      warmup=options.warmup,
    )
    tx = optim.adam(rate, **config.optimizer)
    weights = _weights(name, options)
    result.append(Stage(name, start, steps, weights, options.train, tx, rate))
    start += steps
  if not result:
    raise UserError("config.stages has no stage of a length above 0.")
  return result


def _length(name, options, n_train, batch_size):
  """Gives the steps of a stage, set in steps or in epochs."""
  if min(options.steps, options.epochs) < 0 or options.steps * options.epochs:
    raise UserError(
      f"config.stages.{name} has steps={options.steps} and "
      f"epochs={options.epochs:g}: set one of them to 0, the other to its "
      "length."
    )
  return options.steps or math.ceil(options.epochs * n_train / batch_size)


def _weights(name, options):
  """Gives the weights of a stage's terms, checked against one another."""
  weights, key = options.weights.to_dict(), f"config.stages.{name}.weights"
  if not any(weights.values()):
    raise UserError(
      f"{key} are all 0: set one, or set config.stages.{name}.steps=0 and "
      "epochs=0 to leave the stage out."
    )
  for term, sources in (("inv", ("cycle",)), ("equiv", ("pairs", "cycle"))):
    if weights[term] and not any(weights[source] for source in sources):
      raise UserError(
        f"{key}.{term} needs the images of {' or '.join(sources)}: give that "
        f"weight a value above 0, or set {term}=0."
      )
  return weights
