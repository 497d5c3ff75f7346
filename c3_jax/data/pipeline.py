"""Picture files through tf.data: decode, resize, crop, batch.

Every file becomes the largest central square of its picture, scaled to
load_size (see `arrays` for the frame). The orientation tag of EXIF is
ignored: points are pixels of the file as stored.
"""

import contextlib
import logging
import os
import time

import numpy as np

from c3_jax.data import arrays, order
from c3_jax.errors import UserError

# Silences TensorFlow's notes, and its errors on broken files without a name;
# the note on oneDNN goes by no log level.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
try:
  import tensorflow as tf
except ModuleNotFoundError as error:
  raise UserError(
    "tensorflow is not installed, which reads picture files: install it."
  ) from error

# TensorFlow would take the accelerator's memory from JAX. It refuses once it
# has been used, and then it is the caller's to arrange.
with contextlib.suppress(RuntimeError):
  tf.config.set_visible_devices([], "GPU")

logger = logging.getLogger(__name__)

_READ_BATCH = 64
_LOG_SECONDS = 5
_NAMES_LOGGED = 10


def _load(path, load_size):
  """Reads one file: (uint8 [S, S, 3], int32 [2] = (width, height))."""
  # Despite its name this op reads PNG too, and only it can be told not to use
  # the fast but inexact transform: 9 grey levels off at quality 95.
  image = tf.io.decode_jpeg(
    tf.io.read_file(path), channels=3, dct_method="INTEGER_ACCURATE"
  )
  size = tf.shape(image)[:2]
  extent = tf.cast(size, tf.float32)
  scale = tf.repeat(load_size / tf.reduce_min(extent), 2)
  # tf.image.resize(antialias=True) is this op; used directly, it scales both
  # axes by the same factor and computes nothing outside the crop, whatever
  # the aspect ratio.
  image = tf.raw_ops.ScaleAndTranslate(
    images=image[None],
    size=[load_size, load_size],
    scale=scale,
    translation=(load_size - extent * scale) / 2,
    kernel_type="triangle",
    antialias=True,
  )[0]
  image = tf.saturate_cast(tf.round(image), tf.uint8)
  return tf.ensure_shape(image, [load_size, load_size, 3]), size[::-1]


def read(paths, *, load_size):
  """Reads picture files in parallel and in order; skips what is broken.

  Args:
    paths: list of n file names, JPEG or PNG of any colour type.
    load_size: side of the loaded picture in pixels.

  Yields:
    dict(index=int64 [b], image=uint8 [b, S, S, 3], file_size=int32 [b, 2] as
    (width, height)) in batches of varying b <= 64. The index of a file that
    cannot be read or decoded never appears.
  """
  files = tf.constant([os.fspath(path) for path in paths], tf.string)

  def load(index):
    image, size = _load(files[index], load_size)
    return {"index": index, "image": image, "file_size": size}

  dataset = tf.data.Dataset.range(len(paths))
  dataset = dataset.map(load, tf.data.AUTOTUNE, deterministic=True)
  dataset = dataset.ignore_errors().batch(_READ_BATCH)
  yield from dataset.prefetch(2).as_numpy_iterator()


class StreamingDataset:
  """Picture files, decoded each time they are seen.

  The same attributes and batches, byte for byte, as the `ArrayDataset` of the
  same files.

  Attributes:
    paths: list of n file names; all must be readable, as `scan` makes sure.
    points: float32 [n, P, 2] in [-1, 1] of the model frame, or None.
    names: list of n str.
    load_size: side of a loaded picture in pixels.
  """

  def __init__(self, paths, *, load_size, points=None, names=None):
    self.paths = [os.fspath(path) for path in paths]
    self.points = None if points is None else np.asarray(points, np.float32)
    self.names = list(self.paths if names is None else names)
    self.load_size = load_size

  def __len__(self):
    return len(self.paths)

  def batches(self, batch_size, *, seed, start_step=0, shard=(0, 1)):
    """Endless training batches, in the order of `order.batch_indices`.

    Yields:
      dict(image=uint8 [b, S, S, 3], index=int64 [b]), b = batch_size / c.
    """
    yield from self._stream(
      lambda: order.batch_indices(
        len(self), batch_size, seed=seed, start_step=start_step, shard=shard
      ),
      batch_size // shard[1],
    )

  def eval_batches(self, batch_size):
    """Every picture once; the last batch is padded under mask 0.

    Yields:
      dict(image=uint8 [b, S, S, 3], index=int64 [b], mask=float32 [b]), and
      points=float32 [b, P, 2] if there are any.
    """
    indices = list(order.eval_indices(len(self), batch_size))
    stream = self._stream(lambda: (index for index, _ in indices), batch_size)
    for batch, (index, mask) in zip(stream, indices, strict=True):
      batch["mask"] = mask
      if self.points is not None:
        batch["points"] = self.points[index]
      yield batch

  def _stream(self, indices, batch_size):
    """Decodes a generator function of index batches: NumPy dicts."""
    files = tf.constant(self.paths, tf.string)

    def load(index):
      return {"image": _load(files[index], self.load_size)[0], "index": index}

    dataset = tf.data.Dataset.from_generator(
      indices, output_signature=tf.TensorSpec([batch_size], tf.int64)
    )
    dataset = dataset.unbatch().map(load, tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE)
    yield from dataset.as_numpy_iterator()


def scan(paths, *, image_size, load_size, pixels=None, names=None, cache=True):
  """Decodes every file once, leaves out the broken ones, makes a dataset.

  Broken files are named in the log. A few are skipped: up to 3, or 1 % of the
  files where that is more.

  Args:
    paths: list of n file names.
    image_size: side of the model frame in pixels.
    load_size: side of the loaded picture in pixels, at least image_size.
    pixels: [n, P, 2] annotated points in pixels of each file, 0 = centre of
      the first pixel, or None.
    names: list of n str; by default the paths.
    cache: keep the decoded pictures in memory.

  Returns:
    ArrayDataset if cache, else StreamingDataset, of the good files in order.

  Raises:
    UserError: if too many files are broken, none is usable, or the cache
      would not fit into memory.
  """
  n = len(paths)
  images = _allocate(n, load_size) if cache else None
  good, sizes = [], []
  start = logged = time.monotonic()
  for batch in read(paths, load_size=load_size):
    if cache:
      images[len(good) : len(good) + len(batch["index"])] = batch["image"]
    good.extend(batch["index"].tolist())
    sizes.append(batch["file_size"])
    if time.monotonic() - logged > _LOG_SECONDS:
      logged = time.monotonic()
      logger.info("Decoded %d of %d images.", good[-1] + 1, n)
  _check_broken([os.fspath(path) for path in paths], good)
  logger.info("Decoded %d images in %.1f s.", n, time.monotonic() - start)

  names = paths if names is None else names
  names = [os.fspath(names[i]) for i in good]
  points = None
  if pixels is not None:
    points = arrays.points_to_frame(
      np.asarray(pixels)[good], np.concatenate(sizes), image_size, load_size
    )
  if cache:
    return arrays.ArrayDataset(
      images[: len(good)], points, names, image_size=image_size
    )
  return StreamingDataset(
    [paths[i] for i in good], load_size=load_size, points=points, names=names
  )


def _allocate(n, load_size):
  shape = (n, load_size, load_size, 3)
  memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  if np.prod(shape, dtype=float) > memory:
    raise UserError(
      f"{n} images of {load_size} x {load_size} do not fit into memory; set "
      "config.data.cache=False to decode them as they are needed."
    )
  return np.empty(shape, np.uint8)


def _check_broken(paths, good):
  """Logs the files that are not among the indices `good`, or gives up."""
  n = len(paths)
  broken = sorted(set(range(n)).difference(good))
  if not broken:
    return
  if not good or len(broken) > max(3, n // 100):
    raise UserError(
      f"{paths[broken[0]]} cannot be decoded, one of {len(broken)} broken of "
      f"{n} images; remove them or convert them to JPEG or PNG."
    )
  named = ", ".join(paths[i] for i in broken[:_NAMES_LOGGED])
  more = len(broken) - _NAMES_LOGGED
  named += f" and {more} more" if more > 0 else ""
  logger.warning(
    "Skipped %d of %d images that cannot be decoded: %s", len(broken), n, named
  )
