"""Picture files without TensorFlow: what the tf.data pipeline makes of them.

`data.pipeline` takes the largest central square of a file, scales it to
load_size with an antialiased triangle filter, and the network sees the central
image_size of that. Here the same pixels come from Pillow in one step. As
there, the orientation tag of EXIF and transparency are ignored.
"""

import numpy as np
from PIL import Image

from c3_jax.errors import UserError


class Unreadable(UserError):
  """A file that is no picture, or a damaged one."""


def frame(file_size, *, image_size, load_size):
  """The part of a file that the network sees.

  Args:
    file_size: (width, height) in pixels.
    image_size: side of the model frame in pixels.
    load_size: side of the loaded picture in pixels, at least image_size.

  Returns:
    (left, top, right, bottom), the edges in pixels of the file, 0 = the outer
    edge of the first pixel.
  """
  width, height = file_size
  side = min(width, height) * image_size / load_size
  left, top = (width - side) / 2, (height - side) / 2
  return left, top, left + side, top + side


def to_file(points, box):
  """Points of the frame in pixels of the file.

  Args:
    points: [..., 2], (x, y) in [-1, 1] of the frame.
    box: of `frame`.

  Returns:
    [..., 2], 0 = centre of the first pixel.
  """
  left, top, right, bottom = box
  scale = np.array([right - left, bottom - top]) / 2
  return (np.asarray(points, np.float64) + 1) * scale + [left, top] - 0.5


def to_frame(pixels, box):
  """Inverse of `to_file`."""
  left, top, right, bottom = box
  scale = np.array([right - left, bottom - top]) / 2
  return (np.asarray(pixels, np.float64) + 0.5 - [left, top]) / scale - 1


def read(path, *, image_size, load_size):
  """Reads one file as the network sees it.

  Args:
    path: of a file in any format that Pillow reads.
    image_size, load_size: as in `frame`.

  Returns:
    (image, size): uint8 [image_size, image_size, 3], and (width, height) of
    the file.

  Raises:
    Unreadable: says why.
  """
  picture = decode(path)
  box = frame(picture.size, image_size=image_size, load_size=load_size)
  # In floats, as TensorFlow does: on bytes Pillow rounds between the two axes.
  channels = [
    channel.convert("F").resize(
      (image_size, image_size), Image.Resampling.BILINEAR, box
    )
    for channel in picture.split()
  ]
  image = np.stack([np.asarray(channel) for channel in channels], -1)
  return np.rint(image).clip(0, 255).astype(np.uint8), picture.size


def decode(path):
  """The picture of a file, an RGB `PIL.Image` as it is stored.

  Raises:
    Unreadable: says why.
  """
  try:
    with Image.open(path) as picture:
      if picture.mode.startswith("I"):
        # 16 bits a pixel: Pillow would clip them to 255.
        grey = np.asarray(picture, np.int64).clip(0, 65535) >> 8
        picture = Image.fromarray(grey.astype(np.uint8))
      return picture.convert("RGB")
  except Exception as error:
    # Whatever a damaged file makes a decoder stumble over: OSError,
    # SyntaxError, struct.error, zlib.error, DecompressionBombError ...
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise Unreadable(f"{path} cannot be read: {reason}") from error
