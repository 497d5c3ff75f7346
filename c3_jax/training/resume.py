"""Where a run starts: afresh, from another run, or where it was stopped."""

import json
import logging
import pathlib

import jax

from c3_jax.errors import UserError
from c3_jax.models import porting
from c3_jax.runs.checkpoints import Checkpoints, Damaged
from c3_jax.runtime import files
from c3_jax.training import build

logger = logging.getLogger(__name__)

# What may differ between a run and its continuation.
FREE = ("eval", "log_every", "checkpoint_every", "accept_changes", "init")


def check_config(config, workdir, stages, step):
  """Refuses to continue a run under another config.

  What only matters later may change: evaluation, logging, and the stages that
  have not begun.

  Args:
    config: the one given now; `accept_changes` lets everything pass.
    workdir: folder of the run.
    stages: of the config given now.
    step: of the newest checkpoint, or None.

  Raises:
    UserError: names the keys that differ.
  """
  path = workdir / "config.json"
  if step is None or not path.exists():
    return
  free = FREE + tuple(
    f"stages.{stage.name}" for stage in stages if stage.start >= step
  )
  before = flat(json.loads(path.read_text()))
  now = flat(json.loads(config.to_json()))
  changes = [
    f"config.{key}={before.get(key)!r}, not {now.get(key)!r}"
    for key in sorted(before.keys() | now.keys())
    if before.get(key) != now.get(key)
    and not _under(key, free)
    and not _moved(key, before, now)
  ]
  _refuse(config, f"{workdir} was trained with {'; '.join(changes)}", changes)


def check_data(config, workdir, checkpoints, now):
  """Refuses to continue on another number of training images.

  Epochs would have another length, and their order would be another.

  Args:
    config: see `check_config`.
    workdir: folder of the run.
    checkpoints: `Checkpoints` in it.
    now: number of training images.

  Raises:
    UserError: names both numbers.
  """
  if checkpoints.latest is None:
    return
  before = checkpoints.notes(checkpoints.latest)["n_train"]
  _refuse(
    config,
    f"{workdir} was trained on {before} images of config.data, not on {now}",
    before != now,
  )


def _refuse(config, message, changed):
  if not changed:
    return
  if not config.accept_changes:
    raise UserError(
      f"{message}: use the same, or another --workdir, or go on regardless "
      "with --config.accept_changes=True."
    )
  logger.warning("%s; going on, as config.accept_changes says.", message)


def _under(key, prefixes):
  return any(f"{key}.".startswith(f"{prefix}.") for prefix in prefixes)


def _moved(key, before, now):
  """Ported weights may lie elsewhere; whether they are used may not change."""
  return _under(key, ["weights"]) and before.get(key) and now.get(key)


def flat(tree, prefix=""):
  """dict "a.b.c" -> value of nested dicts."""
  if not isinstance(tree, dict):
    return {prefix[:-1]: tree}
  result = {}
  for key, value in tree.items():
    result |= flat(value, f"{prefix}{key}.")
  return result


def write_config(config, workdir):
  """Writes config.json: whole, or not at all."""
  if jax.process_index() == 0:
    files.write_json(workdir / "config.json", json.loads(config.to_json()))


def stage_of(stages, step):
  """The stage that a checkpoint of `step` belongs to."""
  return next(stage for stage in stages if step <= stage.end)


def restore(config, model, stages, checkpoints, step):
  """The whole state of a checkpoint, to train on from."""
  if step > stages[-1].end:
    raise UserError(
      f"the checkpoint of step {step} lies beyond the {stages[-1].end} steps "
      "of this config: pass the config it was trained with."
    )
  state = build.initial_state(config, model)
  template = build.enter(state, stage_of(stages, step))
  return checkpoints.restore(template, step)


def newest(config, model, stages, checkpoints, start=None):
  """Where to go on: the newest checkpoint that is not damaged, or the start.

  Damaged ones are named in the log and moved to the folder `damaged`.

  Args:
    config, model, stages: of the run.
    checkpoints: `Checkpoints`.
    start: what `first_state` gave, where it was called already.

  Returns:
    (state, notes): `TrainState`; notes of its checkpoint, see
    `Checkpoints.notes`.

  Raises:
    UserError: all are damaged.
  """
  damage = None
  while (step := checkpoints.latest) is not None:
    try:
      state = restore(config, model, stages, checkpoints, step)
      return state, checkpoints.notes(step)
    except Damaged as error:
      damage = error
      checkpoints.set_aside(step)
      logger.warning("%s Going back to the one before.", damage)
  if damage:
    raise UserError(
      f"{damage} It was the last one: start afresh in another --workdir."
    )
  state = first_state(config, model) if start is None else start
  return build.enter(state, stages[0]), {"pending": []}


def first_state(config, model):
  """The state at step 0: untrained, or the networks of `config.init`.

  Untrained, but for a ported backbone.

  Raises:
    UserError: `config.init` has no such checkpoint, or one of another model.
  """
  state = build.initial_state(config, model)
  if not config.init.workdir:
    if config.weights.resnet50:
      return build.with_ported_backbone(config, state)
    return state
  if not (pathlib.Path(config.init.workdir) / "checkpoints").is_dir():
    raise UserError(
      f"config.init.workdir={config.init.workdir} has no checkpoints: name the "
      "workdir of a run that has."
    )
  with Checkpoints(config.init.workdir) as checkpoints:
    step = config.init.step or checkpoints.best
    if step is None:
      raise UserError(
        f"config.init.workdir={config.init.workdir} has no checkpoints yet: "
        "name the workdir of a run that has."
      )
    found = checkpoints.restore(state, step, partial=True)
  logger.info("Starting from step %d of %s.", step, config.init.workdir)
  return found.replace(step=state.step)


def note_weights(config, workdir, step):
  """Notes in workdir/weights.json which ported weights a run uses.

  Args:
    config: its `weights` and `perceptual.arch`.
    workdir: `pathlib.Path` of the run.
    step: where it goes on; at 0 its VGG may still be another one.

  Raises:
    UserError: the run goes on, and its VGG was another one.
  """
  path = workdir / "weights.json"
  before = json.loads(path.read_text()) if path.exists() else {}
  now = {}
  for key, network in (
    ("resnet50", "resnet50"),
    ("vgg", config.perceptual.arch),
  ):
    folder = config.weights[key]
    if folder and key == "resnet50" and key in before:
      now[key] = before[key]  # The folder may be gone.
    elif folder:
      now[key] = porting.about(folder, network, key=f"weights.{key}")
  if step and "vgg" in before and "vgg" in now:
    names = [
      f"{about['source']} (SHA-256 {about['source_sha256']})"
      for about in (before["vgg"], now["vgg"])
    ]
    _refuse(
      config,
      f"{workdir} was trained with the VGG of {names[0]}, config.weights.vgg "
      f"holds that of {names[1]}",
      names[0] != names[1],
    )
  if now != before and jax.process_index() == 0:
    files.write_json(path, now)
