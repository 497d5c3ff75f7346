"""Files that are written whole or not at all, and array files.

A part file next to the target takes its place in one step once it is complete:
a kill leaves the old file or the new one.
"""

import contextlib
import json
import os
import pathlib
import shutil
import uuid
import zipfile

import numpy as np

from c3_jax.errors import UserError

REMEDY = "write it with python -m c3_jax.pack."


@contextlib.contextmanager
def write_whole(path, mode="wb", **options):
  """Opens a file to write that appears under its name once it is complete.

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
    with open(path, mode, **options) as file:
      yield file
    return
  part = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}.part")
  try:
    with open(part, mode.replace("w", "x"), **options) as file:
      yield file
    if path.exists():
      shutil.copymode(path, part)
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


def write_json(path, value):
  """Writes a value as indented JSON: whole, or not at all."""
  with write_whole(path, "w", encoding="utf-8") as file:
    file.write(json.dumps(value, indent=1) + "\n")


def write_npz(path, arrays):
  """Writes dict name -> array to one .npz file: whole, or not at all.

  Raises:
    UserError: the folder of the file does not exist.
  """
  path = pathlib.Path(path)
  if not path.parent.is_dir():
    raise UserError(f"{path.parent} is not a folder; make it first.")
  with write_whole(path) as file:
    np.savez(file, **arrays)


def is_npz_with(path, name):
  """Tells whether a file is an .npz archive with an array of that name."""
  return zipfile.is_zipfile(path) and (
    f"{name}.npy" in zipfile.ZipFile(path).namelist()
  )


def read_npz(path, names, optional=()):
  """Reads a file of `write_npz`: dict name -> array.

  Args:
    path: .npz file.
    names: of arrays that must be there.
    optional: of arrays that may be; None stands for those that are not.

  Raises:
    UserError: there is no such file, or an array of `names` is not in it.
  """
  try:
    with open(path, "rb") as f, np.load(f, allow_pickle=False) as arrays:
      found = {name: arrays[name] for name in names}
      return found | {name: arrays.get(name) for name in optional}
  except FileNotFoundError as error:
    raise UserError(f"{path} does not exist; {REMEDY}") from error
  except (
    AttributeError,  # A bare .npy: np.load gives an array, not an archive.
    TypeError,
    EOFError,
    KeyError,
    OSError,
    ValueError,
    zipfile.BadZipFile,
  ) as error:
    raise UserError(f"{path} is not a packed dataset; {REMEDY}") from error
