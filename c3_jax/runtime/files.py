"""Regular files alone are read; files are written whole or not at all.

A part file next to the target takes its place in one step once it is complete:
a kill leaves the old file or the new one, and a part that goes at the next
write into that folder. While a part is written, its writer holds a lock on it.
"""

import contextlib
import errno
import fcntl
import functools
import json
import os
import pathlib
import re
import shutil
import stat
import uuid

LARGEST = 2**30  # Bytes of a file that is read into memory.
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def open_regular(path, *, largest=LARGEST):
  """Opens a regular file to read bytes; nothing else is waited for or woken.

  A pipe would block, a device may never end.

  Raises:
    OSError: the file is missing, another thing than a file, or larger than
      `largest` bytes.
  """
  try:
    _check(path, os.stat(path), largest)
  except ValueError as error:
    raise OSError(errno.EINVAL, str(error), repr(path)) from error
  number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
  try:
    # What was looked at may have been exchanged.
    _check(path, os.fstat(number), largest)
    return open(number, "rb")
  except BaseException:
    os.close(number)
    raise


def _check(path, status, largest):
  kinds = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe"}
  if not stat.S_ISREG(status.st_mode):
    what = [name for is_kind, name in kinds.items() if is_kind(status.st_mode)]
    reason = f"is {(what or ['a device'])[0]}, not a file"
  elif status.st_size > largest:
    reason = f"has {status.st_size:,} bytes, more than {largest:,}"
  else:
    return
  raise OSError(errno.EINVAL, reason, os.fspath(path))


def read_bytes(path, *, largest=LARGEST):
  """Reads a regular file; see `open_regular`."""
  with open_regular(path, largest=largest) as file:
    # What grows meanwhile is read as it was.
    return file.read(os.fstat(file.fileno()).st_size)


def read_text(path):
  """Reads a regular UTF-8 file, with or without a mark in front: str.

  Raises:
    OSError: see `open_regular`.
    UnicodeDecodeError: it is another encoding.
  """
  return read_bytes(path).decode("utf-8-sig")


def reason(error):
  """Says in one line why a file could not be read or written."""
  text = getattr(error, "strerror", None) or str(error).strip()
  return text.splitlines()[0] if text else type(error).__name__


@contextlib.contextmanager
def write_whole(path, mode="wb", **options):
  """Opens a file to write that appears under its name once it is complete.

  What the file is allowed to replace is decided by `output.Output`.

  Args:
    path: of the file; a link is followed, and a device or pipe is written in
      place.
    mode: "wb" or "w".
    **options: of `open`.

  Yields:
    The open file. If the block raises, the target is as it was.
  """
  path = pathlib.Path(os.path.realpath(path))
  if path.exists() and not path.is_file():
    with _naming(path), open(path, mode, **options) as file:
      yield file
    return
  _remove_parts(path.parent)
  # Created by "x": a link that lies at the name of the part is not followed.
  part = path.with_name(f".{path.name[:50]}.{uuid.uuid4().hex}.part")
  try:
    opened = open(part, mode.replace("w", "x"), **options)
    with _naming(path), opened as file:
      _lock(file)
      yield file
    if path.exists():
      shutil.copymode(path, part)
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(path):
  """Names the file in errors of its disk, which do not say where they are."""
  try:
    yield
  except OSError as error:
    if error.filename is None and error.errno in DISK:
      error.filename = str(path)
    raise


@functools.cache  # Once a folder: it may have many files.
def _remove_parts(folder):
  """Removes what killed processes left of the files they were writing."""
  for entry in folder.glob(".*.part"):
    if re.fullmatch(r"\..*\.[0-9a-f]{32}\.part", entry.name):
      with contextlib.suppress(OSError), open(entry, "r+b") as file:
        if _lock(file):
          entry.unlink()


@contextlib.contextmanager
def part_folder(parent):
  """Makes a folder in another, for parts of a result, and removes it.

  What a kill leaves of it goes at the next call.

  Yields:
    Its path.
  """
  for entry in pathlib.Path(parent).glob(".*.parts"):
    if re.fullmatch(r"\.[0-9a-f]{32}\.parts", entry.name):
      with contextlib.suppress(OSError), _held(entry) as ours:
        if ours:
          shutil.rmtree(entry)
  place = pathlib.Path(parent, f".{uuid.uuid4().hex}.parts")
  place.mkdir()
  try:
    with _held(place):
      yield place
  finally:
    shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _held(folder):
  """Locks a folder for the block, if no other process has: whether it did."""
  number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
  try:
    yield _lock(number)
  finally:
    os.close(number)


def _lock(file):
  """Locks a file, unless another process has; says whether it did."""
  with contextlib.suppress(OSError):  # Also on disks without locks.
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True
  return False


def write_json(path, value):
  """Writes a value as indented JSON: whole, or not at all."""
  with write_whole(path, "w", encoding="utf-8") as file:
    file.write(json.dumps(value, indent=1) + "\n")
