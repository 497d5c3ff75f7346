"""A folder of images, with landmarks for some of them or for none.

  DIR/images/        JPEG, PNG and more (see `find`), nested as you like
                     clips (see `video`) give every Nth of their frames
  DIR/landmarks.csv  optional: file,split,x1,y1,x2,y2,...

`file` is relative to images/, `split` is train or test (or unlabeled, where
the points may be left empty), x and y are pixels of that file, 0 = centre of
the first pixel; rows of clips have a column `frame`, from 0 on. Other columns
are ignored, and images without a row are unlabelled. A COCO file (see `coco`)
may stand in for the csv. Images may also lie directly in DIR, without images/.
"""

import collections
import csv
import io
import os
import pathlib
import posixpath
import re

import numpy as np

from c3_jax.data import find, video
from c3_jax.data.contract import Dataset
from c3_jax.data.datasets import lists
from c3_jax.data.datasets import rows as annotations
from c3_jax.data.datasets.rows import SPLITS, Row
from c3_jax.data.scan import scan
from c3_jax.errors import UserError
from c3_jax.geometry import Frame
from c3_jax.runtime import files


def load_folder(
  root: str | os.PathLike,
  frame: Frame,
  *,
  split: str,
  landmarks: str = "landmarks.csv",
  extra_root: str | os.PathLike = "",
  every: int = 10,
  cache: bool = True,
) -> Dataset | None:
  """Loads one split of a folder, sorted by file name; frames of clips last.

  Args:
    root, frame, cache: as of every loader.
    split: "train" is every image that the csv does not put into the test
      split; "fit" and "test" are the rows with split train and test, or None
      where there are none.
    landmarks: csv file, or COCO file as X.json, relative to root. Only the
      default may be missing.
    extra_root: another such folder. All of its images, but for the test rows
      of its own landmarks.csv, join "train".
    every: of clips, every Nth frame joins "train", but for clips that
      have a test row.
  """
  if every < 1:
    raise UserError(f"config.data.every={every}: use 1 or more.")
  if split not in ("train", "fit", "test"):
    raise ValueError(f"split must be train, fit or test, not {split!r}")
  images, files = list_images(root)
  rows = _landmarks_of(root, images, files, landmarks)
  if split == "train":
    found = _training_images(images, files, rows, every)
    if extra_root:
      seen = {os.path.realpath(images / file) for file in files}
      found += _extra_images(extra_root, seen, every)
    if not found:
      raise UserError(f"{root} has no training images: all are split test.")
    found.sort(key=lambda pair: isinstance(pair[0], video.Still))
    (paths, names), pixels = zip(*found), None
  else:
    wanted = "train" if split == "fit" else "test"
    rows = [row for row in rows if row.split == wanted]
    if not rows:
      return None
    rows.sort(key=lambda row: (row.frame is not None, row.file, row.frame))
    names = [row.name for row in rows]
    paths = [row.path(images) for row in rows]
    pixels = np.stack([row.pixels for row in rows])
  if isinstance(paths[-1], video.Still) and not cache:
    raise UserError(
      f"{paths[-1].path} is a clip, which is decoded once: set "
      "config.data.cache=True."
    )
  return scan(paths, frame, pixels=pixels, names=names, cache=cache)


def _training_images(images, files, rows, every):
  """Lists (path, name) of the files that no row puts into the test split.

  Of clips, every Nth frame: (`video.Still`, name).
  """
  # By real path, because a link to a test image is that image.
  held_out = {
    os.path.realpath(images / row.file) for row in rows if row.split == "test"
  }
  found = []
  for name in files:
    path = images / name
    if os.path.realpath(path) in held_out:
      continue
    if not video.is_clip(path):
      found.append((path, name))
      continue
    for number in range(0, video.count(path), every):
      still = video.Still(str(path), number)
      found.append((still, video.name_of(name, number)))
  return found


def _extra_images(root, seen, every):
  """Lists root's training images whose real paths are not among `seen`."""
  images, files = list_images(root)
  rows = _landmarks_of(root, images, files, "landmarks.csv")
  files = [f for f in files if os.path.realpath(images / f) not in seen]
  folder = pathlib.Path(root).resolve().name
  return [
    (path, f"{folder}/{name}")
    for path, name in _training_images(images, files, rows, every)
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
    raise UserError(
      f"{images} has no images; put JPEG or PNG files, or clips, into it."
    )
  return images, files


def _landmarks_of(root, images, files, landmarks):
  path = pathlib.Path(root) / landmarks
  if not path.exists() and landmarks == "landmarks.csv":
    return []
  if path.suffix.lower() == ".json":
    rows = annotations.of_coco(path, images, files)
  else:
    rows = read_landmarks(path)
  annotations.check(rows, images, files)
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
    with files.open_regular(path) as file:
      text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
      reader = csv.reader(text)
      header = [name.strip() for name in next(reader, [])]
      points = _point_columns(path, header)
      rows, lines = [], {}
      for cells in reader:
        if not any(cell.strip() for cell in cells):
          continue
        row = _parse(path, reader.line_num, header, points, cells)
        if row.name in lines:
          raise UserError(
            f"{row.where}: {row.name} is listed already in line "
            f"{lines[row.name]}; delete one of the two."
          )
        lines[row.name] = reader.line_num
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
  counts = collections.Counter(header)
  for name in ["file", "split", *points]:
    if counts[name] != 1:
      what = "has more than one" if counts[name] else "has no"
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
  if split not in SPLITS:
    raise UserError(
      f"{where}: split {row['split']!r} of {file} must be train, test or "
      "unlabeled."
    )
  number = row.get("frame") or None
  if number is not None:
    if not number.isdecimal() or len(number) > 9:
      raise UserError(
        f"{where}: {number!r} in column 'frame' is not the number of a frame; "
        "count from 0, and leave it empty for images."
      )
    number = int(number)
  if split.startswith("unlabel"):
    return Row(file, split, None, where, number)
  pixels = [_number(where, name, row[name]) for name in points]
  half = np.isnan(np.reshape(pixels, (-1, 2))).sum(1) == 1
  if half.any():
    n = int(np.argmax(half)) + 1
    raise UserError(
      f"{where}: of 'x{n}' and 'y{n}' one is empty; fill it in, or leave both "
      "empty for a point that is missing."
    )
  pixels = lists.points(pixels)
  if np.isnan(pixels).all():
    raise UserError(
      f"{where}: {file} has no point; fill one in, or set the row's split to "
      "unlabeled."
    )
  return Row(file, split, pixels, where, number)


def _number(where, name, cell):
  try:
    return lists.number(cell)
  except ValueError as error:
    raise UserError(
      f"{where}: {cell!r} in column {name!r} is not a number; give pixels, or "
      "leave x and y empty."
    ) from error
