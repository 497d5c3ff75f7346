"""AFLW with five points, in the two releases that papers use.

lmdis (a re-crop of the faces, used by IMM; 10,122 / 2,991):

  DIR/output/*                             images
  DIR/aflw_{train,test}_images.txt         their names
  DIR/aflw_{train,test}_keypoints.mat      gt [n, 5, 2] as (y, x) in pixels of
                                           images of hw [n, 2]

mtfl (crops of 150 x 150, used by DVE; 10,122 / 2,995):

  DIR/aflw_cropped/facedata_cropped.csv    training images: set is 1
  DIR/MTFL/testing.txt, MTFL/AFLW/*        test images

The order is left eye (in the image), right eye, nose, mouth left, right. The
points of mtfl count from 1, those of lmdis are taken to count from 0.
"""

import csv
import io
import os

import numpy as np

from c3_jax.data.contract import Dataset
from c3_jax.data.datasets import lists
from c3_jax.data.scan import scan
from c3_jax.errors import UserError
from c3_jax.geometry import Frame
from c3_jax.runtime import child, files

RELEASES = ("lmdis", "mtfl")
POINTS = 5
MTFL_SIZE = (150, 150)


def read_split(root, *, split, release):
  """Reads the lists of a release; `split` is "train" or "test".

  Returns:
    (images, names, pixels, sizes): the folder of the images; n names relative
    to it; float64 [n, 5, 2] (x, y), 0 = centre of the first pixel; (width,
    height), or [n, 2] of them, of the images that these refer to.

  Raises:
    UserError: if the folder is not as described above.
  """
  if release == "lmdis":
    return _read_lmdis(root, split)
  if release == "mtfl":
    return (_read_mtfl_train if split == "train" else _read_mtfl_test)(root)
  raise UserError(
    f"config.data.release is {release!r}: use one of {', '.join(RELEASES)}."
  )


def _read_lmdis(root, split):
  source = lists.find(root, f"aflw_{split}_images.txt")
  names = [name.replace("\\", "/") for name in lists.read_lines(source)]
  path = lists.find(root, f"aflw_{split}_keypoints.mat")
  points, sizes = _read_mat(path)
  n = len(names)
  if points.shape != (n, POINTS, 2) or sizes.shape != (n, 2):
    raise UserError(
      f"{path} holds gt {points.shape} and hw {sizes.shape} for the {n} "
      f"names of {source}; take both files from the same release."
    )
  pixels = lists.points(points[..., ::-1].reshape(n, -1))
  return lists.find(root, "output"), names, pixels, sizes[:, ::-1].astype(int)


# A damaged file can crash SciPy's reader.
_PROGRAM = """
import sys, numpy, scipy.io
found = scipy.io.loadmat(sys.argv[1], variable_names=["gt", "hw"])
numpy.savez(sys.stdout.buffer, **{name: found[name] for name in ("gt", "hw")})
"""


def _read_mat(path):
  """Reads gt and hw of a MATLAB file in a process of its own: two arrays."""
  try:
    files.open_regular(path).close()
    found = child.run(_PROGRAM, path, timeout=60)
    with np.load(io.BytesIO(found), allow_pickle=False) as arrays:
      points, sizes = arrays["gt"], arrays["hw"]
    if not all(np.isfinite(x.astype(float)).all() for x in (points, sizes)):
      raise ValueError("a number is not finite")
    return points, sizes
  # The child's answer may be of any kind, or cut short.
  except Exception as error:
    raise UserError(
      f"{path} is not a MATLAB file with gt and hw ({files.reason(error)}); "
      "download it again."
    ) from error


def _read_mtfl_train(root):
  path = lists.find(root, "aflw_cropped/facedata_cropped.csv")
  rows = list(csv.reader(lists.read_lines(path)))
  header, names, pixels = rows[0] if rows else [], [], []
  for column in ("set", "crop_file"):
    if column not in header:
      raise UserError(
        f"{path} has no column {column!r}; take aflw_cropped of DVE's "
        "authors (see docs/data.md)."
      )
  for row in rows[1:]:
    if len(row) != len(header):
      raise UserError(
        f"{path} has a row of {len(row)} instead of {len(header)} fields: "
        f"{','.join(row)[:60]}; download it again."
      )
    if row[header.index("set")] != "1":
      continue
    names.append(row[header.index("crop_file")].replace("\\", "/"))
    # The points have no fixed names: they follow four other columns.
    pixels.append(_numbers(path, row[4 : 4 + 2 * POINTS]))
  if not names:
    raise UserError(f"{path} has no row whose set is 1; download it again.")
  return path.parent, names, lists.points(pixels) - 1, MTFL_SIZE


def _read_mtfl_test(root):
  path = lists.find(root, "MTFL/testing.txt")
  names, pixels = [], []
  for line in lists.read_lines(path):
    name, *numbers = line.split()
    names.append(name.replace("\\", "/"))
    # x1 .. x5, then y1 .. y5, then attributes.
    pixels.append(_numbers(path, numbers[: 2 * POINTS]))
  pixels = np.array(pixels).reshape(-1, 2, POINTS).swapaxes(1, 2)
  points = lists.points(pixels.reshape(-1, 2 * POINTS))
  return path.parent, names, points - 1, MTFL_SIZE


def _numbers(path, cells):
  try:
    numbers = [lists.number(cell) for cell in cells]
  except ValueError:
    numbers = []
  if len(numbers) != 2 * POINTS:
    raise UserError(
      f"{path}: {','.join(cells)[:60]!r} is not {2 * POINTS} coordinates; "
      "download it again."
    )
  return numbers


def load_aflw(
  root: str | os.PathLike,
  frame: Frame,
  *,
  split: str,
  release: str,
  cache: bool,
) -> Dataset:
  """Loads one split of a release; "fit" has the images of "train"."""
  images, names, pixels, sizes = read_split(
    root, split="test" if split == "test" else "train", release=release
  )
  lists.check_files(images, names, f"AFLW's {release} lists")
  return scan(
    [images / name for name in names],
    frame,
    pixels=None if split == "train" else pixels,
    pixels_size=sizes,
    names=names,
    cache=cache,
    tf_data=True,
  )
