"""A trained model from the folder of its run, ready for other programs.

  trained = load_trained("runs/mine")
  encoding = trained.model.apply(trained.variables, images, method="encode")
  points = encoding.pose.points

It reads config.json and one checkpoint: no data, no weights of others, no
TensorFlow.
"""

import pathlib
from typing import Any, NamedTuple

import ml_collections

from c3_jax.errors import UserError
from c3_jax.models import c3, initial
from c3_jax.runs.checkpoints import Checkpoints
from c3_jax.runs.config import load_config


class Trained(NamedTuple):
  """A trained model.

  Attributes:
    config: `ml_collections.ConfigDict` of the run, locked.
    model: `C3`; its methods are encode, decode, features and match.
    variables: {"params": .., "batch_stats": ..}, NumPy arrays, for
      `model.apply`.
    step: int, of the checkpoint.
  """

  config: ml_collections.ConfigDict
  model: c3.C3
  variables: Any
  step: int


def load_trained(workdir, step=None) -> Trained:
  """Reads config.json and a checkpoint of a run.

  Args:
    workdir: folder of the run.
    step: of the checkpoint; None is the best one by the error on held-out
      training images, the newest where there is no such error.

  Returns:
    A `Trained`.

  Raises:
    UserError: the folder is not that of a run, or has no such checkpoint.
  """
  config = load_config(workdir)
  model, template = _model(workdir, config)
  checkpoints = pathlib.Path(workdir) / "checkpoints"
  # Opening it would make the folder.
  found = checkpoints.is_dir()
  if found:
    with Checkpoints(workdir) as checkpoints:
      found = checkpoints.steps
      if found:
        step = checkpoints.best if step is None else step
        if step not in found:
          have = ", ".join(map(str, found))
          raise UserError(
            f"{workdir} has no checkpoint of step {step}: use one of {have}."
          )
        variables = checkpoints.restore(template, step, partial=True)
        return Trained(config, model, variables, step)
  raise UserError(
    f"{workdir} has no checkpoints yet: train there first, or name another "
    "--workdir."
  )


def _model(workdir, config):
  """(C3, variables without values) of a config."""
  try:
    model = c3.from_config(config)
    return model, initial.shapes(config, model)
  except (AttributeError, KeyError, TypeError, ValueError) as error:
    raise UserError(
      f"{workdir}/config.json does not describe a model "
      f"({str(error).splitlines()[0]}): use the version of c3_jax it was "
      "trained with."
    ) from error
