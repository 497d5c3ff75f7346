"""One picture file in TensorFlow: decode, crop, resize.

The orientation tag of EXIF is ignored: points are pixels of the file as
stored.
"""

import contextlib
import io
import os

import numpy as np
from PIL import Image

from c3_jax.data import arrays
from c3_jax.errors import UserError

# Silences TensorFlow's notes, and its errors on broken files without a name;
# the note on oneDNN goes by no log level.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
try:
  import tensorflow as tf
except ModuleNotFoundError as error:
  raise UserError(
    "tensorflow is not installed, which reads picture files: install it, or "
    "train from a file of c3_jax.pack with --config.data.name=packed."
  ) from error

# TensorFlow would take the accelerator's memory from JAX. It refuses once it
# has been used, and then it is the caller's to arrange.
with contextlib.suppress(RuntimeError):
  tf.config.set_visible_devices([], "GPU")


def load(data, load_size, *, crop="square", webp=False):
  """Decodes one file, crops and resizes it.

  Args:
    data: scalar string tensor, the bytes of a JPEG or PNG file.
    load_size: side of the loaded picture in pixels.
    crop: rule of `arrays.crop_box`.
    webp: the file may be WebP, too, which only Pillow decodes here, more
      slowly.

  Returns:
    (image, size): uint8 [S, S, 3] and int32 [2] = (width, height) of the file.
  """
  image = _decode_any(data) if webp else _decode(data)
  size = tf.shape(image)[1::-1]
  extent = tf.cast(size, tf.float32)
  left, top, width, height = arrays.crop_box(crop, extent[0], extent[1])
  scale = load_size / tf.stack([height, width])
  # tf.image.resize(antialias=True) is this op; used directly, it computes
  # nothing outside the box, whatever the aspect ratio.
  image = tf.raw_ops.ScaleAndTranslate(
    images=image[None],
    size=[load_size, load_size],
    scale=scale,
    translation=-tf.stack([top, left]) * scale,
    kernel_type="triangle",
    antialias=True,
  )[0]
  # A mean of grey levels needs no clipping; the cast cuts off the rest.
  image = tf.cast(image + 0.5, tf.uint8)
  return tf.ensure_shape(image, [load_size, load_size, 3]), size


def _decode(data):
  """JPEG or PNG bytes to uint8 [h, w, 3]."""
  # libjpeg writes a line to stderr about a file that is cut off before its
  # first scan, whatever the log level: such a file is turned away here. Files
  # that end as JPEG and PNG do are not searched, which would cost a copy.
  ending = tf.strings.substr(data, -2, 2)
  whole = tf.cond(
    tf.logical_or(ending == b"\xff\xd9", ending == b"\x60\x82"),
    lambda: True,
    lambda: _has_scan(data),
  )
  with tf.control_dependencies([tf.debugging.Assert(whole, ["cut off"])]):
    # Despite its name this op reads PNG too, and only it can be told not to
    # use the fast but inexact transform: 9 grey levels off at quality 95.
    return tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")


def _has_scan(data):
  """False for a JPEG without the marker that begins its compressed data."""
  scan = tf.shape(tf.strings.split(data, b"\xff\xda", maxsplit=1))[0] > 1
  return tf.logical_or(scan, tf.logical_not(tf.io.is_jpeg(data)))


def _decode_any(data):
  """As `_decode`; of WebP too."""

  def pillow():
    image = tf.numpy_function(_decode_pillow, [data], tf.uint8, stateful=False)
    return tf.ensure_shape(image, [None, None, 3])

  return tf.cond(
    tf.strings.substr(data, 8, 4) == b"WEBP", pillow, lambda: _decode(data)
  )


def _decode_pillow(data):
  return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
