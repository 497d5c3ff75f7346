"""List files of the datasets: found where releases put them, read, checked."""

import math
import os
import pathlib

import numpy as np

from c3_jax.errors import UserError
from c3_jax.runtime import files


def find(root, *candidates):
  """Finds the first of several names, the usual one first, in a folder: a Path.

  Raises:
    UserError: names what is missing, where it was looked for, and the remedy.
  """
  root = pathlib.Path(root)
  if not root.is_dir():
    what = "is not a folder" if root.exists() else "does not exist"
    raise UserError(
      f"{root} {what}; give the dataset's folder with --config.data.root=DIR."
    )
  for candidate in candidates:
    if (root / candidate).exists():
      return root / candidate
  others = "".join(f" or {name}" for name in candidates[1:])
  raise UserError(
    f"{root} has no {candidates[0]}{others}; see docs/data.md for where to get "
    "it."
  )


def read_lines(path):
  """Reads the lines of a text file that are not empty, stripped."""
  try:
    text = files.read_text(path)
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(
      f"{path} cannot be read as a text file ({error}); download it again."
    ) from error
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  if not lines:
    raise UserError(f"{path} is empty; download it again.")
  return lines


def read_rows(path, header=0):
  """Reads the lines of a list below its header; of a .csv, without commas.

  Copies of CelebA and others come as .csv files, whose header is one line.
  """
  lines = read_lines(path)
  if path.suffix == ".csv":
    return [line.replace(",", " ") for line in lines[1:]]
  return lines[header:]


def parse_table(path, lines, columns):
  """Parses lines of a name and so many numbers, separated by spaces.

  Returns:
    dict name -> list of str, the numbers.

  Raises:
    UserError: names the file `path`, and the line that has another form or the
      name that is listed twice.
  """
  table = {}
  for line in lines:
    name, *numbers = line.split()
    if len(numbers) != columns or not all(map(_is_number, numbers)):
      raise UserError(
        f"{path}: the line {line[:60]!r} is not a name and {columns} "
        "number(s); download the file again."
      )
    if name in table:
      raise UserError(f"{path} lists {name} twice; download the file again.")
    table[name] = numbers
  return table


def _is_number(text):
  try:
    return math.isfinite(number(text))
  except ValueError:
    return False


def number(text):
  """Reads a coordinate of any list; an empty cell or "nan" is NaN: missing.

  Raises:
    ValueError: it is not a number, or infinite.
  """
  value = float(text or "nan")
  if math.isinf(value):
    raise ValueError(f"{text!r} is not a finite number")
  return value


def points(numbers):
  """Makes points [.., 2] of coordinates as a list has them: float64.

  A point without x or y is missing: NaN, NaN. So are (0, 0) and (-1, -1), which
  stand for points that are not visible.
  """
  found = np.array(numbers, np.float64).reshape(*np.shape(numbers)[:-1], -1, 2)
  gone = np.isnan(found).any(-1)
  for nowhere in (0, -1):
    gone |= (found == nowhere).all(-1)
  found[gone] = np.nan
  return found


def check_files(folder, names, source):
  """Checks that a folder holds every file of a list.

  Args:
    folder: where the files are.
    names: their names, relative to it, with forward slashes.
    source: list file that they come from, for the message, which counts the
      missing files and names the first.
  """
  here, missing = {}, []
  # One listing a folder: 200,000 single questions take a network drive
  # minutes.
  for name in names:
    parent, _, leaf = name.rpartition("/")
    if parent not in here:
      path = os.path.join(folder, parent)
      here[parent] = set(os.listdir(path)) if os.path.isdir(path) else set()
    if leaf not in here[parent]:
      missing.append(name)
  if missing:
    raise UserError(
      f"{folder} lacks {len(missing)} of {len(names)} images of {source}, "
      f"{missing[0]} the first; unpack the archive again, or take the lists of "
      "the same release."
    )
