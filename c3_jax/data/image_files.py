"""Picture files: decode, crop, resize.

Pillow knows the formats and says what is damaged; simplejpeg has the pixels of
JPEG files sooner, and the same; OpenCV resizes (`benchmarks/photos.py`). The
tf.data pipeline loads the box of a crop rule at load_size; the network sees the
central image_size of that, the frame. The orientation tag of EXIF and
transparency are ignored: points are pixels of the file as stored.
"""

import contextlib
import io
import os
import pathlib

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from c3_jax import geometry
from c3_jax.errors import UserError

# Files are read in as many threads as there are cores already.
cv2.setNumThreads(0)

# An axis that shrinks to less than this is averaged over. Above it bilinear
# samples pass over no pixel and blur less.
AVERAGED = 0.7

# Pixels of a box, which may be larger than its file; Pillow refuses files of
# more.
_LARGEST = 2 * 89_478_485


class Unreadable(UserError):
  """A file that is no picture, or a damaged one."""


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
  image, size = load(path, frame.load_size, frame.crop)
  return geometry.centre_crop(image[None], frame.image_size)[0], size


def load(path, load_size, crop):
  """Decodes one file, crops and resizes it.

  Args:
    path: of a file in any format that Pillow reads, or an open binary file.
    load_size: side of the loaded picture in pixels.
    crop: rule of `geometry.crop_box`.

  Returns:
    (image, size): uint8 [load_size, load_size, 3], black where the box ends
    below the file, and (width, height) of the file.

  Raises:
    Unreadable: says why.
  """
  image = decode(path)
  size = image.shape[1::-1]
  left, top, width, height = map(int, geometry.crop_box(crop, *size))
  if width * height > _LARGEST:
    raise Unreadable(
      f"{path} cannot be read: its box of {width} x {height} pixels has more "
      f"than {_LARGEST}"
    )
  image = image[top : top + height, left : left + width]
  below = height - len(image)
  if below > 0:
    image = np.pad(image, ((0, below), (0, 0), (0, 0)))
  return resize(image, load_size), size


def resize(image, side):
  """Scales an image, uint8 [h, w, 3], to side x side pixels."""
  size = image.shape[1::-1]
  # OpenCV's area is one only where no axis grows.
  averaged = tuple(side if side < AVERAGED * n else n for n in size)
  if averaged != size:
    image = cv2.resize(image, averaged, interpolation=cv2.INTER_AREA)
  return cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)


def decode(path):
  """The picture of a file as it is stored: uint8 [height, width, 3].

  Args:
    path: of the file, or an open binary file.

  Raises:
    Unreadable: says why.
  """
  try:
    named = isinstance(path, str | os.PathLike)
    data = pathlib.Path(path).read_bytes() if named else path.read()
    with Image.open(io.BytesIO(data)) as picture:
      if picture.format == "JPEG" and picture.mode in ("L", "RGB"):
        # Pillow is the judge of what simplejpeg finds damaged.
        with contextlib.suppress(ValueError):
          return simplejpeg.decode_jpeg(data)
      if picture.mode.startswith("I"):
        # 16 bits a pixel: Pillow would clip them to 255.
        grey = np.asarray(picture, np.int64).clip(0, 65535) >> 8
        picture = Image.fromarray(grey.astype(np.uint8))
      return np.asarray(picture.convert("RGB"))
  except Image.UnidentifiedImageError as error:
    raise Unreadable(
      f"{path} cannot be read: it holds no picture that Pillow knows"
    ) from error
  except Exception as error:
    # Whatever a damaged file makes a decoder stumble over: OSError,
    # SyntaxError, struct.error, zlib.error, DecompressionBombError ...
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    raise Unreadable(f"{path} cannot be read: {reason}") from error
