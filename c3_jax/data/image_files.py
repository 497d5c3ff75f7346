"""Reads image files: decodes, crops and resizes them, on many threads.

Pillow knows the formats and judges what is damaged; simplejpeg gives the same
pixels of JPEG files sooner; OpenCV resizes (`benchmarks/photos.py`). The box of
a frame's crop rule is loaded at load_size; the network sees the central
image_size of that. The orientation tag of EXIF is ignored: points are pixels
of the file as stored. `pixels` says what becomes of other than 8 bits a colour.
"""

import collections
import concurrent.futures
import contextlib
import functools
import io
import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from c3_jax import geometry
from c3_jax.data import pixels
from c3_jax.errors import UserError
from c3_jax.runtime import files as regular

logger = logging.getLogger(__name__)

# What is decoded, whatever a file is called. Pillow knows fifty more: some are
# programs (PostScript is handed to Ghostscript), most are never looked at.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")

# `read_batches` already keeps all cores busy.
cv2.setNumThreads(0)
# What is wrong with a file is said by name.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

# An axis that shrinks to less than this is averaged over. Above that ratio
# bilinear sampling skips no source pixel and blurs less.
AVERAGED = 0.7

_BATCH = 64
# Files in a task: many enough that tasks cost little, few enough that a short
# batch occupies all threads.
_TASK = 8

# A PIL image reads its file late, and may be in a list twice.
_LOADING = threading.Lock()

# Files of more pixels are decoded one at a time: each takes 3 bytes a pixel, or
# twice as much, times the number of threads.
_LARGE = 2**25
_ALONE = threading.Lock()

# An image whose lightest and darkest values are nearer than this is told of;
# so many of them by name.
_FLAT = 24
_FLAT_NAMES = 10

# Pixels of a box, which may be larger than its file; Pillow refuses files of
# more.
_LARGEST = 2 * 89_478_485


class Unreadable(UserError):
  """A file that holds no image, or a damaged one."""


class Batch(NamedTuple):
  """Image files as they are loaded.

  Attributes:
    index: int64 [b], which files.
    images: uint8 [b, load_size, load_size, 3]; black where one is unreadable.
    sizes: int32 [b, 2], (width, height) of the files.
    errors: dict row -> `Unreadable`, for the files that cannot be read.
  """

  index: np.ndarray
  images: np.ndarray
  sizes: np.ndarray
  errors: dict

  @property
  def good(self):
    """Which rows could be read: bool [b]."""
    good = np.ones(len(self.index), bool)
    good[list(self.errors)] = False
    return good


def read_batches(
  files: Sequence,
  frame: geometry.Frame,
  batches: Iterable[np.ndarray] | None = None,
  *,
  reader: Callable[[int], bytes] | None = None,
) -> Iterator[Batch]:
  """Reads image files on as many threads as there are cores.

  Yields `Batch` after `Batch`, in order; only a few are read ahead.

  Args:
    files: list of n files, as of `decode`.
    frame: `geometry.Frame`.
    batches: iterable of int [b] arrays, indices of the files to read together;
      by default all files, 64 at a time.
    reader: thread-safe function index -> bytes that stands in for the files,
      or None.
  """
  if batches is None:
    batches = np.split(np.arange(len(files)), range(_BATCH, len(files), _BATCH))
    batches = [index for index in batches if len(index)]
  threads = os.cpu_count() or 1
  waiting = collections.deque()
  pool = concurrent.futures.ThreadPoolExecutor(threads)
  try:
    for index in batches:
      waiting.append(_submit(pool, files, frame, index, reader))
      # One batch more than the consumer works on, and work for every thread.
      if len(waiting) > max(2, 2 * threads * _TASK // len(index)):
        yield _finish(*waiting.popleft())
    while waiting:
      yield _finish(*waiting.popleft())
  finally:
    # At exit of the interpreter, what a wait or `cancel_futures` needs is gone.
    for _, tasks in waiting:
      for task in tasks:
        task.cancel()
    pool.shutdown(wait=False)


def _submit(pool, files, frame, index, reader):
  """Starts to read a batch: (batch, the tasks that fill it)."""
  n, side = len(index), frame.load_size
  batch = Batch(
    np.asarray(index, np.int64),
    np.zeros((n, side, side, 3), np.uint8),
    np.zeros((n, 2), np.int32),
    {},
  )

  def fill(rows):
    for row in rows:
      i = index[row]
      try:
        file = io.BytesIO(reader(i)) if reader else files[i]
        batch.images[row], batch.sizes[row] = load(file, frame)
      except Unreadable as error:
        batch.errors[row] = error

  starts = range(0, n, _TASK)
  return batch, [
    pool.submit(fill, range(start, min(start + _TASK, n))) for start in starts
  ]


def _finish(batch, tasks):
  """Waits for the tasks of a batch, and raises what went wrong in them."""
  for task in tasks:
    task.result()
  return batch


def load(file, frame):
  """Decodes one file, as `decode`, crops and resizes it.

  Returns:
    (image, size): uint8 [load_size, load_size, 3], black where the box ends
    below the file, and (width, height) of the file.

  Raises:
    Unreadable: says why.
  """
  image = decode(file)
  size = image.shape[1::-1]
  left, top, width, height = map(int, geometry.crop_box(frame.crop, *size))
  if width * height > _LARGEST:
    raise Unreadable(
      f"{file} cannot be read: its box of {width} x {height} pixels has more "
      f"than {_LARGEST}"
    )
  image = image[top : top + height, left : left + width]
  below = height - len(image)
  if below > 0:
    image = np.pad(image, ((0, below), (0, 0), (0, 0)))
  image = resize(image, frame.load_size)
  if isinstance(file, str | os.PathLike) and np.ptp(image) < _FLAT:
    if _tell_flat.cache_info().currsize <= _FLAT_NAMES:
      _tell_flat(os.fspath(file), image.min(), image.max())
  return image, size


@functools.cache
def _tell_flat(file, darkest, lightest):
  """Warns, once, that a file shows next to nothing."""
  if _tell_flat.cache_info().currsize == _FLAT_NAMES:
    logger.warning("More images with next to no contrast are not named.")
    return
  logger.warning(
    "%s has next to no contrast: its values lie in %d..%d of the range 0..255.",
    file,
    darkest,
    lightest,
  )


def resize(image, side):
  """Scales an image, uint8 [h, w, 3], to side x side pixels."""
  size = image.shape[1::-1]
  # OpenCV's area is one only where no axis grows.
  averaged = tuple(side if side < AVERAGED * n else n for n in size)
  if averaged != size:
    image = cv2.resize(image, averaged, interpolation=cv2.INTER_AREA)
  return cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)


def decode(file):
  """Decodes the image of a file as it is stored: uint8 [height, width, 3].

  Args:
    file: name of a file in one of `FORMATS`, or an open binary file; or a PIL
      image or an array in place of one: uint8 or uint16, [h, w], [h, w, 3] or
      [h, w, 4].

  Raises:
    Unreadable: says why.
  """
  named = isinstance(file, str | os.PathLike)
  name = file if named else "it"
  try:
    if isinstance(file, np.ndarray):
      return _decode_array(file)
    if isinstance(file, Image.Image):
      # Of another format, `load` would run its decoder.
      # "MPO" is a JPEG of several images.
      if file.format not in (None, "MPO", *FORMATS):
        raise ValueError(f"{file.format} is none of {', '.join(FORMATS)}")
      with _LOADING:
        file.load()
      return pixels.to_rgb(file)
    data = regular.read_bytes(file) if named else file.read()
    with _open(io.BytesIO(data)) as image:
      large = image.width * image.height > _LARGE
      with _ALONE if large else contextlib.nullcontext():
        return _decode_opened(image, data)
  except Exception as error:
    raise _unreadable(name, error) from error


def size_of(path):
  """Reads (width, height) of an image file alone; raises `Unreadable`."""
  try:
    with regular.open_regular(path) as file, _open(file) as image:
      return image.size
  except Exception as error:
    raise _unreadable(path, error) from error


def _open(file):
  """Opens a binary file as a PIL image; its pixels are decoded later."""
  return Image.open(file, formats=FORMATS)


def _unreadable(name, error):
  """Makes an `Unreadable` of what a decoder raised.

  A damaged file can make it raise almost anything: OSError, SyntaxError,
  struct.error, zlib.error, DecompressionBombError ...
  """
  reason = regular.reason(error)
  if isinstance(error, Image.UnidentifiedImageError):
    reason = f"it is none of {', '.join(FORMATS)}"
  return Unreadable(f"{name} cannot be read: {reason}")


def _decode_opened(image, data):
  if image.format == "JPEG" and image.mode in ("L", "RGB"):
    # Pillow judges what simplejpeg finds damaged.
    with contextlib.suppress(ValueError):
      return simplejpeg.decode_jpeg(data)
  return pixels.file_to_rgb(image, data)


def _decode_array(array):
  channels = array.shape[2:]
  if array.dtype not in (np.uint8, np.uint16) or (
    array.ndim not in (2, 3) or channels not in ((), (3,), (4,))
  ):
    raise ValueError(
      f"an array {array.dtype} {list(array.shape)}; give uint8 "
      "[height, width, 3]"
    )
  return pixels.array_to_rgb(array)
