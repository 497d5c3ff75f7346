"""Multi-process runs: start-up, barriers, coordinated shutdown."""

import contextlib
import itertools
import logging
import os
import re
import signal
import sys

import jax
import numpy as np
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

from c3_jax.errors import UserError
from c3_jax.runtime import cli

logger = logging.getLogger(__name__)

AUTO = "auto"
PATIENCE_MS = 3_600_000  # An hour: what evaluation of a large set may take.
# Without a sign of life for so long a process counts as dead, and JAX ends all
# others: a run that hangs costs its whole cluster.
HEARTBEAT_SECONDS = 40
_places = itertools.count()
# What JAX's errors speak of where another process is gone.
LOST = re.compile(r"gloo|nccl|barrier|heartbeat|coordination|peer", re.I)


def initialize(coordinator, num_processes=None, process_id=None):
  """Joins the processes of a run; before anything else touches JAX.

  Args:
    coordinator: "" for a single process; "auto" asks JAX, which knows SLURM,
      Open MPI and TPU pods; otherwise host:port of process 0.
    num_processes, process_id: needed with host:port only.

  Raises:
    UserError: the three do not go together, or no cluster is found.
  """
  given = (num_processes, process_id)
  if coordinator in ("", AUTO):
    fits = given == (None, None)
  else:
    address = re.fullmatch(r".+:\d+", coordinator)
    fits = address and None not in given and 0 <= process_id < num_processes
  if not fits:
    raise UserError(
      f"--coordinator={coordinator} --num_processes={num_processes} "
      f"--process_id={process_id} do not go together: give "
      "--coordinator=HOST:PORT, a number of processes and that of this one, "
      "counted from 0; or --coordinator=auto alone."
    )
  if not coordinator:
    return
  try:
    jax.distributed.initialize(
      None if coordinator == AUTO else coordinator,
      num_processes,
      process_id,
      heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
    )
  except (ValueError, RuntimeError) as error:
    raise UserError(
      f"--coordinator={coordinator} does not work here "
      f"({str(error).splitlines()[0]}): start the program with srun, on every "
      "worker of a TPU pod, or give HOST:PORT of process 0."
    ) from error
  logger.info(
    "Process %d of %d, %d of %d devices.",
    jax.process_index(),
    jax.process_count(),
    jax.local_device_count(),
    jax.device_count(),
  )


def wait(name):
  """Returns when all processes have come to the call of this name.

  They meet at the coordinator: a collective over the devices gives up when
  one process is half a minute late.
  """
  if jax.process_count() > 1:
    place = f"c3_jax {next(_places)} {name}"
    multihost.get_barrier_sync_fn()(key=place, timeout_ms=PATIENCE_MS)


def agree(yes):
  """Tells in all processes whether the first one says yes."""
  if jax.process_count() > 1:
    wait("agreeing")
    yes = multihost_utils.broadcast_one_to_all(np.int32(yes))
  return bool(yes)


def compile_together(step, *args):
  """Compiles a step in all processes before one of them runs it.

  Args:
    step: of `parallel.parallel_step`; JAX keeps what it compiled for its calls.
    *args: of its first call, which compiles it where there is one process.
  """
  if jax.process_count() > 1:
    step.lower(*args).compile()
    wait("compiled")


@contextlib.contextmanager
def ending_together():
  """Ends this process in one line if JAX loses another one in the block.

  Python's exit would wait for the lost one until JAX kills this one, too.
  """
  try:
    yield
  except jax.errors.JaxRuntimeError as error:
    if jax.process_count() == 1 or not LOST.search(str(error)):
      raise
    reason = str(error).splitlines()[0]
    status = cli.fail(
      "another process of the run has ended or cannot be reached; start all "
      f"again, and the run goes on from its last save ({reason})",
      status=1,
    )
    sys.stdout.flush()
    os._exit(status)


class Interrupt:
  """Turns SIGTERM and the first Ctrl-C into a question of the loop.

  With several processes JAX passes a SIGTERM that any of them gets on to all,
  and chooses the step after which they stop.
  """

  def __init__(self):
    self._asked, self._before = False, {}

  def __enter__(self):
    if jax.process_count() == 1:
      self._before = {
        number: signal.signal(number, self._ask)
        for number in (signal.SIGTERM, signal.SIGINT)
      }
    return self

  def __exit__(self, *args):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  @property
  def unanswered(self):
    """Whether a signal came after the last question of `asked`."""
    return self._asked

  def asked(self, step):
    """Tells whether to stop after `step`; to be called once each step."""
    if jax.process_count() > 1:
      return multihost_utils.reached_preemption_sync_point(step)
    return self._asked

  def _ask(self, number, frame):
    self._asked = True
    signal.signal(number, self._before[number])
