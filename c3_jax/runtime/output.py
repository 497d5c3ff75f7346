"""Files that a command is asked to write: what they may replace.

Never an input, never a file of a run; an existing file only where this program
wrote it, or with --overwrite.
"""

import contextlib
import os
import pathlib
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from c3_jax.errors import UserError
from c3_jax.runtime import files

# What training writes into the folder of a run, and reads again.
RUN = (
  *("config.json", "weights.json", "metrics.jsonl", "checkpoints", "damaged"),
  *("eval", "quality", "figures", "lock"),
)


@dataclass(frozen=True)
class Output:
  """A file to write.

  Attributes:
    path: of the file; a link means what it points to, and a pipe or terminal
      is written in place.
    ours: function that tells of an existing file whether this program wrote
      it; an empty file may always be replaced.
    inputs: files that the program reads; of folders, what it did not write.
    overwrite: whether another's file may be replaced.
    flag: that gave the path, for messages.
  """

  path: str | os.PathLike
  ours: Callable = lambda path: False
  inputs: Iterable = ()
  overwrite: bool = False
  flag: str = "--out"

  def check(self):
    """Checks that the file may be written, before hours of work.

    Raises:
      UserError: says what it would destroy, or why it cannot be written.
    """
    path = pathlib.Path(os.path.realpath(self.path))
    if path.is_dir() or not path.parent.is_dir():
      self._refuse("cannot be written: name a file in a folder that exists")
    if path.exists():
      self._check_existing(path)
    elif not os.access(path.parent, os.W_OK):
      self._refuse("cannot be written: its folder is not yours to write in")
    for run in path.parents:
      of_run = path.relative_to(run).parts[0] in RUN
      if of_run and (run / "config.json").is_file():
        if (run / "checkpoints").is_dir():
          self._refuse(f"is a file of the run {run}: choose another name")

  def _check_existing(self, path):
    status = path.stat()
    if stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode):
      return
    if not stat.S_ISREG(status.st_mode):
      self._refuse("is not a file: choose another name")
    ours = self.ours(path)
    if any(_is_read(path, given, ours) for given in self.inputs if given):
      self._refuse("is read by this command: choose another name")
    if status.st_size and not self.overwrite and not ours:
      self._refuse(
        "exists, and this command did not write it: choose another name, or "
        "replace it with --overwrite"
      )

  def _refuse(self, why):
    raise UserError(f"{self.flag}={self.path} {why}.")

  @contextlib.contextmanager
  def open(self, mode="wb", **options):
    """Opens the file as `files.write_whole`, if it still may be written."""
    self.check()
    with files.write_whole(self.path, mode, **options) as file:
      yield file


def _is_read(path, given, ours):
  """Tells whether a path is an input, or another's file in a folder of them."""
  try:
    if os.path.samefile(path, given):
      return True
    folder = pathlib.Path(os.path.realpath(given))
  except (OSError, ValueError):
    return False
  return not ours and folder in path.parents


def begins(path, pattern):
  """Tells whether the first bytes of a file match a pattern of bytes."""
  try:
    with files.open_regular(path, largest=2**60) as file:
      return re.match(pattern, file.read(2**16), re.DOTALL) is not None
  except OSError:
    return False


# Figures and overlays name their program.
SOFTWARE = "c3_jax"
_PNG = rb"\x89PNG.{,99}tEXtSoftware\0" + SOFTWARE.encode()


def is_our_png(path):
  """Tells whether a file is an image that this program drew."""
  return begins(path, _PNG)
