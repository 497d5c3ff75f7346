"""What a dataset is to training and evaluation."""

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Dataset(Protocol):
  """Images to learn from or to measure on.

  Attributes:
    names: list of str, one for each image file.
    sizes: int32 [files, 2], their (width, height) in pixels; None where there
      are none, or they were not opened.
    points: float32 [n, P, 2] in [-1, 1] of the model frame, NaN where one is
      missing; or None.
    load_size: side S of an image in pixels.
    image_size: side of the model frame, the central pixels of an image.
    images_per_epoch: number of images in an epoch of `batches`.
    seen: share of a file that the model frame covers, in per cent, the mean
      over the files; None where there are none, or they were not opened.
    protocol: published protocol that numbers on the images stand on, or None:
      dict of paper ("mafl", "aflw" or "pf_pascal"), name ("imm", "dve" or
      "ncnet") and, of AFLW, release.
  """

  names: Sequence[str]
  sizes: np.ndarray | None
  points: np.ndarray | None
  load_size: int
  image_size: int
  images_per_epoch: int
  seen: float | None
  protocol: dict | None

  def __len__(self) -> int:
    """Counts the examples n."""

  def batches(
    self,
    batch_size: int,
    *,
    seed: int,
    start_step: int = 0,
    shard: tuple[int, int] = (0, 1),
  ) -> Iterator[dict[str, np.ndarray]]:
    """Gives endless training batches, in the order of `sampler.batch_indices`.

    Args:
      batch_size: images in the global batch, over all processes.
      seed: int >= 0; (seed, step) alone decide what a batch holds.
      start_step: number of batches to jump over, at no cost.
      shard: (i, c): this process gets the i-th of c equal runs of rows.

    Yields:
      dict(image=uint8 [b, S, S, 3], index=int64 [b]), b = batch_size / c.

    Raises:
      UserError: too many image files turn out broken.
    """

  def eval_batches(self, batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Gives every example once, in order; the last batch is padded.

    Yields:
      dict(image=uint8 [b, S, S, 3], index=int64 [b], mask=float32 [b]), and
      points=float32 [b, P, 2] if there are any; b = batch_size, mask is 0 for
      the padding.

    Raises:
      UserError: an image file turns out broken: no example may be left out.
    """

  def first(self, n: int) -> "Dataset":
    """Reads the first n images, fewer if there are fewer, into memory.

    Of pairs, the sources of the first n.
    """


@runtime_checkable
class PairedDataset(Dataset, Protocol):
  """Listed pairs of images with matching points, each pair one example.

  `batches` gives whole pairs: rows 2m and 2m + 1 are source and target of pair
  `index` // 2. `eval_batches` takes and counts pairs, and yields

    image_source, image_target    uint8 [b, S, S, 3]
    points_source, points_target  float32 [b, P, 2], (x, y) in [-1, 1]
    visible                       bool [b, P], False where rows are padded
    size_source, size_target      int32 [b, 2], (width, height) of the files
    category                      int32 [b], index into `pairs.CATEGORIES`
    index                         int64 [b]
    mask                          float32 [b], 0 for the padding of a batch

  Attributes:
    pairs: int64 [n, 2], (source, target) as indices into `names`.
    points: float32 [n, 2, P, 2], of source and target.
    subsets: dict name -> bool [n], parts of the list to be measured alone.
  """

  pairs: np.ndarray
  subsets: dict[str, np.ndarray]
