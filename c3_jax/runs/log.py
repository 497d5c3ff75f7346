"""Where the numbers of a run go: metrics.jsonl and TensorBoard."""

import concurrent.futures
import contextlib
import errno
import functools
import json
import logging
import os
import pathlib
import time

import jax
import numpy as np

from c3_jax.runtime import files, json_files

logger = logging.getLogger(__name__)


class Diverged(RuntimeError):
  """Says that a term of the loss became NaN or infinite."""


class MetricsFile:
  """Appends to metrics.jsonl: a JSON object a logged step, no step twice.

  Opening it drops the lines after `step` (a resumed run writes them again)
  and what a kill may have left of a last line. Where other lines are damaged,
  the file as it was goes to workdir/damaged, and every whole line is kept.
  """

  def __init__(self, path, step):
    path = pathlib.Path(path)
    if path.exists():
      records, damaged = read_metrics(path)
      if damaged:
        _set_aside(path, damaged)
      kept = {}
      for line, record in records:
        if record["step"] <= step:
          kept.setdefault((record.get("stage"), record["step"]), line + b"\n")
      with files.write_whole(path) as file:
        file.writelines(kept.values())
    self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

  def write(self, record):
    """Appends one line in a single write: a kill leaves all of it or none."""
    line = (json.dumps(record) + "\n").encode()
    if os.write(self._file, line) < len(line):
      raise OSError(errno.ENOSPC, "metrics.jsonl: no space left on the disk")

  def close(self):
    os.close(self._file)


def read_metrics(path):
  """Reads the whole lines of metrics.jsonl.

  Returns:
    (records, damaged): list of (line, record), bytes without their end and
    dicts with a whole number `step`; and how many lines are none, but for a
    last one that a kill cut short.

  Raises:
    OSError: it cannot be read.
  """
  *lines, last = files.read_bytes(path).split(b"\n")
  records, damaged = [], 0
  for line in [*lines, last]:
    try:
      record = json_files.parse(line, finite=False)
      json_files.check(record, {"step": int})
      json_files.check(record.get("stage", ""), str, "stage")
      records.append((line, record))
    except ValueError:
      damaged += 1
  # After the last end of a line comes nothing, or what a kill left.
  return records, damaged - (not records or records[-1][0] is not last)


def _set_aside(path, damaged):
  """Copies a damaged metrics.jsonl to workdir/damaged, and says so."""
  folder = path.parent / "damaged"
  folder.mkdir(exist_ok=True)
  target = folder / f"{len(list(folder.iterdir()))}_{path.name}"
  with files.write_whole(target) as file:
    file.write(files.read_bytes(path))
  logger.warning(
    "%s: %d line(s) are damaged and left out; %s is the file as it was.",
    path,
    damaged,
    target,
  )


class LightEvents:
  """Writes TensorBoard's events without TensorFlow, in place of clu's writer.

  Raises:
    ImportError: the package tensorboard is not installed.
  """

  def __init__(self, logdir):
    from tensorboard.compat.proto import event_pb2, summary_pb2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    self._event, self._summary = event_pb2.Event, summary_pb2.Summary
    self._writer = EventFileWriter(logdir)
    self.flush, self.close = self._writer.flush, self._writer.close

  def write_scalars(self, step, scalars):
    """Adds an event of scalars, name -> float."""
    values = [
      self._summary.Value(tag=name, simple_value=value)
      for name, value in scalars.items()
    ]
    summary = self._summary(value=values)
    self._writer.add_event(
      self._event(wall_time=time.time(), step=step, summary=summary)
    )


class TensorBoard:
  """Writes TensorBoard events, on a thread of its own.

  There the import of TensorFlow, which takes seconds, holds up no step. clu
  writes them where TensorFlow is installed, else `LightEvents`; without the
  package tensorboard, nothing does. All of it is imported at the first record:
  on process 0 alone, when JAX has its devices, which clu could disturb.
  """

  def __init__(self, workdir):
    self._workdir = workdir
    self._thread = concurrent.futures.ThreadPoolExecutor(1)
    self._pending = []

  @functools.cached_property
  def _writer(self):
    try:
      # Both write to stderr while they load.
      os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
      os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
      import tensorflow as tf
      from clu.metric_writers import SummaryWriter
    except ImportError:
      return self._light()
    with contextlib.suppress(RuntimeError):  # TensorFlow is in use already.
      tf.config.set_visible_devices([], "GPU")
    return SummaryWriter(str(self._workdir))

  def _light(self):
    try:
      return LightEvents(str(self._workdir))
    except ImportError as error:
      logger.info("No TensorBoard events (%s); see metrics.jsonl.", error)
      return None

  def _write(self, step, scalars):
    try:
      if self._writer:
        self._writer.write_scalars(step, scalars)
        self._writer.flush()
    except Exception as error:  # TensorFlow's kinds; of a full disk, say.
      logger.warning("No more TensorBoard events (%s).", error)
      self._writer = None

  def write(self, step, scalars):
    """Queues scalars, name -> float; raises what earlier ones ended with."""
    self._pending = [
      future for future in self._pending if not future.done() or future.result()
    ]
    self._pending.append(self._thread.submit(self._write, step, scalars))

  def close(self):
    """Waits until all is written."""
    for future in self._pending:
      future.result()
    self._thread.shutdown()
    if self._pending and self._writer:
      with contextlib.suppress(Exception):
        self._writer.close()


class Writer(contextlib.AbstractContextManager):
  """Writes a record to every place; on other processes than 0 to none."""

  def __init__(self, workdir, step):
    self._active = jax.process_index() == 0
    if self._active:
      self._file = MetricsFile(pathlib.Path(workdir) / "metrics.jsonl", step)
      self._tensorboard = TensorBoard(workdir)

  def __exit__(self, *args):
    if self._active:
      self._file.close()
      self._tensorboard.close()

  def write(self, step, stage, scalars):
    """Writes a record: its step, its stage, and scalars name -> float."""
    if not self._active:
      return
    self._file.write({"step": step, "stage": stage} | scalars)
    self._tensorboard.write(
      step, {f"{stage}/{name}": value for name, value in scalars.items()}
    )


def average(step, metrics, *, first=()):
  """Averages metrics over steps: dict name -> float.

  Args:
    step: the last of the steps.
    metrics: list of dicts name -> device scalar or float, one a step.
    first: names that are looked at before the others.

  Raises:
    Diverged: names the first step and metric that is not finite.
  """
  metrics = as_floats(metrics)
  names = sorted(metrics[0], key=lambda name: name not in first)
  for at, values in enumerate(metrics, step - len(metrics) + 1):
    for name in names:
      if not np.isfinite(values[name]):
        raise Diverged(f"{name} became {values[name]} at step {at}")
  return {
    name: float(np.mean([values[name] for values in metrics]))
    for name in metrics[0]
  }


def as_floats(metrics):
  """Turns dicts name -> scalar into dicts of Python's floats: a list."""
  return [
    {name: float(value) for name, value in values.items()}
    for values in jax.device_get(metrics)
  ]
