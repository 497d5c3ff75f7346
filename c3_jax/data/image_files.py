"""Reads image files: decodes, crops and resizes them, on many threads.

Pillow knows the formats and judges what is damaged; simplejpeg gives the same
pixels of JPEG files sooner; OpenCV resizes (`benchmarks/photos.py`). The box of
a frame's crop rule is loaded at load_size; the network sees the central
image_size of that. The orientation tag of EXIF and transparency are ignored:
points are pixels of the file as stored.
"""

import collections
import concurrent.futures
import contextlib
import io
import os
import pathlib
import threading
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from c3_jax import geometry
from c3_jax.errors import UserError

# `read_batches` already keeps all cores busy.
cv2.setNumThreads(0)

# An axis that shrinks to less than this is averaged over. Above that ratio
# bilinear sampling skips no source pixel and blurs less.
AVERAGED = 0.7

_BATCH = 64
# Files in a task: many enough that tasks cost little, few enough that a short
# batch occupies all threads.
_TASK = 8

# A PIL image reads its file late, and may be in a list twice.
_LOADING = threading.Lock()

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


def read_batches(files, frame, batches=None, *, reader=None):
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
  return resize(image, frame.load_size), size


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
    file: name of a file in any format that Pillow reads, or an open binary
      file; or a PIL image or an array in place of one: uint8 or uint16, [h, w],
      [h, w, 3] or [h, w, 4].

  Raises:
    Unreadable: says why.
  """
  if isinstance(file, np.ndarray):
    return _array_to_rgb(file)
  try:
    if isinstance(file, Image.Image):
      with _LOADING:
        file.load()
      return _to_rgb(file)
    named = isinstance(file, str | os.PathLike)
    data = pathlib.Path(file).read_bytes() if named else file.read()
    with Image.open(io.BytesIO(data)) as image:
      if image.format == "JPEG" and image.mode in ("L", "RGB"):
        # Pillow judges what simplejpeg finds damaged.
        with contextlib.suppress(ValueError):
          return simplejpeg.decode_jpeg(data)
      return _to_rgb(image)
  except Image.UnidentifiedImageError as error:
    raise Unreadable(
      f"{file} cannot be read: it holds no image that Pillow knows"
    ) from error
  except Exception as error:
    # A damaged file can make a decoder raise almost anything: OSError,
    # SyntaxError, struct.error, zlib.error, DecompressionBombError ...
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise Unreadable(f"{file} cannot be read: {reason}") from error


def _to_rgb(image):
  """Converts a PIL image of any mode to uint8 [height, width, 3]."""
  if image.mode.startswith("I"):
    # 16 bits a pixel: Pillow would clip them to 255.
    grey = np.asarray(image, np.int64).clip(0, 65535) >> 8
    image = Image.fromarray(grey.astype(np.uint8))
  return np.asarray(image.convert("RGB"))


def _array_to_rgb(array):
  """Converts an array as a file of that mode would be."""
  channels = array.shape[2:]
  if array.dtype not in (np.uint8, np.uint16) or (
    array.ndim not in (2, 3) or channels not in ((), (3,), (4,))
  ):
    raise Unreadable(
      f"an array {array.dtype} {list(array.shape)} cannot be read: give uint8 "
      "[height, width, 3]"
    )
  if array.dtype == np.uint16:
    array = (array >> 8).astype(np.uint8)
  return _to_rgb(Image.fromarray(array))
