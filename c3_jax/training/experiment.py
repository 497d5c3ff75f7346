"""A run's objects, made once: networks, data, stages, evaluator, weights."""

import dataclasses
import functools
import logging
import pathlib

import ml_collections

from c3_jax.data.load import Splits, load_splits
from c3_jax.errors import UserError
from c3_jax.evaluation import Evaluator
from c3_jax.models import initial
from c3_jax.models.c3 import C3
from c3_jax.runs import Trained, flat, load_trained, under
from c3_jax.training.setup import Setup, Stage
from c3_jax.training.setup import stages as lay_stages
from c3_jax.training.validate import check_shapes, validate

logger = logging.getLogger(__name__)
# What an evaluation takes from the config it is given; the rest is the run's.
GIVEN = ("data", "eval", "accept_changes")


@dataclasses.dataclass(frozen=True)
class Experiment:
  """Everything a run needs besides its state; checked when it is made.

  Attributes:
    workdir: folder of the run, which may not be there yet.
    setup, stages: None where nothing is trained.
  """

  config: ml_collections.ConfigDict
  workdir: pathlib.Path
  model: C3
  splits: Splits
  evaluator: Evaluator
  setup: Setup | None = None
  stages: list[Stage] | None = None

  @functools.cached_property
  def frozen(self):
    """Variables of the perceptual network, read or drawn at the first use.

    Raises:
      UserError: the ported weights are missing, or of another network.
    """
    return initial.perceptual(self.config, self.setup.vgg)

  @classmethod
  def of(cls, config, workdir, splits=None):
    """Makes the experiment of a config, to train it; writes nothing.

    `splits` stand in for those that the config names.

    Raises:
      UserError: a mistake in the config or the data.
    """
    validate(config)
    splits, setup = splits or load_splits(config), Setup.of(config)
    evaluator = Evaluator(config, setup.model, splits)
    stages = lay_stages(config, splits.train.images_per_epoch)
    check_shapes(config, setup, stages)
    workdir = pathlib.Path(workdir)
    return cls(config, workdir, setup.model, splits, evaluator, setup, stages)

  @classmethod
  def to_evaluate(cls, config, workdir):
    """Makes the experiment of a run that is only evaluated.

    Args:
      config: its `data` and `eval` say what is measured and how; everything
        else is that of the run.
      workdir: folder of the run.

    Returns:
      (`Experiment`, `Trained`): the latter of the checkpoint to evaluate.

    Raises:
      UserError: there is no such run or checkpoint, or the model of the config
        is another one.
    """
    validate(config)
    run = load_run(config, workdir)
    config = _merged(config, run, workdir)
    splits = load_splits(config)
    evaluator = Evaluator(config, run.model, splits)
    workdir = pathlib.Path(workdir)
    return cls(config, workdir, run.model, splits, evaluator), run


def load_run(config, workdir) -> Trained:
  """Reads the checkpoint that `config.eval.step` names; -1 is the best."""
  step = config.eval.step
  return load_trained(workdir, None if step < 0 else step)


def _merged(config, run: Trained, workdir):
  """The run's config with `data` and `eval` of the one given now."""
  before, now = flat(run.config), flat(config)
  for key in sorted(before.keys() & now.keys()):
    fixed = under(key, ("model", "data.image_size"))
    if fixed and before[key] != now[key]:
      raise UserError(
        f"{workdir} was trained with config.{key}={before[key]!r}, not "
        f"{now[key]!r}: use the same value, or another --workdir."
      )
  other = sorted(
    f"config.{key}"
    for key in before.keys() & now.keys()
    if before[key] != now[key] and not under(key, GIVEN)
  )
  if other:
    keys = ", ".join(other)
    logger.info("The run's values are used, not those given, of: %s.", keys)
  result = config.copy_and_resolve_references().unlock()
  for key, value in run.config.items():
    if key not in GIVEN:
      result[key] = value
  if config.data.name != run.config.data.name and not config.eval.name:
    # The figures of the dataset trained on stay.
    result.eval.name = config.data.name
  return result.lock()
