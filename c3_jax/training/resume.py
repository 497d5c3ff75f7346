"""Where a run starts: afresh, from another run, or where it was stopped."""

import json
import logging
from collections.abc import Sequence
from typing import NamedTuple

import jax

from c3_jax.errors import UserError
from c3_jax.models import initial, porting
from c3_jax.runs import Damaged, flat, load_config, open_to_read, under
from c3_jax.runtime import files
from c3_jax.training.state import TrainState, enter, initial_state, state_at_0

logger = logging.getLogger(__name__)

# What may differ between a run and its continuation.
FREE = ("eval", "log_every", "checkpoint_every", "accept_changes", "init")


class Start(NamedTuple):
  """Where training goes on.

  Attributes:
    state: `TrainState`, host arrays.
    pending: metrics of the steps before it that are in no line of the log.
  """

  state: TrainState
  pending: Sequence = ()


def check(experiment, checkpoints):
  """Refuses to continue a run with another config or other data.

  Raises:
    UserError: names the keys that differ, or both numbers of images.
  """
  step = checkpoints.latest
  if step is None:
    return
  config, workdir = experiment.config, experiment.workdir
  changes = _changes(experiment, step)
  _refuse(config, f"{workdir} was trained with {'; '.join(changes)}", changes)
  # Epochs would have another length, and their order would be another.
  before, now = checkpoints.notes(step)["n_train"], len(experiment.splits.train)
  _refuse(
    config,
    f"{workdir} was trained on {before} images of config.data, not on {now}",
    before != now,
  )


def _changes(experiment, step):
  """Compares with config.json, but for what only matters later.

  That is evaluation, logging, and the stages that have not begun.
  """
  if not (experiment.workdir / "config.json").exists():
    return []
  free = FREE + tuple(
    f"stages.{stage.name}" for stage in experiment.stages if stage.start >= step
  )
  before = flat(load_config(experiment.workdir))
  now = flat(experiment.config)
  return [
    f"config.{key}={before.get(key)!r}, not {now.get(key)!r}"
    for key in sorted(before.keys() | now.keys())
    # A key that this version no longer has counts as empty.
    if (before.get(key) or None) != (now.get(key) or None)
    and not under(key, free)
    # Ported weights may lie elsewhere; whether they are used may not change.
    and not (under(key, ["weights"]) and before.get(key) and now.get(key))
  ]


def _refuse(config, message, changed):
  if not changed:
    return
  if not config.accept_changes:
    raise UserError(
      f"{message}: use the same, or another --workdir, or go on regardless "
      "with --config.accept_changes=True."
    )
  logger.warning("%s; going on, as config.accept_changes says.", message)


def newest(experiment, checkpoints, first=None) -> Start:
  """Goes on from the newest checkpoint that is not damaged, or starts.

  Damaged ones are named in the log and moved to the folder `damaged`.

  Args:
    experiment, checkpoints: of the run.
    first: result of `first_state`, where it was called already.

  Raises:
    UserError: all are damaged.
  """
  damage = None
  while (step := checkpoints.latest) is not None:
    try:
      state = restore(experiment, checkpoints, step)
      return Start(state, checkpoints.notes(step)["pending"])
    except Damaged as error:
      damage = error
      checkpoints.set_aside(step)
      logger.warning("%s Going back to the one before.", damage)
  if damage:
    raise UserError(
      f"{damage} It was the last one: start afresh in another --workdir."
    )
  state = first_state(experiment) if first is None else first
  return Start(enter(state, experiment.stages[0]))


def restore(experiment, checkpoints, step) -> TrainState:
  """Reads the whole state of a checkpoint, to train on from."""
  stages = experiment.stages
  if step > stages[-1].end:
    raise UserError(
      f"the checkpoint of step {step} lies beyond the {stages[-1].end} steps "
      "of this config: pass the config it was trained with."
    )
  stage = next(stage for stage in stages if step <= stage.end)
  template = jax.eval_shape(
    lambda variables: enter(state_at_0(experiment.config, variables), stage),
    initial.shapes(experiment.config, experiment.model),
  )
  return checkpoints.restore(template, step)


def first_state(experiment) -> TrainState:
  """Makes the state at step 0, without an optimiser.

  It has the networks and running means of `config.init`, or untrained networks,
  but for a ported backbone.

  Raises:
    UserError: `config.init` has no such checkpoint, or one of another model;
      ported weights are missing, or of another network.
  """
  config = experiment.config
  state, start = initial_state(config, experiment.model), config.init.workdir
  if start:
    with open_to_read(start, f"config.init.workdir={start}") as checkpoints:
      step = config.init.step or checkpoints.best
      found = checkpoints.restore(state, step, partial=True)
    logger.info("Starting from step %d of %s.", step, start)
    return found.replace(step=state.step)
  if config.weights.resnet50:
    return state.replace(
      **initial.with_ported_backbone(config, state.variables)
    )
  return state


def note_weights(experiment, step):
  """Writes to weights.json which ported weights a run uses.

  Args:
    experiment: of the run.
    step: where it goes on; at 0 its VGG may still be another one.

  Raises:
    UserError: the run goes on, and its VGG was another one.
  """
  config, workdir = experiment.config, experiment.workdir
  path = workdir / "weights.json"
  before = json.loads(path.read_text()) if path.exists() else {}
  now = {}
  networks = {"resnet50": "resnet50", "vgg": config.perceptual.arch}
  for key, folder in config.weights.items():
    if folder and key == "resnet50" and key in before:
      now[key] = before[key]  # The folder may be gone.
    elif folder:
      now[key] = porting.about(folder, networks[key], key=f"weights.{key}")
  if step and "vgg" in before and "vgg" in now:
    old, new = (
      f"{noted['vgg']['source']} (SHA-256 {noted['vgg']['source_sha256']})"
      for noted in (before, now)
    )
    _refuse(
      config,
      f"{workdir} was trained with the VGG of {old}, config.weights.vgg holds "
      f"that of {new}",
      old != new,
    )
  if now != before and jax.process_index() == 0:
    files.write_json(path, now)
