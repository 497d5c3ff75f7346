"""Makes a dataset of a list of image files: every file is tried once."""

import logging
import os
import time

import numpy as np

from c3_jax.data import broken, image_files, in_memory, streaming, video
from c3_jax.errors import UserError

logger = logging.getLogger(__name__)

_LOG_SECONDS = 5
BORDER = 0.02  # Of the side: so far a point may lie outside its image.


def scan(
  paths,
  frame,
  *,
  pixels=None,
  names=None,
  cache=True,
  pixels_size=None,
  late=False,
  **options,
):
  """Decodes every file once, leaves out the broken ones, makes a dataset.

  Broken files are named in the log. A few are skipped: see `broken`.

  Args:
    paths: list of n file names, or with the cache `video.Still` after them.
    frame: `geometry.Frame`.
    pixels: [n, P, 2] annotated points in pixels of each file, 0 = centre of
      the first pixel, or None. NaN where a point is missing, as is one outside
      its image.
    names: list of n str; by default the paths.
    cache: keep the decoded images in memory.
    pixels_size: (width, height), or [n, 2] of them, of the images that
      `pixels` was measured on, where that is another scale of the files.
    late: without the cache decode nothing yet, and find broken files as they
      come; for millions of files.
    **options: reader and tf_data of `StreamingDataset`.

  Returns:
    ArrayDataset if cache, else StreamingDataset, of the good files in order.

  Raises:
    UserError: if too many files are broken, none is usable, or the cache
      would not fit into memory.
  """
  if late and not cache:
    return streaming.StreamingDataset(paths, frame, names=names, **options)
  reader = options.get("reader")
  images, sizes, good = read_good(paths, frame, keep=cache, reader=reader)
  names = paths if names is None else names
  names = [str(names[i]) for i in good]
  seen, points = float(frame.seen(sizes).mean()), None
  if pixels is not None:
    of = sizes
    if pixels_size is not None:
      of = np.broadcast_to(pixels_size, (len(paths), 2))[good]
    pixels = _inside(np.asarray(pixels, np.float64)[good], of, names)
    points = frame.file_to_coords(pixels, of)
  if cache:
    dataset = in_memory.ArrayDataset(
      images, points, names, image_size=frame.image_size
    )
  else:
    if reader:
      options["reader"] = lambda i: reader(good[i])
    dataset = streaming.StreamingDataset(
      [paths[i] for i in good], frame, points=points, names=names, **options
    )
  dataset.seen, dataset.sizes = seen, sizes
  return dataset


def _inside(pixels, sizes, names):
  """Takes points [n, P, 2] outside their images as missing: NaN, and says so.

  Raises:
    UserError: most of the points lie outside.
  """
  sizes = np.asarray(sizes, np.float64)[:, None]
  margin = 0.5 + BORDER * sizes
  outside = ((pixels < -margin) | (pixels > sizes - 1 + margin)).any(-1)
  gone = outside | np.isnan(pixels).any(-1)
  if not gone.any():
    return pixels
  first = names[int(np.argmax(gone.any(1)))]
  if outside.sum() > (~gone).sum():
    raise UserError(
      f"most annotated points lie outside their images, {first} the first: "
      "give pixels of these files, 0 = centre of the first."
    )
  logger.warning(
    "%d of %d annotated points are missing, %d of them outside their images; "
    "the other points of these images serve. The first is %s.",
    gone.sum(),
    gone.size,
    outside.sum(),
    first,
  )
  return np.where(gone[..., None], np.nan, pixels)


def read_good(paths, frame, *, keep=True, reader=None):
  """Decodes every file once; logs the broken ones and leaves them out.

  Takes paths, frame and reader as `image_files.read_batches` does.

  Returns:
    (images, sizes, good): uint8 [g, S, S, 3], or None without `keep`; int32
    [g, 2] as (width, height); and list of g indices of the good files.

  Raises:
    UserError: as `scan`.
  """
  n, good, sizes = len(paths), [], []
  images = _allocate(n, frame.load_size) if keep else None
  start = logged = time.monotonic()
  for batch in _read(paths, frame, reader):
    ok = batch.good
    if keep:
      images[len(good) : len(good) + ok.sum()] = batch.images[ok]
    good.extend(batch.index[ok].tolist())
    sizes.append(batch.sizes[ok])
    if time.monotonic() - logged > _LOG_SECONDS:
      logged = time.monotonic()
      logger.info("Decoded %d of %d images.", batch.index[-1] + 1, n)
  broken.check(paths, good)
  logger.info(
    "Decoded %d images in %.1f s.", len(good), time.monotonic() - start
  )
  return images[: len(good)] if keep else None, np.concatenate(sizes), good


def _read(paths, frame, reader):
  """Yields `image_files.Batch` of files, then of the stills after them."""
  n = next((i for i, x in enumerate(paths) if isinstance(x, video.Still)), None)
  if n != 0:
    yield from image_files.read_batches(paths[:n], frame, reader=reader)
  if n is not None:
    for batch in video.read_stills(paths[n:], frame):
      yield batch._replace(index=batch.index + n)


def _allocate(n, load_size):
  shape = (n, load_size, load_size, 3)
  memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
  if np.prod(shape, dtype=float) > memory:
    raise UserError(
      f"{n} images of {load_size} x {load_size} do not fit into memory; set "
      "config.data.cache=False to decode them as they are needed."
    )
  return np.empty(shape, np.uint8)
