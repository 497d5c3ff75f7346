"""Checkpoints of a run: a thin layer over Orbax.

Kept are the newest two, the one with the least error, and that of step 0. They
are host NumPy, which any number of devices or processes can read. Each has a
digest: Orbax does not notice a changed byte in the numbers themselves.
"""

import contextlib
import errno
import gc
import logging
import os
import pathlib
import re
import shutil
import sys
from collections.abc import Iterator

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from c3_jax.errors import UserError
from c3_jax.runs.contents import by_name, digest, older_name
from c3_jax.runtime import hosts, json_files

logger = logging.getLogger(__name__)

RECENT = 2
MARGIN = 2**20  # Bytes of free disk that a save needs besides its arrays.
UNFINISHED = ".orbax-checkpoint-tmp"  # In the name of a save that goes on.
_NOTES = {
  "error": (float, None),
  "pending": [dict],
  "n_train": (int, None),
  "digest": str,
}
_NO_DATA = {"names": "", "sizes": None}  # Older checkpoints have none.
BROKEN = (ValueError, KeyError, TypeError, OSError)  # Orbax on broken disks.


class Damaged(UserError):
  """Says that a checkpoint cannot be read, or is not what was saved."""


class Checkpoints(contextlib.AbstractContextManager):
  """The folder `workdir/checkpoints`; use it as a context manager."""

  def __init__(self, workdir, *, repair=False, check=lambda: None):
    """Opens the folder, and makes it if it is missing.

    Args:
      workdir: folder of the run.
      repair: whether to delete unfinished saves, and to set aside checkpoints
        without readable notes. Only for the run that writes: what a reader
        sees unfinished may still be in progress.
      check: function that raises where nothing may be written any more, as
        `Lock.check`; the run asks it before it writes.

    Raises:
      Damaged: the folder cannot be opened as it is.
    """
    self._path = pathlib.Path(workdir).resolve() / "checkpoints"
    self._failed, self.check = False, check
    self._notes = {
      int(path.name): _read_notes(path)
      for path in self._path.glob("*")
      if re.fullmatch("[0-9]+", path.name)
    }
    if repair:
      # Not before every process has looked.
      hosts.wait("checkpoints read")
      for step in self._without_notes():
        logger.warning("%s/%d is damaged: no notes.", self._path, step)
        self._move(step)
      if jax.process_index() == 0:
        for part in self._path.glob(f"*{UNFINISHED}*"):
          shutil.rmtree(part)
      hosts.wait("checkpoints repaired")
    self._open()

  def _open(self):
    try:
      self._checkpointer = ocp.training.Checkpointer(
        self._path, preservation_policy=self
      )
    except OSError:
      raise
    except Exception as error:  # Of damaged files anything may come.
      raise Damaged(
        f"{self._path} cannot be opened: "
        f"{self._without_notes() or 'a checkpoint'} is damaged; move it away, "
        "or go on training, which does so."
      ) from error

  def _without_notes(self):
    return [step for step, notes in self._notes.items() if not notes]

  def __exit__(self, *args):
    # After a save that failed, Orbax raises its error again.
    with _quiet(), contextlib.suppress(*BROKEN if self._failed else ()):
      self._checkpointer.close()
      self._checkpointer = None

  def should_preserve(self, checkpoints, *, context):
    """Answers Orbax after a save: which of its checkpoints to keep."""
    steps = [checkpoint.step for checkpoint in checkpoints]
    kept = {0, self.best, *sorted(steps)[-RECENT:]}
    return [step in kept for step in steps]

  @property
  def steps(self):
    """Steps of all checkpoints, oldest first."""
    return [each.step for each in self._checkpointer.checkpoints]

  @property
  def latest(self):
    """Step of the newest checkpoint, or None."""
    return max(self.steps, default=None)

  @property
  def best(self):
    """Step with the least error, the newer of two; the newest without any."""
    errors = {
      step: notes["error"]
      for step, notes in self._notes.items()
      if notes and notes["error"] is not None
    }
    best = min(errors, key=lambda step: (errors[step], -step), default=None)
    return self.latest if best is None else best

  def notes(self, step):
    """Gives error, pending, n_train and data of `save`, and the digest.

    Older checkpoints have no data.

    Raises:
      Damaged: they cannot be read.
    """
    if not self._notes.get(step):
      raise Damaged(f"{self._path}/{step} is damaged: no notes.")
    return self._notes[step]

  def save(self, state, *, error=None, pending=(), n_train=None, data=None):
    """Saves the state under its step; whole, or not at all.

    Args:
      state: tree of arrays with a scalar `step`.
      error: percent on held-out training images, if measured.
      pending: list of dicts name -> float, metrics that are not written yet.
      n_train: number of training images.
      data: what the training images are, for JSON.

    Raises:
      UserError: the disk is full, or not to be written.
    """
    state = jax.device_get(state)
    step = int(state.step)
    notes = {
      "error": None if error is None else float(error),
      "pending": list(pending),
      "n_train": n_train,
    }
    if data is not None:
      notes["data"] = data
    notes["digest"] = digest(by_name(state), notes)
    self._notes[step] = notes
    hosts.wait("saving")
    before = self.latest
    try:
      with _quiet():
        self._check_space(state)
        # Forced: what Orbax would decide by itself differs between processes.
        self._checkpointer.save(step, state, force=True, custom_metadata=notes)
    except (*BROKEN, RuntimeError) as error:
      self._failed = True
      raise UserError(
        f"{self._path}/{step} cannot be saved "
        f"({str(error).strip().rpartition(': ')[2]}): free or repair the disk "
        "and start again; the newest checkpoint is "
        + ("none." if before is None else f"that of step {before}.")
      ) from error
    self._notes = {step: self._notes[step] for step in self.steps}

  def _check_space(self, state):
    """Raises OSError where the disk is full: Orbax would write pages."""
    needed = sum(np.asarray(x).nbytes for x in jax.tree.leaves(state))
    if shutil.disk_usage(self._path).free < needed + MARGIN:
      raise OSError(
        errno.ENOSPC, f"{needed:,} bytes: no space left on the disk"
      )

  def restore(self, template, step, *, partial=False):
    """Reads the checkpoint of a step: a tree of NumPy arrays.

    Args:
      template: tree of arrays; only structure, shapes and dtypes matter.
      step: int.
      partial: whether the checkpoint may hold more than the template.

    Raises:
      Damaged: the checkpoint cannot be read.
      UserError: no such checkpoint, or it holds another model.
    """
    if step not in self.steps:
      raise UserError(
        f"{self._path.parent} has no checkpoint of step {step}: use one of "
        f"{', '.join(map(str, self.steps)) or 'none'}."
      )
    stored, wanted = self._read(step), by_name(template)
    names = [name if name in stored else older_name(name) for name in wanted]
    found = [stored.get(name) for name in names]
    same = all(
      x is not None and (x.shape, x.dtype) == (leaf.shape, leaf.dtype)
      for x, leaf in zip(found, wanted.values(), strict=True)
    )
    if not same or not (partial or stored.keys() == set(names)):
      raise UserError(
        f"{self._path}/{step} does not hold the model of this config: pass "
        "the config it was trained with, or another --workdir."
      )
    return jax.tree.unflatten(jax.tree.structure(template), found)

  def set_aside(self, step):
    """Moves a checkpoint to `workdir/damaged`."""
    self._checkpointer.close()
    hosts.wait("checkpoints closed")
    self._move(step)
    hosts.wait("checkpoint set aside")
    self._open()

  def _move(self, step):
    del self._notes[step]
    if jax.process_index() == 0:
      folder = self._path.parent / "damaged"
      folder.mkdir(exist_ok=True)
      count = len(list(folder.iterdir()))
      (self._path / str(step)).rename(folder / f"{count}_step{step}")

  def _read(self, step):
    """Reads all that a checkpoint holds: dict name -> array."""
    notes = self.notes(step)
    try:
      with _quiet():
        stored = by_name(self._checkpointer.load(step))
    except Exception as error:
      raise Damaged(f"{self._path}/{step} is damaged: not readable.") from error
    if digest(stored, notes) != notes["digest"]:
      raise Damaged(f"{self._path}/{step} is damaged: not what was saved.")
    return stored


@contextlib.contextmanager
def open_to_read(
  workdir: str | os.PathLike, name: object
) -> Iterator[Checkpoints]:
  """Opens the `Checkpoints` of a run that has some.

  Raises:
    UserError: there are none in the folder, which is called `name`.
  """
  # Opening a folder that is missing would make it.
  if (pathlib.Path(workdir) / "checkpoints").is_dir():
    with Checkpoints(workdir) as checkpoints:
      if checkpoints.steps:
        yield checkpoints
        return
  raise UserError(
    f"{name} has no checkpoints yet: train there first, or name the folder of "
    "another run."
  )


def _read_notes(path):
  """Reads the notes of a checkpoint; None where they cannot be read."""
  with _quiet(), contextlib.suppress(Exception):
    notes = ocp.metadata(path).custom_metadata
    json_files.check(notes, _NOTES)
    data = notes.get("data", _NO_DATA)
    json_files.check(data, {"names": str, "sizes": (str, None)})
    if notes.keys() - {"data"} == _NOTES.keys():
      return notes
  return None


@contextlib.contextmanager
def _quiet():
  """Silences the log: Orbax writes pages about a broken file or disk."""
  before = logging.root.manager.disable, sys.excepthook
  logging.disable()
  sys.excepthook = lambda *_: None  # Of threads that are not Python's.
  try:
    yield
  except BaseException:
    gc.collect()  # What asyncio has to say when it forgets a task.
    raise
  finally:
    logging.disable(before[0])
    sys.excepthook = before[1]
