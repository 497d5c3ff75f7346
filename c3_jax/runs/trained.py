"""A trained model from the folder of its run, ready for other programs.

  trained = load_trained("runs/mine")
  encoding = trained.model.apply(trained.variables, images, method="encode")
  points = encoding.pose.points

It reads config.json and one checkpoint: no data, no weights of others, no
TensorFlow.
"""

import os
from typing import Any, NamedTuple

import ml_collections

from c3_jax.data import frame_of
from c3_jax.errors import UserError
from c3_jax.models import c3, initial
from c3_jax.runs import checkpoints
from c3_jax.runs.config import load_config
from c3_jax.runtime import files


class Trained(NamedTuple):
  """A trained model.

  Attributes:
    config: of the run, locked.
    model: its methods are encode, decode, features and match.
    variables: {"params": .., "batch_stats": ..}, NumPy arrays, for
      `model.apply`.
    step: of the checkpoint.
  """

  config: ml_collections.ConfigDict
  model: c3.C3
  variables: Any
  step: int


def load_trained(
  workdir: str | os.PathLike, step: int | None = None
) -> Trained:
  """Reads config.json and a checkpoint of a run.

  Args:
    workdir: folder of the run.
    step: of the checkpoint; None is the best one by the error on held-out
      training images, the newest where there is no such error.

  Raises:
    UserError: the folder is not that of a run, or has no such checkpoint.
  """
  config = load_config(workdir)
  try:
    model = c3.from_config(config)
    shapes = initial.shapes(config, model)
    frame_of(config)
  # Of a config by hand anything may come: ZeroDivisionError, OverflowError ...
  except Exception as error:
    raise UserError(
      f"{workdir}/config.json does not describe a model "
      f"({files.reason(error)}): use the version of c3_jax it was "
      "trained with."
    ) from error
  with checkpoints.open_to_read(workdir, workdir) as found:
    step = found.best if step is None else step
    # Under this name the state has the parameters that evaluation uses.
    name = "average" if config.average else "params"
    template = {name: shapes["params"], "batch_stats": shapes["batch_stats"]}
    stored = found.restore(template, step, partial=True)
    variables = {"params": stored[name], "batch_stats": stored["batch_stats"]}
    return Trained(config, model, variables, step)
