"""Where a run starts: afresh, from another run, or where it was stopped."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from c3_jax.data import PairedDataset
from c3_jax.errors import UserError
from c3_jax.models import initial, weight_files
from c3_jax.runs import Damaged, flat, load_config, open_to_read, under
from c3_jax.runtime import files, json_files
from c3_jax.training.state import (
  TrainState,
  enter,
  initial_state,
  start_average,
  state_at_0,
)

logger = logging.getLogger(__name__)

# What may differ between a run and its continuation.
FREE = ("eval", "log_every", "checkpoint_every", "accept_changes", "init")
FREE += ("parallel",)
# Where and how images are read: they may move, if they are the same.
PLACES = ("data.root", "data.extra_root", "data.tfds_dir", "data.cache")
PLACES += ("data.packed", "data.landmarks")


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

  The images may lie elsewhere, or be loaded in another way, if they are the
  same.

  Raises:
    UserError: names the keys that differ, or how the images do.
  """
  step = checkpoints.latest
  if step is None:
    return
  config, workdir = experiment.config, experiment.workdir
  before, now = checkpoints.notes(step), identity(experiment.splits.train)
  changes = _changes(experiment, step, same_data=_same(before, now))
  _refuse(config, f"{workdir} was trained with", changes)
  if before["n_train"] != now["n_train"]:
    # Epochs would have another length, and their order would be another.
    change = f"{before['n_train']} images of config.data, not on"
    change += f" {now['n_train']}"
    _refuse(config, f"{workdir} was trained on", {"data": change})
  elif _same(before, now) is False:
    change = "images of config.data with other names or sizes"
    _refuse(config, f"{workdir} was trained on", {"data": change})


def identity(dataset):
  """Tells what the images of a dataset are: notes for their checkpoints.

  That is their number, and under "data" digests of their names, without
  folders, and of their sizes in pixels (None where files were not opened).
  """
  names = [os.path.basename(name) for name in dataset.names]
  pairs = dataset.pairs if isinstance(dataset, PairedDataset) else None
  sizes = dataset.sizes
  return {
    "n_train": len(dataset),
    "data": {
      "names": _digest(names, None if pairs is None else pairs.tolist()),
      "sizes": None if sizes is None else _digest(np.asarray(sizes).tolist()),
    },
  }


def _digest(*values):
  return hashlib.blake2b(
    json.dumps(values).encode(), digest_size=16
  ).hexdigest()


def _same(before, now):
  """Tells whether images are the same; None of an older checkpoint."""
  old, new = before.get("data"), now["data"]
  if old is None:
    return None
  sizes = old["sizes"] == new["sizes"] or None in (old["sizes"], new["sizes"])
  return old["names"] == new["names"] and sizes


def _changes(experiment, step, *, same_data):
  """Compares with config.json, but for what only matters later.

  That is evaluation, logging, and the stages that have not begun.

  Returns:
    dict key -> text; empty where there is no config.json.
  """
  if not (experiment.workdir / "config.json").exists():
    return {}
  free = FREE + tuple(
    f"stages.{stage.name}" for stage in experiment.stages if stage.start >= step
  )
  # What is compared by its images, and of older checkpoints by its place.
  free += PLACES if same_data is not None else ()
  before = flat(load_config(experiment.workdir))
  now = flat(experiment.config)
  return {
    key: f"config.{key}={before.get(key)!r}, not {now.get(key)!r}"
    for key in sorted(before.keys() | now.keys())
    if not _alike(key, before.get(key), now.get(key)) and not under(key, free)
  }


def _alike(key, before, now):
  """Tells whether two values of a key mean the same."""
  # A key that this version no longer has counts as empty.
  if (before or None) == (now or None):
    return True
  # Ported weights may lie elsewhere; whether they are used may not change.
  if under(key, ["weights"]):
    return bool(before and now)
  if under(key, PLACES) and isinstance(before, str) and isinstance(now, str):
    return os.path.realpath(before) == os.path.realpath(now)
  return False


def _refuse(config, message, changes):
  """Refuses changes, a dict key -> text, that `accept_changes` lacks."""
  accepted = str(config.accept_changes or "").replace(" ", "").split(",")
  for name in filter(None, accepted):
    if not any(under(key, [name]) for key in flat(config)):
      raise UserError(
        f"config.accept_changes={name} is no key: name the keys that may "
        "change, with commas."
      )
  refused = [key for key in changes if not under(key, filter(None, accepted))]
  text = f"{message} {'; '.join(changes.values())}"
  if refused:
    raise UserError(
      f"{text}: use the same, or another --workdir, or go on regardless with "
      f"--config.accept_changes={','.join(changes)}."
    )
  if changes:
    logger.warning("%s; going on, as config.accept_changes says.", text)


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
      # That run may have kept no average.
      wanted = state.replace(average={})
      found = checkpoints.restore(wanted, step, partial=True)
    logger.info("Starting from step %d of %s.", step, start)
    average = start_average(config, found.params)
    return found.replace(step=state.step, average=average)
  if config.weights.resnet50:
    found = initial.with_ported_backbone(config, state.variables)
    return state_at_0(config, found)
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
  before = {}
  if path.exists():
    words = {"wrong": "is damaged", "remedy": "move it away."}
    before = json_files.read(path, **words)
    form = dict.fromkeys(before, {"source": str, "source_sha256": str})
    json_files.read(path, form, **words)
  now = {}
  networks = {"resnet50": "resnet50", "vgg": config.perceptual.arch}
  for key, folder in config.weights.items():
    if folder and key == "resnet50" and key in before:
      now[key] = before[key]  # The folder may be gone.
    elif folder:
      now[key] = weight_files.about(folder, networks[key], key=f"weights.{key}")
  if step and "vgg" in before and "vgg" in now:
    old, new = (
      f"{noted['vgg']['source']} (SHA-256 {noted['vgg']['source_sha256']})"
      for noted in (before, now)
    )
    change = f"the VGG of {old}, config.weights.vgg holds that of {new}"
    changes = {"weights.vgg": change} if old != new else {}
    _refuse(config, f"{workdir} was trained with", changes)
  if now != before and jax.process_index() == 0:
    files.write_json(path, now)
