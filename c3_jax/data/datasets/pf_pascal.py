"""PF-PASCAL: listed pairs of VOC images with matching points.

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
import os
import pathlib
from typing import NamedTuple

import numpy as np

from c3_jax.data import pairs
from c3_jax.data.datasets import lists
from c3_jax.data.scan import read_good
from c3_jax.errors import UserError
from c3_jax.geometry import Frame

SIDES = ("source", "target")
SPLITS = {"train": "train", "fit": "val", "test": "test"}
# No coordinate of the lists exceeds it: the longer side of their images.
LONGER_SIDE = 300


class Pair(NamedTuple):
  """One row of a list."""

  source: str  # File name without a folder.
  target: str
  category: int  # Index into `pairs.CATEGORIES`.
  flip: bool
  points: tuple  # (source, target): float64 [p, 2], 1 = first pixel's centre.

  @property
  def ends(self):
    """The two files: (source, target)."""
    return self.source, self.target


def read_pairs(path):
  """Reads a list of pairs.

  Returns:
    List of Pair, in the order of the file; training lists have no points, the
    others no flips.

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
  ends = [pathlib.PurePosixPath(row[f"{side}_image"]).name for side in SIDES]
  if "flip" in row:
    nothing = np.zeros((0, 2))
    return Pair(*ends, category, bool(int(row["flip"])), (nothing, nothing))
  points = [
    [[lists.number(x) for x in row[axis + side].split(";")] for axis in "XY"]
    for side in "AB"
  ]
  if len({len(axis) for end in points for axis in end}) > 1:
    raise ValueError("source and target have different numbers of points")
  points = lists.points(np.array(points).swapaxes(1, 2).reshape(2, -1))
  # A point that is missing in one image has no match in the other.
  points = tuple(points[:, ~np.isnan(points).any((0, 2))])
  if not len(points[0]):
    raise ValueError("no point is given in both images")
  return Pair(*ends, category, False, points)


def leak_free(test, seen):
  """Finds the test pairs that are new.

  `test` and `seen`, which training and selection may have used, are lists of
  Pair.

  Returns:
    dict of bool [n]: "pair_disjoint", the two images are no pair of `seen`
    in either order; "image_disjoint", neither image is in any.
  """
  couples = {frozenset(row.ends) for row in seen}
  files = set().union(*couples)
  return {
    "pair_disjoint": np.array([frozenset(r.ends) not in couples for r in test]),
    "image_disjoint": np.array([files.isdisjoint(r.ends) for r in test]),
  }


def read_split(root, split):
  """Reads the list of "train", "val" or "test": (path, list of Pair)."""
  name = f"{split}_pairs.csv"
  path = lists.find(root, f"image_pairs/{name}", name)
  return path, read_pairs(path)


def find_images(root):
  """Finds the folder of the images."""
  return lists.find(
    root,
    "PF-dataset-PASCAL/JPEGImages",
    "JPEGImages",
    "VOCdevkit/VOC2012/JPEGImages",
    "VOC2012/JPEGImages",
  )


def load_pf_pascal(
  root: str | os.PathLike, frame: Frame, *, split: str
) -> pairs.PairDataset:
  """Loads one split, always into memory; "fit" is the validation list.

  Returns:
    `pairs.PairDataset`; "test" has the subsets of `leak_free`, with training
    and validation both taken as seen.
  """
  images = find_images(root)
  path, rows = read_split(root, SPLITS[split])
  names = sorted({name for row in rows for name in row.ends})
  lists.check_files(images, names, path)
  seen = []
  if split == "test":
    seen = [row for s in ("train", "val") for row in read_split(root, s)[1]]
  paths = [images / name for name in names]
  return make_dataset(rows, names, frame, paths=paths, seen=seen, where=images)


def make_dataset(rows, names, frame, *, paths, seen, where, reader=None):
  """Decodes the images of a list of pairs, but for pairs with a broken one.

  Args:
    rows: list of n Pair.
    names: list of m file names, all those of the rows.
    frame, reader: as of `image_files.read_batches`; whole images are seen.
    paths: list of the m files.
    seen: list of Pair; where there are any, the subsets of `leak_free` are
      marked.
    where: what holds the images, for messages.

  Returns:
    `pairs.PairDataset`.

  Raises:
    UserError: if too many are broken, or points lie outside their images.
  """
  images, sizes, good = read_good(paths, frame, reader=reader)
  index = {names[i]: row for row, i in enumerate(good)}
  rows = [row for row in rows if index.keys() >= set(row.ends)]
  ends = np.array([[index[name] for name in row.ends] for row in rows])
  points, visible = pairs.pad([row.points for row in rows])
  coords = frame.file_to_coords(points - 1, _listed(sizes[ends]))
  outside = visible & (np.abs(coords).max((1, 3)) > 1.02)
  if outside.any():
    first = rows[int(np.argmax(outside.any(1)))]
    raise UserError(
      f"points of {' or '.join(first.ends)} lie outside the images "
      f"of {where}; take the images of PF-PASCAL or VOC2012."
    )
  dataset = pairs.PairDataset(
    images,
    [names[i] for i in good],
    sizes,
    ends,
    flips=[row.flip for row in rows],
    categories=[row.category for row in rows],
    points=np.where(visible[:, None, :, None], coords, 0),
    visible=visible,
    subsets=leak_free(rows, seen) if seen else {},
  )
  dataset.seen = float(frame.seen(sizes).mean())
  return dataset


def _listed(sizes):
  """Scales (width, height) of files, [.., 2], to what the lists refer to."""
  longer = sizes.max(-1, keepdims=True)
  return sizes * np.minimum(1, LONGER_SIDE / longer)
