"""One picture file in tf.data, by Pillow: the op, and TensorFlow itself.

Pillow takes less time than TensorFlow's exact JPEG transform and antialiased
resize (`benchmarks/input.py`), and `predict`, which does without TensorFlow,
sees the same pixels.
"""

import contextlib
import io
import os

import numpy as np

from c3_jax import photos
from c3_jax.errors import UserError

# Silences TensorFlow's notes; that on oneDNN goes by no log level.
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


def load(data, load_size, *, crop="square"):
  """Decodes one file, crops and resizes it.

  Args:
    data: bytes of a file of any format that Pillow reads.
    load_size: side of the loaded picture in pixels.
    crop: rule of `arrays.crop_box`.

  Returns:
    (image, size): uint8 [S, S, 3] and int32 [2] = (width, height) of the file;
    size 0 where there is no picture in it.
  """
  whole = photos.Frame(image_size=load_size, load_size=load_size, crop=crop)
  try:
    image, size = photos.read(io.BytesIO(data), whole)
  except photos.Unreadable:
    return np.zeros((load_size, load_size, 3), np.uint8), np.int32([0, 0])
  return image, np.int32(size)


def load_op(data, load_size, *, crop="square"):
  """`load` of a scalar string tensor, for `tf.data.Dataset.map`.

  TensorFlow would print an exception, whatever the log level: there is none.
  """
  image, size = tf.numpy_function(
    lambda data: load(data, load_size, crop=crop),
    [data],
    [tf.uint8, tf.int32],
    stateful=False,
  )
  image = tf.ensure_shape(image, [load_size, load_size, 3])
  return image, tf.ensure_shape(size, [2])
