"""Landmarks drawn over an image file."""

import os

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from c3_jax.data import image_files
from c3_jax.figures.canvas import landmark_colours
from c3_jax.runtime.output import SOFTWARE, Output, is_our_png

# Small images are enlarged, large ones reduced, to be looked at.
SMALLEST, LARGEST = 320, 1280
OUTLINE = (32, 32, 32)


def save(source, target, landmarks, points=None, *, overwrite=False):
  """Draws landmarks over a file and writes a PNG: whole, or not at all.

  Args:
    source: the image file; drawn as it is stored, whatever EXIF says.
    target: the PNG to write; its folder is made.
    landmarks: [K, 2] in pixels of the file: dots in the figures' colours.
    points: [P, 2], likewise, or None: white circles.
    overwrite: whether it may replace what is no overlay.

  Raises:
    UserError: the source cannot be read, or another file is at the target.
  """
  image = Image.fromarray(image_files.decode(source))
  scale = _scale(max(image.size))
  # 0 is the centre of the first pixel; ImageDraw's 0 is, too.
  place = lambda xy: (np.asarray(xy) + 0.5) * scale - 0.5  # noqa: E731
  if scale != 1:
    size = tuple(max(1, round(side * scale)) for side in image.size)
    image = image.resize(size, Image.Resampling.BICUBIC)
  draw = ImageDraw.Draw(image)
  radius = max(2.5, max(image.size) / 120)
  colours = np.rint(255 * landmark_colours(len(landmarks))).astype(int)
  for xy, colour in zip(place(landmarks), colours.tolist(), strict=True):
    draw.circle(xy.tolist(), radius, fill=tuple(colour), outline=OUTLINE)
  for xy in [] if points is None else place(points):
    draw.circle(xy.tolist(), radius + 1, outline="white", width=2)
  os.makedirs(os.path.dirname(target), exist_ok=True)
  output = Output(target, is_our_png, overwrite=overwrite, flag="--overlay")
  about = PngImagePlugin.PngInfo()
  about.add_text("Software", SOFTWARE)
  with output.open() as file:
    image.save(file, "PNG", compress_level=1, pnginfo=about)


def _scale(side):
  """Gives the factor by which an image of this longer side is enlarged."""
  if side < SMALLEST:
    return -(-SMALLEST // side)
  return min(1.0, LARGEST / side)
