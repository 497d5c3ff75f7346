"""Frames of clips: videos, and images of several pages, in order.

FFmpeg, inside OpenCV, decodes videos, turned upright as players show them;
Pillow decodes GIF and TIFF files of more than one page.
"""

import contextlib
import itertools
import logging
import math
import os
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from c3_jax.data import find, image_files, pixels
from c3_jax.data.image_files import Unreadable
from c3_jax.runtime import files

logger = logging.getLogger(__name__)

PAGED = (".gif", ".tif", ".tiff")

# FFmpeg knows formats that name other files and servers: playlists, lists of
# parts. It reports to the terminal, without the name of the file.
os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = (
  "format_whitelist;mov,matroska,webm,avi,mpeg,mpegts,mpegvideo"
  "|protocol_whitelist;file"
)
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

_LARGEST = 2**50  # Bytes: a clip is never read whole.
_BATCH = 64


class ClipFrame(NamedTuple):
  """One frame of a clip.

  Attributes:
    number: from 0 on.
    seconds: since the clip's start; None of TIFF pages, which have no times.
    image: uint8 [height, width, 3].
  """

  number: int
  seconds: float | None
  image: np.ndarray


class Still(NamedTuple):
  """A frame of a clip in place of an image file."""

  path: str
  number: int

  def __str__(self):
    return name_of(*self)


def name_of(clip, number):
  """Names a frame of a clip."""
  return f"{clip}#{number}"


def is_clip(path):
  """Tells whether a file, or an image in its place, has frames."""
  if not isinstance(path, str | os.PathLike):
    return False
  suffix = os.path.splitext(path)[1].lower()
  if suffix not in PAGED:
    return suffix in find.VIDEOS
  try:
    with _open_pages(path) as image:
      return getattr(image, "n_frames", 1) > 1
  except Exception:
    return False  # Reading it as an image says what is wrong.


def frames(path):
  """Decodes a clip: yields `ClipFrame` after `ClipFrame`.

  Raises:
    Unreadable: it is damaged, or has no frames.
  """
  paged = os.path.splitext(path)[1].lower() in PAGED
  empty = True
  for frame in _pages(path) if paged else _video(path):
    empty = False
    yield frame
  if empty:
    raise Unreadable(f"{path} cannot be read: it has no frames")


@contextlib.contextmanager
def _open_pages(path):
  with files.open_regular(path) as file:
    with Image.open(file, formats=image_files.FORMATS) as image:
      yield image


def _pages(path):
  """Yields the pages of a GIF or TIFF file."""
  try:
    with _open_pages(path) as image:
      elapsed = 0.0
      for number in range(image.n_frames):
        image.seek(number)
        rgb = pixels.to_rgb(image)
        timed = image.format == "GIF"
        yield ClipFrame(number, elapsed if timed else None, rgb)
        elapsed += image.info.get("duration", 0) / 1000
  except Exception as error:
    # As of an image: a damaged file can make a decoder raise almost anything.
    reason = files.reason(error)
    raise Unreadable(f"{path} cannot be read: {reason}") from error


def _open_video(path):
  try:
    files.open_regular(path, largest=_LARGEST).close()
  except OSError as error:
    raise Unreadable(f"{path} cannot be read: {files.reason(error)}") from error
  # An absolute path is never taken for an address.
  capture = cv2.VideoCapture(os.path.abspath(path), cv2.CAP_FFMPEG)
  if not capture.isOpened():
    raise Unreadable(f"{path} cannot be read: it is no video, or damaged")
  return capture


def _video(path):
  """Yields the frames of a video; warns of one that ends early."""
  capture = _open_video(path)
  try:
    promised, number = capture.get(cv2.CAP_PROP_FRAME_COUNT), 0
    while (image := _next(capture, path)) is not None:
      seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
      known = math.isfinite(seconds)
      yield ClipFrame(number, seconds if known else None, image)
      number += 1
  finally:
    capture.release()
  # Where the index was lost, the count is a guess from the length.
  if 0 < number < 0.95 * promised:
    logger.warning(
      "%s ends after %d of %d frames: it was cut off, or is damaged.",
      path,
      number,
      promised,
    )


def _next(capture, path):
  """Decodes the next frame, uint8 [h, w, 3]; None at the end."""
  try:
    good, image = capture.read()
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if good else None
  except (cv2.error, MemoryError) as error:
    reason = files.reason(error)
    raise Unreadable(f"{path} cannot be read: {reason}") from error


def rate(path):
  """Gives the frames of a clip in a second: 10 of pages, 25 if unknown."""
  if os.path.splitext(path)[1].lower() in PAGED:
    return 10.0
  capture = _open_video(path)
  found = capture.get(cv2.CAP_PROP_FPS)
  capture.release()
  return found if 1 <= found <= 240 else 25.0


def length(path):
  """Reads how many frames a clip says it has; 0 where it does not say."""
  try:
    if os.path.splitext(path)[1].lower() in PAGED:
      with _open_pages(path) as image:
        return getattr(image, "n_frames", 1)
    capture = _open_video(path)
  except Exception:
    return 0  # `frames` says what is wrong.
  count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
  capture.release()
  return int(count) if 0 <= count < 2**31 else 0


def read_clip(path, frame, *, numbers=None, size=_BATCH):
  """Reads the frames of a clip as they are loaded for the network.

  Args:
    path: of the clip.
    frame: `geometry.Frame`.
    numbers: set of the frames to load; by default all.
    size: frames in a batch.

  Yields:
    (`image_files.Batch`, whose index has the numbers of the frames; list of
    their seconds).

  Raises:
    Unreadable: as `frames`.
  """
  wanted = frames(path)
  if numbers is not None:
    last = max(numbers)
    wanted = itertools.takewhile(lambda f: f.number <= last, wanted)
    wanted = (f for f in wanted if f.number in numbers)
  while part := list(itertools.islice(_loaded(wanted, frame), size)):
    index, seconds, images, sizes = zip(*part)
    yield (
      image_files.Batch(
        np.array(index, np.int64), np.stack(images), np.array(sizes), {}
      ),
      list(seconds),
    )


def _loaded(wanted, frame):
  """Yields (number, seconds, loaded image, (width, height)), one at a time."""
  for number, seconds, image in wanted:
    yield number, seconds, *image_files.load(image, frame)


def read_all(files, frame, size):
  """Reads images, and all frames of the clips among them, in order.

  Args:
    files: as of `image_files.read_batches`.
    frame: `geometry.Frame`.
    size: images in a batch.

  Yields:
    (`image_files.Batch`, frames): its index is into files; frames is None of
    images, else a list of the (number, seconds) of the rows.
  """
  for clip, run in itertools.groupby(
    range(len(files)), lambda i: is_clip(files[i])
  ):
    run = np.array([*run])
    if not clip:
      parts = (run[i : i + size] for i in range(0, len(run), size))
      for batch in image_files.read_batches(files, frame, parts):
        yield batch, None
      continue
    for i in run:
      try:
        for batch, seconds in read_clip(files[i], frame, size=size):
          numbers = batch.index.tolist()
          batch = batch._replace(index=np.full(len(numbers), i))
          yield batch, list(zip(numbers, seconds, strict=True))
      except Unreadable as error:
        black = np.zeros((1, *(frame.load_size,) * 2, 3), np.uint8)
        sizes = np.ones((1, 2), np.int32)
        yield image_files.Batch(np.array([i]), black, sizes, {0: error}), None


def read_stills(stills, frame):
  """Reads frames of clips, those of a clip one after another in the list.

  Args:
    stills: list of `Still`.
    frame: `geometry.Frame`.

  Yields:
    `image_files.Batch`, whose index is into the list; frames that a clip does
    not have are left out.

  Raises:
    Unreadable: a clip is damaged, or has no frames.
  """
  place = {still: i for i, still in enumerate(stills)}
  for path, group in itertools.groupby(stills, lambda still: still.path):
    numbers = {still.number for still in group}
    for batch, _ in read_clip(path, frame, numbers=numbers):
      index = [place[Still(path, number)] for number in batch.index.tolist()]
      yield batch._replace(index=np.array(index, np.int64))


def count(path):
  """Counts the frames of a clip by decoding it; raises `Unreadable`."""
  return sum(1 for _ in frames(path))
