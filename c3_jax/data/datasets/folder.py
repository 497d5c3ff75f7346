"""A folder of images, with landmarks for some of them or for none.

  DIR/images/        JPEG, PNG and more (see `find`), nested as you like
  DIR/landmarks.csv  optional: file,split,x1,y1,x2,y2,...

`file` is relative to images/, `split` is train or test (or unlabeled, where
the points may be left empty), x and y are pixels of that file, 0 = centre of
the first pixel. Other columns are ignored, and images without a row are
unlabelled. Images may also lie directly in DIR, without images/.
"""

import csv
import math
import os
import pathlib
import posixpath
import re
from typing import NamedTuple

import numpy as np

from c3_jax.data import find
from c3_jax.data.scan import scan
from c3_jax.errors import UserError

_SPLITS = ("train", "test", "unlabeled", "unlabelled")


class Row(NamedTuple):
  """One row of landmarks.csv."""

  file: str  # Relative to images/, with forward slashes.
  split: str  # One of _SPLITS.
  pixels: np.ndarray | None  # float64 [P, 2]; None for unlabelled rows.
  line: int  # In the file; the header is line 1.


def load_folder(
  root,
  frame,
  *,
  split,
  landmarks="landmarks.csv",
  extra_root="",
  cache=True,
):
  """Loads one split of a folder, sorted by file name.

  Args:
    root, frame, cache: as of every loader.
    split: "train" is every image that the csv does not put into the test
      split; "fit" and "test" are the rows with split train and test, or None
      where there are none.
    landmarks: csv file, relative to root. Only the default may be missing.
    extra_root: another such folder. All of its images, but for the test rows
      of its own landmarks.csv, join "train".
  """
  if split not in ("train", "fit", "test"):
    raise ValueError(f"split must be train, fit or test, not {split!r}")
  images, files = list_images(root)
  rows = _landmarks_of(root, images, files, landmarks)
  if split == "train":
    found = _training_images(images, files, rows)
    if extra_root:
      seen = {os.path.realpath(images / file) for file in files}
      found += _extra_images(extra_root, seen)
    if not found:
      raise UserError(f"{root} has no training images: all are split test.")
    (paths, names), pixels = zip(*found), None
  else:
    wanted = "train" if split == "fit" else "test"
    rows = [row for row in rows if row.split == wanted]
    if not rows:
      return None
    rows.sort(key=lambda row: row.file)
    names = [row.file for row in rows]
    paths = [images / name for name in names]
    pixels = np.stack([row.pixels for row in rows])
  return scan(paths, frame, pixels=pixels, names=names, cache=cache)


def _training_images(images, files, rows):
  """Lists (path, name) of the files that no row puts into the test split."""
  # By real path, because a link to a test image is that image.
  held_out = {
    os.path.realpath(images / row.file) for row in rows if row.split == "test"
  }
  found = [(images / name, name) for name in files]
  return [pair for pair in found if os.path.realpath(pair[0]) not in held_out]


def _extra_images(root, seen):
  """Lists root's training images whose real paths are not among `seen`."""
  images, files = list_images(root)
  rows = _landmarks_of(root, images, files, "landmarks.csv")
  folder = pathlib.Path(root).resolve().name
  return [
    (path, f"{folder}/{name}")
    for path, name in _training_images(images, files, rows)
    if os.path.realpath(path) not in seen
  ]


def list_images(root):
  """Finds the images of a folder.

  Returns:
    (images, files): the folder that holds the images, root/images if there is
    one, a Path; and their names as `find.walk` gives them.

  Raises:
    UserError: if root is not a folder or has no images.
  """
  root = pathlib.Path(root)
  if not root.is_dir():
    what = "is not a folder" if root.exists() else "does not exist"
    raise UserError(f"{root} {what}; give the folder that holds images/.")
  images = root / "images" if (root / "images").is_dir() else root
  files = find.walk(images)
  if not files:
    raise UserError(f"{images} has no images; put JPEG or PNG files into it.")
  return images, files


def _landmarks_of(root, images, files, landmarks):
  path = pathlib.Path(root) / landmarks
  if not path.exists() and landmarks == "landmarks.csv":
    return []
  rows = read_landmarks(path)
  known = set(files)
  for row in rows:
    if row.file not in known:
      raise UserError(
        f"{path} line {row.line}: {row.file} is not among the images of "
        f"{images}; add it there or delete the row (names are relative to "
        "that folder)."
      )
  return rows


def read_landmarks(path):
  """Reads and checks a csv of landmarks.

  Its columns may stand in any order, among others.

  Returns:
    List of Row, in the order of the file.

  Raises:
    UserError: naming the file, and the line and column at fault.
  """
  try:
    with open(path, encoding="utf-8-sig", newline="") as f:
      reader = csv.reader(f)
      header = [name.strip() for name in next(reader, [])]
      points = _point_columns(path, header)
      rows, lines = [], {}
      for cells in reader:
        if not any(cell.strip() for cell in cells):
          continue
        row = _parse(path, reader.line_num, header, points, cells)
        if row.file in lines:
          raise UserError(
            f"{path} line {row.line}: {row.file} is listed already in line "
            f"{lines[row.file]}; delete one of the two."
          )
        lines[row.file] = row.line
        rows.append(row)
  except OSError as error:
    raise UserError(
      f"{path} cannot be read ({error.strerror}); give the name of a csv file "
      "in the dataset's folder."
    ) from error
  except (UnicodeDecodeError, csv.Error) as error:
    raise UserError(
      f"{path} is not a csv file in UTF-8 ({error}); save it as one."
    ) from error
  return rows


def _point_columns(path, header):
  """Names the columns of the points: x1, y1, x2, y2, ..."""
  # Half as many points as there are such columns: any gap, odd one out or
  # count from 0 then shows as a missing name.
  found = [name for name in header if re.fullmatch(r"[xy]\d+", name)]
  n = max(1, (len(found) + 1) // 2)
  points = [f"{axis}{i + 1}" for i in range(n) for axis in "xy"]
  for name in ["file", "split", *points]:
    if header.count(name) != 1:
      what = "has no" if name not in header else "has more than one"
      raise UserError(
        f"{path} {what} column {name!r}; its first line must be "
        "file,split,x1,y1,x2,y2,... with commas."
      )
  return points


def _parse(path, line, header, points, cells):
  """Checks the cells of one line: a Row."""
  where = f"{path} line {line}"
  if len(cells) > len(header):
    raise UserError(
      f"{where}: {len(cells)} cells under {len(header)} columns; quote names "
      "that hold a comma."
    )
  cells += [""] * (len(header) - len(cells))
  row = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
  if not row["file"]:
    raise UserError(f"{where}: column 'file' is empty; name the image.")
  file = posixpath.normpath(row["file"].replace("\\", "/"))
  split = row["split"].lower()
  if split not in _SPLITS:
    raise UserError(
      f"{where}: split {row['split']!r} of {file} must be train, test or "
      "unlabeled."
    )
  if split.startswith("unlabel"):
    return Row(file, split, None, line)
  pixels = [_number(where, name, row[name]) for name in points]
  return Row(file, split, np.reshape(pixels, (-1, 2)), line)


def _number(where, name, cell):
  if not cell:
    raise UserError(
      f"{where}: column {name!r} is empty; fill it in, or set the row's split "
      "to unlabeled."
    )
  try:
    number = float(cell)
  except ValueError:
    number = math.nan
  if not math.isfinite(number):
    raise UserError(
      f"{where}: {cell!r} in column {name!r} is not a number; give pixels."
    )
  return number
