"""Array files of NumPy (.npz): a form a kind of file, checked on reading.

Nothing of a file is run: arrays of objects, which are pickles, are refused.
"""

import os
import zipfile
from typing import NamedTuple

import numpy as np

from c3_jax.errors import UserError
from c3_jax.runtime import files

REMEDY = "write it with python -m c3_jax.pack."
LARGEST = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class Form(NamedTuple):
  """What an array of a file must be.

  Attributes:
    kinds: how NumPy's names of its type may begin: "u1", "i", "f", "b", "U".
    shape: ints, and names of lengths that are the same in all arrays.
    optional: whether it may be missing.
  """

  kinds: tuple
  shape: tuple = ()
  optional: bool = False


def write(path, arrays):
  """Writes dict name -> array to one .npz file: whole, or not at all.

  Raises:
    UserError: the folder of the file does not exist.
  """
  folder = os.path.dirname(path) or "."
  if not os.path.isdir(folder):
    raise UserError(f"{folder} is not a folder; make it first.")
  with files.write_whole(path) as file:
    np.savez(file, **arrays)


def names(path):
  """Lists the arrays of an .npz archive; empty where the file is none."""
  try:
    with files.open_regular(path, largest=LARGEST) as file:
      found = zipfile.ZipFile(file).namelist()
  except Exception:  # The module raises anything on a damaged file.
    return []
  return [name.removesuffix(".npy") for name in found]


def read(path, forms):
  """Reads a file of `write`: dict name -> array; None for one left out.

  Args:
    path: .npz file.
    forms: dict name -> `Form` of the arrays wanted.

  Raises:
    UserError: there is no such file, or it is not of these forms.
  """
  try:
    with (
      files.open_regular(path, largest=LARGEST) as file,
      zipfile.ZipFile(file) as archive,
    ):
      found, lengths = {}, {}
      for name, form in forms.items():
        found[name] = _read_one(archive, name, form, lengths)
      return found
  except FileNotFoundError as error:
    raise UserError(f"{path} does not exist; {REMEDY}") from error
  # A damaged file can make the readers raise almost anything: BadZipFile,
  # zlib.error, struct.error, NotImplementedError, MemoryError ...
  except Exception as error:
    raise UserError(
      f"{path} is not a packed dataset ({files.reason(error)}); {REMEDY}"
    ) from error


def _read_one(archive, name, form, lengths):
  """Reads and checks one array; notes its lengths by name."""
  try:
    info = archive.getinfo(f"{name}.npy")
  except KeyError as error:
    if form.optional:
      return None
    raise ValueError(f"it has no array {name!r}") from error
  if info.file_size > LARGEST:
    raise ValueError(f"{name} has {info.file_size:,} bytes")
  with archive.open(info) as file:
    array = np.lib.format.read_array(file, allow_pickle=False)
  expected = tuple(
    lengths.setdefault(n, array.shape[i]) if isinstance(n, str) else n
    for i, n in enumerate(form.shape)
    if i < array.ndim
  )
  fits = array.ndim == len(form.shape) and array.shape == expected
  if not fits or not array.dtype.str[1:].startswith(form.kinds):
    raise ValueError(f"{name} is {array.dtype} {list(array.shape)}")
  if array.dtype.kind == "U":
    array.tolist()  # Raises where it holds what is no character.
  if array.dtype.kind == "f" and not np.isfinite(array).all():
    raise ValueError(f"{name} holds a number that is not finite")
  return array
