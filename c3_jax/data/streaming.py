"""Picture files through tf.data: decode, crop, resize, batch.

Every file becomes the box of its crop rule, scaled to load_size (see `arrays`
for the frame, `decode` for the files of a batch).
"""

import io
import logging
import os
import threading

import numpy as np

from c3_jax import geometry
from c3_jax.data import in_memory, sampler
from c3_jax.data.decode import load, tf
from c3_jax.errors import UserError

logger = logging.getLogger(__name__)

_READ_BATCH = 64
_NAMES_LOGGED = 10


class _Pictures:
  """Encoded pictures, and how each is loaded.

  Attributes:
    paths: list of n file names.
    read: None, or a function index -> bytes that stands in for the file.
  """

  def __init__(self, paths, load_size, crop, read=None):
    geometry.crop_box(crop, 1.0, 1.0)  # Refuses an unknown rule.
    self.paths = paths if read else [os.fspath(path) for path in paths]
    self.read = read
    # Two threads at once may not read.
    self._reading = threading.Lock()
    self._options = {"load_size": load_size, "crop": crop}

  def batches(self, indices):
    """tf.data of decoded batches: several in parallel, in order.

    Args:
      indices: function that gives an iterator of int64 [b] arrays.

    Returns:
      Iterator of (index, image, file_size, good): int64 [b], uint8
      [g, S, S, 3], int32 [g, 2] as (width, height), bool [b]; g pictures of
      the batch are good, the others cannot be read or decoded.
    """

    def decode(index):
      return index, *self._load(index)

    dataset = tf.data.Dataset.from_generator(
      indices, output_signature=tf.TensorSpec([None], tf.int64)
    )
    # A whole batch: a call for each picture costs half as much again, for the
    # threads wait for one another's Python.
    dataset = dataset.map(
      lambda index: tf.numpy_function(
        decode, [index], [tf.int64, tf.uint8, tf.int32, tf.bool], stateful=False
      ),
      tf.data.AUTOTUNE,
      deterministic=True,
    )
    return dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()

  def _load(self, index):
    """`decode.load` of the pictures `index` [b]."""
    if self.read:
      with self._reading:
        files = [io.BytesIO(self.read(i)) for i in index]
    else:
      files = [self.paths[i] for i in index]
    return load(files, **self._options)

  def image(self, index):
    """uint8 [S, S, 3] of one picture, or None if it cannot be decoded."""
    images, _, _ = self._load([index])
    return images[0] if len(images) else None


def read(paths, *, load_size, crop="square", reader=None):
  """Reads picture files in parallel and in order; skips what is broken.

  Args:
    paths: list of n file names, in any format that Pillow reads.
    load_size: side of the loaded picture in pixels.
    crop: rule of `geometry.crop_box`.
    reader: function index -> bytes that stands in for the files, or None.

  Yields:
    dict(index=int64 [b], image=uint8 [b, S, S, 3], file_size=int32 [b, 2] as
    (width, height)) in batches of varying b <= 64. The index of a file that
    cannot be read or decoded never appears.
  """
  pictures = _Pictures(paths, load_size, crop, reader)
  n = len(pictures.paths)

  def indices():
    for start in range(0, n, _READ_BATCH):
      yield np.arange(start, min(start + _READ_BATCH, n))

  for index, image, file_size, good in pictures.batches(indices):
    if len(image):
      yield {"index": index[good], "image": image, "file_size": file_size}


class StreamingDataset:
  """Picture files, decoded each time they are seen.

  The same attributes and batches, byte for byte, as the `ArrayDataset` of the
  same files. Where a file turns out broken while it trains, the next good one
  takes its place, in every epoch and after every restart; it is named once.

  Attributes:
    paths: list of n file names.
    points: float32 [n, P, 2] in [-1, 1] of the model frame, or None.
    names: list of n str.
    load_size: side of a loaded picture in pixels.
    image_size: side of the model frame that `points` refers to.
  """

  def __init__(
    self,
    paths,
    *,
    load_size,
    image_size=None,
    points=None,
    names=None,
    crop="square",
    reader=None,
  ):
    self._pictures = _Pictures(paths, load_size, crop, reader)
    self._broken = set()
    self.paths = self._pictures.paths
    self.points = None if points is None else np.asarray(points, np.float32)
    self.names = self.paths if names is None else list(names)
    self.load_size = load_size
    self.image_size = image_size or load_size

  def __len__(self):
    return len(self.paths)

  @property
  def images_per_epoch(self):
    """Number of images in an epoch."""
    return len(self)

  def batches(self, batch_size, *, seed, start_step=0, shard=(0, 1)):
    """Endless training batches, in the order of `sampler.batch_indices`.

    Yields:
      dict(image=uint8 [b, S, S, 3], index=int64 [b]), b = batch_size / c.

    Raises:
      UserError: if too many files turn out broken.
    """
    yield from self._stream(
      lambda: sampler.batch_indices(
        len(self), batch_size, seed=seed, start_step=start_step, shard=shard
      ),
      self._next_good,
    )

  def eval_batches(self, batch_size):
    """Every picture once; the last batch is padded under mask 0.

    Yields:
      dict(image=uint8 [b, S, S, 3], index=int64 [b], mask=float32 [b]), and
      points=float32 [b, P, 2] if there are any.

    Raises:
      UserError: if a file cannot be decoded: no sample may be left out.
    """
    indices = list(sampler.eval_indices(len(self), batch_size))
    stream = self._stream(lambda: (index for index, _ in indices), self._refuse)
    for batch, (index, mask) in zip(stream, indices, strict=True):
      batch["mask"] = mask
      if self.points is not None:
        batch["points"] = self.points[index]
      yield batch

  def first(self, n):
    """The first n pictures, in memory: an `in_memory.ArrayDataset`.

    Where one turns out broken, the next good one takes its place.
    """
    index = np.arange(min(n, len(self)))
    (batch,) = self._stream(lambda: iter([index]), self._next_good)
    return in_memory.ArrayDataset(
      batch["image"],
      None if self.points is None else self.points[index],
      [self.names[i] for i in index],
      image_size=self.image_size,
    )

  def _stream(self, indices, mend):
    """Decodes a generator function of index batches: NumPy dicts.

    Args:
      indices: function that gives an iterator of int64 [b] arrays.
      mend: function of the index of a broken picture that gives what to show
        in its place: uint8 [S, S, 3].
    """
    for index, image, _, good in self._pictures.batches(indices):
      if not good.all():
        found, image = image, np.empty((len(good), *image.shape[1:]), np.uint8)
        image[good] = found
        for row in np.flatnonzero(~good):
          image[row] = mend(index[row])
      yield {"image": image, "index": index}

  def _refuse(self, index):
    raise UserError(
      f"{self.paths[index]} cannot be decoded; restore it, or remove it from "
      "the lists of the dataset."
    )

  def _next_good(self, index):
    """The first picture after a broken one that can be decoded."""
    n, image = len(self), None
    while image is None:
      if index not in self._broken:
        self._broken.add(index)
        logger.warning(
          "Skipped %s, which cannot be decoded.", self.paths[index]
        )
        _check_count(self.paths[index], len(self._broken), n)
      index = (index + 1) % n
      image = self._pictures.image(index)
    return image


def check_broken(paths, good):
  """Logs the files that are not among the indices `good`, or gives up."""
  n, paths = len(paths), [str(path) for path in paths]
  broken = sorted(set(range(n)).difference(good))
  if not broken:
    return
  _check_count(paths[broken[0]], len(broken), n)
  named = ", ".join(paths[i] for i in broken[:_NAMES_LOGGED])
  more = len(broken) - _NAMES_LOGGED
  named += f" and {more} more" if more > 0 else ""
  logger.warning(
    "Skipped %d of %d images that cannot be decoded: %s", len(broken), n, named
  )


def _check_count(path, broken, n):
  """Gives up if too many of n files are broken; `path` is one of them."""
  if broken == n or broken > max(3, n // 100):
    raise UserError(
      f"{path} cannot be decoded, one of {broken} broken of {n} images; remove "
      "them or convert them to JPEG or PNG."
    )
