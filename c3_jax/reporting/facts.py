"""What the folder of a run says of it: config, log, measures, figures."""

import os
import pathlib
from typing import NamedTuple

from c3_jax.errors import UserError
from c3_jax.figures import curves
from c3_jax.runs import compare
from c3_jax.runs.reports import config_of
from c3_jax.runtime import json_files


class Evaluation(NamedTuple):
  """One evaluation of a run.

  Attributes:
    name: of its files, that of the dataset or of `config.eval.name`.
    report: eval/NAME.json, None without annotations.
    quality: quality/NAME.json, None of runs of an older version.
    figures: folder of its figures.
  """

  name: str
  report: dict | None
  quality: dict | None
  figures: pathlib.Path

  @property
  def split(self):
    """Which images it shows: "test" or "training"."""
    train = (self.quality or {}).get("split") == "train"
    return "training" if train else "test"


class Facts(NamedTuple):
  """A run.

  Attributes:
    workdir: its folder, as it was given.
    name: that sets it apart, such as the last part of the folder.
    config: nested dicts.
    curves, stages: as of `curves.read_curves`; both empty without a log.
    evaluations: list of `Evaluation`, that of the training data first.
  """

  workdir: str
  name: str
  config: dict
  curves: dict
  stages: list
  evaluations: list

  @property
  def moved(self):
    """Whether landmarks were ever trained, here or before."""
    return compare.moved(self.config, "pose")

  @property
  def matched(self):
    """Whether the flow was."""
    return compare.moved(self.config, "flow")

  @property
  def steps(self):
    """The last step in the log; 0 without one."""
    return self.stages[-1][2] if self.stages else 0

  @property
  def seconds(self):
    """How long the logged steps took, without compiling: None if unknown."""
    steps, speeds = self.curves.get("images_per_second", ((), ()))
    if not len(speeds):
      return None
    # Lines without a speed, the first of a stage, take the mean of the others.
    mean = len(speeds) / sum(1 / speed for speed in speeds)
    return self.steps * self.config["batch_size"] / mean


def load(workdir) -> Facts:
  """Reads the folder of a run.

  Raises:
    UserError: it is none, or a file of it is damaged.
  """
  folder = pathlib.Path(workdir)
  config = config_of(folder)
  found, stages = {}, []
  log = folder / "metrics.jsonl"
  if log.exists():
    try:
      found, stages = curves.read_curves(log)
    except UserError:
      pass  # A run that was stopped before its first line.
  names = {
    path.stem
    for part in ("eval", "quality")
    for path in (folder / part).glob("*.json")
  }
  own = config["data"]["name"]
  evaluations = [
    _evaluation(folder, name, own)
    for name in sorted(names, key=lambda name: (name != own, name))
  ]
  if not evaluations and not found:
    raise UserError(
      f"{workdir} has nothing to report yet: train it, or evaluate it with "
      "--mode=eval."
    )
  name = os.path.basename(os.path.abspath(workdir))
  return Facts(str(workdir), name, config, found, stages, evaluations)


def load_all(workdirs):
  """Reads several runs: list of `Facts` with different names.

  Raises:
    UserError: as `load`, or a folder is named twice.
  """
  runs = [load(workdir) for workdir in workdirs]
  folders = [os.path.realpath(run.workdir) for run in runs]
  for i, folder in enumerate(folders):
    if folder in folders[:i]:
      raise UserError(f"{runs[i].workdir} is named twice: leave one out.")
  names = [run.name for run in runs]
  return [
    run._replace(name=run.workdir) if names.count(run.name) > 1 else run
    for run in runs
  ]


def _evaluation(folder, name, own):
  figures = folder / "figures"
  if name != own or (figures / name).is_dir():
    figures /= name
  report, quality = (
    json_files.read(
      path, wrong="is damaged", remedy="evaluate again with --mode=eval."
    )
    if path.exists()
    else None
    for path in (folder / part / f"{name}.json" for part in ("eval", "quality"))
  )
  return Evaluation(name, report, quality, figures)
