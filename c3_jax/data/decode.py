"""Picture files for tf.data; and TensorFlow itself.

They are read by `photos`, not by TensorFlow: that takes less time
(`benchmarks/input.py`), and `predict`, which does without TensorFlow, sees the
same pixels.
"""

import contextlib
import os

import numpy as np

from c3_jax.data import image_files
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


def load(files, load_size, *, crop="square"):
  """Decodes files, crops and resizes them.

  Args:
    files: n file names or open binary files, of any format that Pillow reads.
    load_size: side of the loaded picture in pixels.
    crop: rule of `arrays.crop_box`.

  Returns:
    (images, sizes, good): uint8 [g, S, S, 3] and int32 [g, 2] = (width, height)
    of the g files that hold a picture, and bool [n], which do.
  """
  images = np.empty((len(files), load_size, load_size, 3), np.uint8)
  sizes, good = [], np.zeros(len(files), bool)
  for i, file in enumerate(files):
    with contextlib.suppress(image_files.Unreadable):
      images[len(sizes)], size = image_files.load(file, load_size, crop)
      sizes.append(size)
      good[i] = True
  return images[: len(sizes)], np.int32(sizes).reshape(-1, 2), good
