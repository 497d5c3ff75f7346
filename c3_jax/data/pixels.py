"""Turns the pixels of any image into 8 bits of red, green and blue.

- Grey, palettes, CMYK, YCbCr, LAB and the like: as Pillow converts them.
- Transparent: laid over a middle grey, so that the colours of what nobody sees
  do not count.
- More than 8 bits of grey or of a colour: 10, 12, 14 or 16 of them count, the
  fewest that hold the brightest pixel, since cameras put 12 bits into files of
  16; the highest 8 of these stay. Of alpha, all 16 count.
- Floats: 1 is white where nothing is above it, else 255, else as whole numbers.
"""

import re

import cv2
import numpy as np
from PIL import Image

BACKGROUND = 128
DEPTHS = (8, 10, 12, 14, 16, 24, 32)
# Pillow's names of 16 bits a colour, among the arguments of its decoders.
DEEP = re.compile("'(RGB|RGBA|LA);16[BLN]'")
_BAND = 2**22  # Pixels that are converted at once.


def to_rgb(image):
  """Converts a PIL image of any mode to uint8 [height, width, 3].

  Raises:
    ValueError: a pixel is not a finite number.
  """
  rgb = np.empty((*image.size[::-1], 3), np.uint8)
  deep = image.mode == "F" or image.mode.startswith("I")
  if deep:
    white = _white(max(np.asarray(band).max() for _, band in _bands(image)))
  for rows, band in _bands(image):
    if deep:
      rgb[rows] = _narrow(np.asarray(band), white)[..., None]
      # Of PNG: one shade that is transparent.
      if isinstance(key := image.info.get("transparency"), int):
        rgb[rows][np.asarray(band) == key] = BACKGROUND
    elif band.has_transparency_data:
      rgb[rows] = _opaque(band)
    else:
      rgb[rows] = band.convert("RGB")
  return rgb


def array_to_rgb(array):
  """Converts an array as a file of that mode would be.

  Args:
    array: uint8 or uint16, [h, w], [h, w, 3] or [h, w, 4].
  """
  if array.dtype == np.uint16:
    colours = array[..., :3] if array.ndim == 3 else array
    narrow = _narrow(colours, _white(colours.max(initial=0)))
    if array.shape[2:] == (4,):
      narrow = np.dstack([narrow, array[..., 3] >> 8]).astype(np.uint8)
    array = narrow
  return to_rgb(Image.fromarray(array))


def file_to_rgb(image, data):
  """Converts a PIL image, not loaded yet, whose file holds `data`.

  Of 16 bits a colour Pillow keeps 8: they are decoded by OpenCV, and dropped
  where their upper halves are not what Pillow has, which knows more of turned
  files and of alpha that was multiplied in.
  """
  if not DEEP.search(str(image.tile)):
    return to_rgb(image)
  upper = np.asarray(image)
  deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
  if deep is not None and deep.dtype == np.uint16 and deep.ndim == 3:
    deep = deep[..., [2, 1, 0, 3][: deep.shape[2]]]
    if np.array_equal(deep[..., : upper.shape[2]] >> 8, upper):
      return array_to_rgb(deep)
  return to_rgb(image)


def _bands(image):
  """Yields (rows, image of them) from top to bottom."""
  width, height = image.size
  rows = max(1, _BAND // max(1, width))
  if height <= rows:
    yield slice(height), image
    return
  for top in range(0, height, rows):
    bottom = min(top + rows, height)
    yield slice(top, bottom), image.crop((0, top, width, bottom))


def _white(brightest):
  """Gives the value that becomes white, by the brightest pixel."""
  if not np.isfinite(brightest):
    raise ValueError("a pixel is not a finite number")
  if isinstance(brightest, np.floating) and brightest <= 1:
    return 1
  bits = next(b for b in (*DEPTHS, 128) if brightest < 2**b)
  return 2**bits - 1


def _narrow(values, white):
  """Scales numbers so that white is 255: uint8; less than 0 is black."""
  if values.dtype.kind == "f":
    if not np.isfinite(values).all():
      raise ValueError("a pixel is not a finite number")
    return np.rint(values.clip(0, white) * (255 / white)).astype(np.uint8)
  shift = white.bit_length() - 8
  return (np.maximum(values, 0) >> shift).astype(np.uint8)


def _opaque(image):
  """Lays a transparent image over the background."""
  below = Image.new("RGBA", image.size, (BACKGROUND,) * 3 + (255,))
  return Image.alpha_composite(below, image.convert("RGBA")).convert("RGB")
