"""The annotated images of a folder, whatever file lists them."""

import os
from typing import NamedTuple

import numpy as np

from c3_jax.data import coco, image_files, video
from c3_jax.errors import UserError

SPLITS = ("train", "test", "unlabeled", "unlabelled")


class Row(NamedTuple):
  """One annotated image, or frame of a clip."""

  file: str  # Relative to images/, with forward slashes.
  split: str  # One of SPLITS.
  # float64 [P, 2], NaN for a missing point; None for unlabelled rows.
  pixels: np.ndarray | None
  where: str  # The file that lists it, and its line if it has lines.
  frame: int | None = None  # Of a clip.

  @property
  def name(self):
    """Names the image, or the frame of its clip."""
    if self.frame is None:
      return self.file
    return video.name_of(self.file, self.frame)

  def path(self, images):
    """Gives the file in the folder `images`, or the `video.Still`."""
    path = os.path.join(images, self.file)
    return path if self.frame is None else video.Still(path, self.frame)


def check(rows, images, files):
  """Checks that rows are of images, or frames of clips, that are there.

  Args:
    rows: list of `Row`.
    images: the folder.
    files: names of what is in it.

  Raises:
    UserError: names the row, or a clip whose frames are in both splits.
  """
  known, splits = set(files), {}
  for row in rows:
    if row.file not in known:
      raise UserError(
        f"{row.where}: {row.file} is not among the images of {images}; add it "
        "there or delete the row (names are relative to that folder)."
      )
    if video.is_clip(os.path.join(images, row.file)) != (row.frame is not None):
      raise UserError(
        f"{row.where}: {row.file}: give the number of the frame, in a column "
        "'frame', of clips alone."
      )
    if row.frame is not None and row.split in ("train", "test"):
      if splits.setdefault(row.file, row.split) != row.split:
        raise UserError(
          f"{row.where}: frames of {row.file} are in train and in test; they "
          "are alike, put all frames of a clip into one split."
        )


def of_coco(path, images, files):
  """Reads the rows of a COCO file of keypoints.

  Names of images may have other folders in front, if what remains is one
  image. Missing points are NaN; an image without any has no row.

  Args:
    path: of the file.
    images: the folder of the images.
    files: names of what is in it.

  Raises:
    UserError: as `coco.read`, or an image is not there or has another shape.
  """
  known, by_name, rows = set(files), {}, []
  for file in files:
    by_name.setdefault(file.rpartition("/")[2], []).append(file)
  for each in coco.read(path):
    if each.points is None:
      continue
    file, frame = _resolve(each.file, known, by_name)
    points = each.points
    if each.size is not None and frame is None:
      points = _as_stored(path, os.path.join(images, file), each)
    rows.append(Row(file, each.split, points, str(path), frame))
  return rows


def _resolve(name, known, by_name):
  """Finds the file, and the frame of a clip, that a COCO name means."""
  for given, frame in (name, None), _frame_of(name):
    if given in known:
      return given, frame
    found = by_name.get(given.rpartition("/")[2], [])
    if len(found) == 1:
      return found[0], frame
  return name, None


def _frame_of(name):
  clip, _, number = name.rpartition("#")
  return (clip, int(number)) if number.isdecimal() else (name, None)


def _as_stored(path, file, each):
  """Scales points to the pixels of a file that is stored in another size."""
  try:
    size = image_files.size_of(file)
  except image_files.Unreadable:
    return each.points  # It will be named among the broken files.
  if size == each.size:
    return each.points
  scale = np.array(size) / each.size
  if abs(scale[0] / scale[1] - 1) > 2 / min(*size, *each.size):
    raise UserError(
      f"{path}: {each.file} is {each.size[0]} x {each.size[1]} there, "
      f"{size[0]} x {size[1]} as it is stored; annotate the stored pixels (a "
      "viewer may have turned it by its EXIF tag)."
    )
  return (each.points + 0.5) * scale - 0.5
