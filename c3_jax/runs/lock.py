"""The lock of a run's folder: one process trains in it at a time.

The file `lock` names the owner: host, process, when it began. The system's own
lock on it ends with its owner, however that ends. Where a disk's locks do not
reach other hosts, the owner's sign of life, the time of the file, tells.
"""

import contextlib
import datetime
import fcntl
import json
import logging
import os
import pathlib
import socket
import threading
import time

import jax

from c3_jax.errors import UserError
from c3_jax.runtime import hosts, json_files

logger = logging.getLogger(__name__)

NAME = "lock"
BEAT = 10.0  # Seconds between signs of life.
_FORM = {"host": str, "pid": int, "born": str, "since": str}
PATIENCE = 40.0  # Seconds without one, after which an owner is gone.


class Lock(contextlib.AbstractContextManager):
  """Holds the folder of a run; of several processes, the first holds it.

  Entering raises `UserError` in all processes where another run has it.
  """

  def __init__(self, workdir):
    self._path = pathlib.Path(workdir) / NAME
    self._file, self._stop = None, threading.Event()

  def __enter__(self):
    refusal = None
    if jax.process_index() == 0:
      try:
        self._take()
      except UserError as error:
        refusal = error
      except OSError as error:
        refusal = UserError(
          f"{self._path} cannot be written ({error.strerror}): free or repair "
          "the disk, or use another --workdir."
        )
    if not hosts.agree(refusal is None):
      raise refusal or UserError(f"process 0 does not get {self._path.parent}.")
    return self

  def __exit__(self, *args):
    self._stop.set()
    if self._file is not None:
      if self._mine():
        self._path.unlink()
      os.close(self._file)
      self._file = None

  def check(self):
    """Raises `UserError` where the folder was removed, or replaced."""
    if self._file is not None and not self._mine():
      raise UserError(
        f"{self._path.parent} was removed or replaced while the run went on, "
        "and what was saved there with it: start again."
      )

  def _mine(self):
    with contextlib.suppress(OSError):
      return os.path.samestat(os.stat(self._path), os.fstat(self._file))
    return False

  def _take(self):
    while self._file is None or not self._mine():
      # Not there before, or just unlinked by its owner.
      if self._file is not None:
        os.close(self._file)
      self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
      try:
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        self._refuse()
      except OSError:  # A disk without locks: the file alone has to do.
        pass
    if (owner := self._owner()) and not self._gone(owner):
      self._refuse()
    elif owner:
      logger.warning(
        "%s was left by %s, which ended unexpectedly; taking over.",
        self._path,
        _words(owner),
      )
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    text = json.dumps(_here() | {"since": now})
    os.ftruncate(self._file, 0)
    os.pwrite(self._file, text.encode(), 0)
    threading.Thread(
      target=self._beat, args=(os.dup(self._file),), daemon=True
    ).start()

  def _owner(self):
    """Reads who holds the file: a dict; None where nobody does."""
    with contextlib.suppress(ValueError):
      owner = json_files.parse(os.pread(self._file, 10_000, 0))
      json_files.check(owner, _FORM)
      return {key: owner[key] for key in _FORM}
    return None

  def _gone(self, owner):
    """Tells whether an owner, whose lock is not in the way, has ended."""
    here = _here()
    if owner["host"] == here["host"]:
      return owner["pid"] == here["pid"] or _born(owner["pid"]) != owner["born"]
    before = os.stat(self._path).st_mtime
    if time.time() - before > 3600:
      return True
    logger.info(
      "Waiting %d s for a sign of life of %s.", PATIENCE, _words(owner)
    )
    time.sleep(PATIENCE)
    # A file that was opened again is looked at again, also on network drives.
    with contextlib.suppress(OSError), open(self._path) as file:
      return os.fstat(file.fileno()).st_mtime == before
    return True

  def _refuse(self):
    owner = self._owner()
    os.close(self._file)
    self._file = None
    raise UserError(
      f"{self._path.parent} is in use by {_words(owner)}: wait for its end, or "
      "use another --workdir."
    )

  def _beat(self, file):
    while not self._stop.wait(BEAT):
      with contextlib.suppress(OSError):
        os.utime(file)
    os.close(file)


def _here():
  pid = os.getpid()
  return {"host": socket.gethostname(), "pid": pid, "born": _born(pid)}


def _born(pid):
  """Tells when a process began, in the system's ticks; "" where it ended."""
  try:
    text = pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace")
  except OSError:
    return ""
  # Its name, in brackets, may hold anything.
  state, *rest = text.rpartition(")")[2].split()
  return "" if state in "ZX" else rest[18]


def _words(owner):
  if owner is None:
    return "another process"
  return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
