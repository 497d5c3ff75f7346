"""Image files that are decoded each time they are seen."""

import logging
import os

import numpy as np

from c3_jax import geometry
from c3_jax.data import broken, image_files, in_memory, sampler
from c3_jax.errors import UserError

logger = logging.getLogger(__name__)


class StreamingDataset:
  """A `Dataset` of image files, decoded each time they are seen.

  It has the same attributes and batches, byte for byte, as the `ArrayDataset`
  of the same files. Where a file turns out broken while it trains, the next
  good one takes its place, in every epoch and after every restart; it is named
  once.

  Attributes:
    paths: list of n file names.
    frame: `geometry.Frame`.
  """

  sizes = seen = protocol = None

  def __init__(
    self, paths, frame, *, points=None, names=None, reader=None, tf_data=False
  ):
    """Reads nothing yet.

    Args:
      paths, frame, reader: as of `image_files.read_batches`.
      points: [n, P, 2] in [-1, 1] of the frame, or None.
      names: list of n str; by default the paths.
      tf_data: pass the batches through a tf.data pipeline.

    Raises:
      UserError: there is no such crop rule, or TensorFlow is missing.
    """
    geometry.crop_box(frame.crop, 1.0, 1.0)
    self.paths = paths if reader else [os.fspath(path) for path in paths]
    self.images_per_epoch = len(paths)
    self.frame = frame
    self.load_size, self.image_size = frame.load_size, frame.image_size
    self.points = None if points is None else np.asarray(points, np.float32)
    self.names = self.paths if names is None else list(names)
    self._reader = reader
    self._broken = set()
    self._run = lambda batches: batches()
    if tf_data:
      # Not at the top: it imports TensorFlow.
      from c3_jax.data import tf_data as pipeline

      self._run = pipeline.prefetch

  def __len__(self):
    return len(self.paths)

  def batches(self, batch_size, *, seed, start_step=0, shard=(0, 1)):
    """Gives endless training batches: see `Dataset`."""
    yield from self._batches(
      lambda: sampler.batch_indices(
        len(self), batch_size, seed=seed, start_step=start_step, shard=shard
      ),
      self._next_good,
    )

  def eval_batches(self, batch_size):
    """Gives every image once, in order: see `Dataset`."""
    indices = list(sampler.eval_indices(len(self), batch_size))
    stream = self._batches(
      lambda: (index for index, _ in indices), self._refuse
    )
    for batch, (index, mask) in zip(stream, indices, strict=True):
      batch["mask"] = mask
      if self.points is not None:
        batch["points"] = self.points[index]
      yield batch

  def first(self, n):
    """Reads the first n images into memory: an `in_memory.ArrayDataset`.

    Where one turns out broken, the next good one takes its place.
    """
    index = np.arange(min(n, len(self)))
    (batch,) = self._batches(lambda: [index], self._next_good)
    return in_memory.ArrayDataset(
      batch["image"],
      None if self.points is None else self.points[index],
      [self.names[i] for i in index],
      image_size=self.image_size,
    )

  def _batches(self, indices, replace):
    """Decodes batches of images: dicts of image and index.

    Args:
      indices: function that gives an iterator of int64 [b] arrays.
      replace: function of the index of a broken image that gives what to show
        in its place: uint8 [S, S, 3].
    """

    def read():
      for batch in image_files.read_batches(
        self.paths, self.frame, indices(), reader=self._reader
      ):
        yield batch.index, batch.images, batch.good

    for index, images, good in self._run(read):
      if not good.all():
        images = images.copy()
        for row in np.flatnonzero(~good):
          images[row] = replace(index[row])
      yield {"image": images, "index": index}

  def _refuse(self, index):
    raise UserError(
      f"{self.paths[index]} cannot be decoded; restore it, or remove it from "
      "the lists of the dataset."
    )

  def _next_good(self, index):
    """Decodes the first good file after a broken one: uint8 [S, S, 3]."""
    n = len(self)
    while True:
      if index not in self._broken:
        self._broken.add(index)
        logger.warning(
          "Skipped %s, which cannot be decoded.", self.paths[index]
        )
        broken.check_count(self.paths[index], len(self._broken), n)
      index = (index + 1) % n
      (batch,) = image_files.read_batches(
        self.paths, self.frame, [np.array([index])], reader=self._reader
      )
      if not batch.errors:
        return batch.images[0]
