"""Picture files by Pillow: decode, take a box, resize.

The tf.data pipeline loads the box of a crop rule at load_size; the network sees
the central image_size of that, the frame, which `read` takes in one step. The
orientation tag of EXIF and transparency are ignored: points are pixels of the
file as stored.
"""

import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from c3_jax.data import arrays
from c3_jax.errors import UserError

SLACK = 1e-6  # Pixels: rounding of a box that ends at the picture's edge.


class Unreadable(UserError):
  """A file that is no picture, or a damaged one."""


class Frame(NamedTuple):
  """Which part of a file a network sees.

  Attributes:
    image_size: side of the frame in pixels.
    load_size: side of the loaded picture in pixels, at least image_size.
    crop: rule of `arrays.crop_box`, what is loaded of a file.
  """

  image_size: int
  load_size: int
  crop: str

  @classmethod
  def of(cls, config):
    """That of a run's config.

    Raises:
      UserError: the config is of a version that does not say.
    """
    data = config.data
    try:
      # Listed pairs are seen whole.
      crop = "imm" if data.name == "pf_pascal" else data.crop
      return cls(data.image_size, data.load_size, crop)
    except AttributeError as error:
      raise UserError(
        f"config.json of the run is of another version ({error}): use the "
        "version of c3_jax it was trained with."
      ) from error

  def box(self, file_size):
    """The frame in a file of (width, height) pixels.

    Returns:
      (left, top, right, bottom) in pixels of the file, 0 = the outer edge of
      the first one.
    """
    left, top, width, height = arrays.crop_box(self.crop, *file_size)
    share = self.image_size / self.load_size
    left += width * (1 - share) / 2
    top += height * (1 - share) / 2
    return left, top, left + width * share, top + height * share

  def to_file(self, points, file_size):
    """Points [.., P, 2] in [-1, 1] of the frame in pixels of the file.

    0 is the centre of the file's first pixel.
    """
    return arrays.points_to_file(
      np.asarray(points, np.float64),
      file_size,
      self.image_size,
      self.load_size,
      self.crop,
    )


def read(path, frame):
  """Reads one file as the network sees it.

  Args:
    path: of a file in any format that Pillow reads, or an open binary file.
    frame: `Frame`.

  Returns:
    (image, size): uint8 [image_size, image_size, 3], and (width, height) of
    the file.

  Raises:
    Unreadable: says why.
  """
  picture = decode(path)
  size, side = picture.size, (frame.image_size, frame.image_size)
  picture, box = _inside(picture, frame.box(size))
  return np.asarray(picture.resize(side, Image.Resampling.BILINEAR, box)), size


def _inside(picture, box):
  """(picture, box), with black around the picture where the box juts out."""
  left, top = (min(0, math.floor(x + SLACK)) for x in box[:2])
  right, bottom = (
    max(n, math.ceil(x - SLACK)) for n, x in zip(picture.size, box[2:])
  )
  if (left, top, right, bottom) != (0, 0, *picture.size):
    picture = picture.crop((left, top, right, bottom))
  limits = np.array([*picture.size] * 2, float)
  box = np.subtract(box, [left, top] * 2).clip(0, limits)
  return picture, tuple(box.tolist())


def decode(path):
  """The picture of a file, an RGB `PIL.Image` as it is stored.

  Args:
    path: of the file, or an open binary file.

  Raises:
    Unreadable: says why.
  """
  try:
    with Image.open(path) as picture:
      if picture.mode.startswith("I"):
        # 16 bits a pixel: Pillow would clip them to 255.
        grey = np.asarray(picture, np.int64).clip(0, 65535) >> 8
        picture = Image.fromarray(grey.astype(np.uint8))
      picture.load()
      return picture if picture.mode == "RGB" else picture.convert("RGB")
  except Exception as error:
    # Whatever a damaged file makes a decoder stumble over: OSError,
    # SyntaxError, struct.error, zlib.error, DecompressionBombError ...
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise Unreadable(f"{path} cannot be read: {reason}") from error
