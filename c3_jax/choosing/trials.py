"""Trials: short runs that differ in their number of landmarks alone.

A trial trains the first stage in which landmarks move, and no other.
"""

import hashlib
import json
import math
import pathlib
from typing import NamedTuple

import jax

from c3_jax.errors import UserError
from c3_jax.evaluation import diagnostics
from c3_jax.runs import flat, load_config, load_trained
from c3_jax.runtime import json_files
from c3_jax.settings.stages import STAGES
from c3_jax.training import loop
from c3_jax.training.experiment import Experiment


class Trial(NamedTuple):
  """What a run of K landmarks came to.

  Attributes:
    k: number of landmarks.
    steps: that it was trained.
    consistency: mean distance between where a known warp takes a landmark and
      where it is found, in per cent of the image side.
    faults: number of landmarks that are merged, still or at the border.
    reconstruction: mean absolute difference between warped images and those
      drawn from their landmarks, in per cent of the range of values.
    error: labelled error in per cent, None without annotations; no rule may
      look at it.
    settings: digest of the config that it was trained with.
  """

  k: int
  steps: int
  consistency: float
  faults: int
  reconstruction: float
  error: float | None
  settings: str


def shortened(config, k, share):
  """Makes the config of a trial.

  Args:
    config: whose stages have their full length.
    k: number of landmarks.
    share: of the length of the stage that is trained.

  Raises:
    UserError: k or the share makes no sense, or no stage moves landmarks.
  """
  if k < 2:
    raise UserError(f"--ks={k}: use numbers of 2 or more.")
  if not 0 < share <= 1:
    raise UserError(f"--share={share:g}: use a number above 0, at most 1.")
  config = config.copy_and_resolve_references().unlock()
  config.model.k = k
  chosen = next((n for n in STAGES if _moves(config.stages[n])), None)
  if chosen is None:
    raise UserError(
      "config.stages has no stage that trains landmarks: give pairs or cycle a "
      "length."
    )
  for name, stage in config.stages.items():
    factor = share if name == chosen else 0
    stage.steps = math.ceil(factor * stage.steps)
    stage.epochs = factor * stage.epochs
  return config.lock()


def _moves(stage):
  """Tells whether a stage of a config has a length, and moves landmarks."""
  return "pose" in stage.train and (stage.steps > 0 or stage.epochs > 0)


def digest(config):
  """Makes a digest of all settings that a trial depends on."""
  text = json.dumps(flat(config), sort_keys=True)
  return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def run(config, workdir):
  """Trains a trial, or goes on with it, and measures it.

  Returns:
    `Trial`; None where it was interrupted, and is to be gone on with.

  Raises:
    UserError: a mistake in the config or the data.
  """
  experiment = Experiment.of(config, workdir)
  end = experiment.stages[-1].end
  with loop.start(experiment) as finished:
    if not finished:
      return None
    # The last checkpoint, not the best: that is chosen by annotations.
    report = loop.evaluate(experiment, load_trained(workdir, end)) or {}
  # Each trial has compiled programs of its own.
  jax.clear_caches()
  name = config.eval.name or config.data.name
  found = json_files.read(
    pathlib.Path(workdir, "quality", f"{name}.json"),
    wrong="is damaged",
    remedy="start again.",
  )
  return Trial(
    k=config.model.k,
    steps=end,
    consistency=found["consistency"],
    faults=len(diagnostics.faulty(found["faults"])),
    reconstruction=found["reconstruction"],
    error=report.get("error", {}).get("intercept"),
    settings=digest(config),
  )


def kept(config, workdir, before):
  """Finds the trial among those measured before, with the same settings.

  Args:
    config: of the trial.
    workdir: its folder, which must still be that of this run.
    before: list of `Trial`.

  Returns:
    `Trial` or None.
  """
  settings = digest(config)
  if not (pathlib.Path(workdir) / "config.json").is_file():
    return None
  if digest(load_config(workdir)) != settings:
    return None
  return next((each for each in before if each.settings == settings), None)
