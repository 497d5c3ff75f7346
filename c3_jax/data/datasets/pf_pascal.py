"""PF-PASCAL: listed pairs of VOC pictures with matching points.

  DIR/PF-dataset-PASCAL/JPEGImages/*.jpg   as the authors scaled them (longer
                                           side 300), or
  DIR/VOCdevkit/VOC2012/JPEGImages/*.jpg   the originals
  DIR/image_pairs/train_pairs.csv          source_image,target_image,class,flip
  DIR/image_pairs/val_pairs.csv            .._image,class,XA,YA,XB,YB
  DIR/image_pairs/test_pairs.csv           (the lists of NC-Net)

The public lists overlap: a third of the test pairs are training pairs. Test
pairs are therefore also marked as `pair_disjoint` and `image_disjoint`, see
`leak_free`.
"""

import csv
import pathlib
from typing import NamedTuple

import numpy as np

from c3_jax import geometry
from c3_jax.data import pairs
from c3_jax.data.datasets import lists
from c3_jax.errors import UserError

SPLITS = {"train": "train", "fit": "val", "test": "test"}
# No coordinate of the lists exceeds it: the longer side of their pictures.
LONGER_SIDE = 300


class Pair(NamedTuple):
  """One row of a list."""

  source: str  # File name without a folder.
  target: str
  category: int  # Index into `pairs.CATEGORIES`.
  flip: bool
  points: tuple  # (source, target): float64 [p, 2], 1 = first pixel's centre.


def read_pairs(path):
  """Reads a list of pairs.

  Args:
    path: csv file; training lists have no points, the others no flips.

  Returns:
    List of Pair, in the order of the file.

  Raises:
    UserError: names the file, and the line or the column at fault.
  """
  # Strips empty lines, so lines are counted by what is read.
  reader = csv.DictReader(lists.read_lines(path))
  rows = []
  for row in reader:
    try:
      rows.append(_parse(row))
    except KeyError as error:
      raise UserError(
        f"{path} has no column {error}; take the lists of NC-Net (see "
        "docs/data.md)."
      ) from error
    except (TypeError, ValueError, AttributeError) as error:
      raise UserError(
        f"{path} line {reader.line_num}: {error}; download it again."
      ) from error
  if not rows:
    raise UserError(f"{path} lists no pairs; download it again.")
  return rows


def _parse(row):
  category = int(row["class"]) - 1
  if not 0 <= category < len(pairs.CATEGORIES):
    raise ValueError(f"class {category + 1} is not 1 to 20")
  source, target = (
    pathlib.PurePosixPath(row[f"{side}_image"]).name
    for side in ("source", "target")
  )
  if "flip" in row:
    nothing = np.zeros((0, 2))
    return Pair(
      source, target, category, bool(int(row["flip"])), (nothing, nothing)
    )
  points = tuple(
    np.stack(
      [np.array(row[axis + side].split(";"), np.float64) for axis in "XY"], -1
    )
    for side in "AB"
  )
  if len(points[0]) != len(points[1]):
    raise ValueError("source and target have different numbers of points")
  return Pair(source, target, category, False, points)


def leak_free(test, seen):
  """Which test pairs are new.

  Args:
    test: list of n Pair.
    seen: list of Pair that training and selection may have used.

  Returns:
    dict of bool [n]: "pair_disjoint", the two pictures are no pair of `seen`
    in either order; "image_disjoint", neither picture is in any.
  """
  couples = {frozenset((row.source, row.target)) for row in seen}
  files = {name for row in seen for name in (row.source, row.target)}
  ends = [(row.source, row.target) for row in test]
  return {
    "pair_disjoint": np.array([frozenset(e) not in couples for e in ends]),
    "image_disjoint": np.array([files.isdisjoint(e) for e in ends]),
  }


def write_leak_free(test, seen, path):
  """Writes the new test pairs as names: a csv, one row a pair.

  Args:
    test, seen: see `leak_free`.
    path: file to write; its column image_disjoint is 0 or 1.
  """
  new = leak_free(test, seen)
  with open(path, "w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["source_image", "target_image", "image_disjoint"])
    for row, pair, image in zip(test, *new.values(), strict=True):
      if pair:
        writer.writerow([row.source, row.target, int(image)])


def read_split(root, split):
  """(path, list of Pair) of "train", "val" or "test"."""
  name = f"{split}_pairs.csv"
  path = lists.find(root, f"image_pairs/{name}", name)
  return path, read_pairs(path)


def find_images(root):
  """The folder of the pictures."""
  return lists.find(
    root,
    "PF-dataset-PASCAL/JPEGImages",
    "JPEGImages",
    "VOCdevkit/VOC2012/JPEGImages",
    "VOC2012/JPEGImages",
  )


def load_pf_pascal(root, *, split, size):
  """Loads one split.

  Args:
    root: the folder.
    split: "train", "fit" (the validation list) or "test".
    size: side of the pictures in pixels.

  Returns:
    `pairs.PairDataset`; "test" has the subsets of `leak_free`, with training
    and validation both taken as seen.

  Raises:
    UserError: if the folder is not as described above.
  """
  images = find_images(root)
  path, rows = read_split(root, SPLITS[split])
  names = sorted({name for row in rows for name in (row.source, row.target)})
  lists.check_files(images, names, path)
  seen = []
  if split == "test":
    seen = [row for s in ("train", "val") for row in read_split(root, s)[1]]
  paths = [images / name for name in names]
  return make_dataset(rows, names, size, paths=paths, seen=seen, where=images)


def make_dataset(rows, names, size, *, paths, seen, where, reader=None):
  """Decodes the pictures of a list of pairs.

  Args:
    rows: list of n Pair.
    names: list of m file names, all those of the rows.
    size: side of the pictures in pixels.
    paths: list of the m files.
    seen: list of Pair; where there are any, the subsets of `leak_free` are
      marked.
    where: what holds the pictures, for messages.
    reader: function index -> bytes that stands in for the files, or None.

  Returns:
    `pairs.PairDataset`, without the pairs whose pictures are broken.

  Raises:
    UserError: if too many are broken, or points lie outside their pictures.
  """
  pictures, sizes, good = _decode(paths, size, reader)
  index = {names[i]: row for row, i in enumerate(good)}
  rows = [row for row in rows if {row.source, row.target} <= index.keys()]
  ends = np.array([[index[row.source], index[row.target]] for row in rows])
  points, visible = pairs.pad([row.points for row in rows])
  frame = _to_frame(points, sizes[ends])
  outside = visible & (np.abs(frame).max((1, 3)) > 1.02)
  if outside.any():
    first = rows[int(np.argmax(outside.any(1)))]
    raise UserError(
      f"points of {first.source} or {first.target} lie outside the pictures "
      f"of {where}; take the pictures of PF-PASCAL or VOC2012."
    )
  return pairs.PairDataset(
    pictures,
    [names[i] for i in good],
    sizes,
    ends,
    flips=[row.flip for row in rows],
    categories=[row.category for row in rows],
    points=np.where(visible[:, None, :, None], frame, 0),
    visible=visible,
    subsets=leak_free(rows, seen) if seen else {},
  )


def _to_frame(points, sizes):
  """Pixels of the lists to [-1, 1] of the pictures.

  Args:
    points: [n, 2, P, 2], 1 = centre of the first pixel, of pictures whose
      longer side is at most 300.
    sizes: [n, 2, 2], (width, height) of the files.

  Returns:
    float64 [n, 2, P, 2].
  """
  longer = sizes.max(-1, keepdims=True)
  listed = sizes * np.minimum(1, LONGER_SIDE / longer)
  return geometry.Frame(1, 1, "imm").file_to_coords(points - 1, listed)


def _decode(paths, size, reader):
  """Decodes picture files, as many as can be.

  Returns:
    (uint8 [m, S, S, 3], int [m, 2], the m indices of the good files).
  """
  # Not at the top: packed pairs do without TensorFlow.
  from c3_jax.data import streaming

  images, sizes, good = np.empty((len(paths), size, size, 3), np.uint8), [], []
  for batch in streaming.read(paths, load_size=size, crop="imm", reader=reader):
    images[len(good) : len(good) + len(batch["index"])] = batch["image"]
    good.extend(batch["index"].tolist())
    sizes.append(batch["file_size"])
  streaming.check_broken(paths, good)
  return images[: len(good)], np.concatenate(sizes), good
