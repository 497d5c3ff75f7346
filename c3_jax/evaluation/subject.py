"""What is evaluated: a checkpoint of a run, and what it is measured with."""

import dataclasses
import pathlib
from typing import Any

from c3_jax.evaluation.evaluator import Evaluator


@dataclasses.dataclass(frozen=True)
class Subject:
  """A checkpoint of a run that is measured and drawn.

  Attributes:
    workdir: folder of the run.
    evaluator: has the config, the model and the splits.
    step: of the checkpoint.
    variables: {"params": .., "batch_stats": ..} after training, replicated.
    untrained: those before training; None where nothing is annotated.
  """

  workdir: pathlib.Path
  evaluator: Evaluator
  step: int
  variables: Any
  untrained: Any = None

  @property
  def config(self):
    """The config of the evaluation: the run's, with its data and eval."""
    return self.evaluator.config

  @property
  def name(self):
    """What reports of it are called: the dataset, or `config.eval.name`."""
    return self.config.eval.name or self.config.data.name

  @property
  def figures(self):
    """The folder of its figures, which may not be there yet."""
    return self.workdir / "figures" / self.config.eval.name

  @property
  def shown(self):
    """The images to show: those to test, or to learn from without any."""
    splits = self.evaluator.splits
    return splits.train if splits.test is None else splits.test
