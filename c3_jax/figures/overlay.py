"""Landmarks drawn over an image file, or over the frames of a clip."""

import os
import shutil
import tempfile

import cv2
import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from c3_jax.data import image_files, video
from c3_jax.figures.canvas import landmark_colours
from c3_jax.runtime.files import open_regular
from c3_jax.runtime.output import SOFTWARE, Output, is_our_png

# Small images are enlarged, large ones reduced, to be looked at.
SMALLEST, LARGEST = 320, 1280
OUTLINE = (32, 32, 32)

_CODE = cv2.VideoWriter_fourcc(*"mp4v")
# An empty box that players pass over; it ends the clips that are drawn here.
_OURS = b"\0\0\0\x0efreec3_jax"


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
  image = _drawn(image_files.decode(source), landmarks, points)
  os.makedirs(os.path.dirname(target), exist_ok=True)
  output = Output(target, is_our_png, overwrite=overwrite, flag="--overlay")
  about = PngImagePlugin.PngInfo()
  about.add_text("Software", SOFTWARE)
  with output.open() as file:
    image.save(file, "PNG", compress_level=1, pnginfo=about)


def save_clip(source, target, track, *, overwrite=False):
  """Draws landmarks over the frames of a clip: a video, or none at all.

  Args:
    source: the clip.
    target: the MP4 file to write; its folder is made.
    track: list of (landmarks, points), as of `save`, of its frames in order.
    overwrite: whether it may replace what is no overlay.

  Raises:
    UserError: the source cannot be read, or another file is at the target.
  """
  os.makedirs(os.path.dirname(target), exist_ok=True)
  output = Output(target, _is_our_clip, overwrite=overwrite, flag="--overlay")
  output.check()
  with tempfile.TemporaryDirectory() as folder:
    part = os.path.join(folder, "part.mp4")
    _write_clip(part, source, track)
    with output.open() as file, open(part, "rb") as drawn:
      shutil.copyfileobj(drawn, file)
      file.write(_OURS)


def _write_clip(path, source, track):
  """Writes the frames of a clip with landmarks to an MP4 file."""
  rate, writer = video.rate(source), None
  for frame, (landmarks, points) in zip(video.frames(source), track):
    image = np.asarray(_drawn(frame.image, landmarks, points))
    # The coder takes even sides.
    image = image[: len(image) // 2 * 2, : image.shape[1] // 2 * 2]
    if writer is None:
      size = image.shape[1::-1]
      writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, _CODE, rate, size)
    if image.shape[1::-1] != size:  # Pages may differ.
      image = cv2.resize(image, size)
    writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
  writer.release()


def _is_our_clip(path):
  with open_regular(path, largest=2**50) as file:
    file.seek(-min(len(_OURS), os.path.getsize(path)), os.SEEK_END)
    return file.read() == _OURS


def _drawn(image, landmarks, points):
  """Draws landmarks over an image, uint8 [h, w, 3]: a PIL image."""
  image = Image.fromarray(image)
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
  return image


def _scale(side):
  """Gives the factor by which an image of this longer side is enlarged."""
  if side < SMALLEST:
    return -(-SMALLEST // side)
  return min(1.0, LARGEST / side)
