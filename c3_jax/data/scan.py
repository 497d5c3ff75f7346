"""A list of picture files becomes a dataset: every file is tried once."""

import logging
import os
import time

import numpy as np

from c3_jax import geometry
from c3_jax.data import in_memory, streaming
from c3_jax.errors import UserError

logger = logging.getLogger(__name__)

_LOG_SECONDS = 5


def scan(
  paths,
  *,
  image_size,
  load_size,
  pixels=None,
  names=None,
  cache=True,
  crop="square",
  pixels_size=None,
  reader=None,
):
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
    crop: rule of `geometry.crop_box`.
    pixels_size: (width, height), or [n, 2] of them, of the pictures that
      `pixels` was measured on, where that is another scale of the files.
    reader: function index -> bytes that stands in for the files, or None.

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
  for batch in streaming.read(
    paths, load_size=load_size, crop=crop, reader=reader
  ):
    if cache:
      images[len(good) : len(good) + len(batch["index"])] = batch["image"]
    good.extend(batch["index"].tolist())
    sizes.append(batch["file_size"])
    if time.monotonic() - logged > _LOG_SECONDS:
      logged = time.monotonic()
      logger.info("Decoded %d of %d images.", good[-1] + 1, n)
  streaming.check_broken(paths, good)
  logger.info(
    "Decoded %d images in %.1f s.", len(good), time.monotonic() - start
  )

  names = paths if names is None else names
  names = [str(names[i]) for i in good]
  points = None
  if pixels is not None:
    sizes = np.concatenate(sizes)
    if pixels_size is not None:
      sizes = np.broadcast_to(pixels_size, (n, 2))[good]
    points = geometry.Frame(image_size, load_size, crop).file_to_coords(
      np.asarray(pixels)[good], sizes
    )
  if cache:
    return in_memory.ArrayDataset(
      images[: len(good)], points, names, image_size=image_size
    )
  return streaming.StreamingDataset(
    [paths[i] for i in good],
    load_size=load_size,
    image_size=image_size,
    points=points,
    names=names,
    crop=crop,
    reader=reader and (lambda i: reader(good[i])),
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
