"""Passes decoded images through tf.data. This module imports TensorFlow.

The files are read by `image_files`, not by TensorFlow: that takes less time
(`benchmarks/input.py`), and `predict`, which does without TensorFlow, sees the
same pixels.
"""

import atexit
import contextlib
import os

from c3_jax.errors import UserError

# Silences TensorFlow's notes; no log level silences the one on oneDNN.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
try:
  import tensorflow as tf
except ModuleNotFoundError as error:
  raise UserError(
    "tensorflow is not installed, which streams this dataset: install it, set "
    "config.data.cache=True, or train from a file of c3_jax.pack with "
    "--config.data.name=packed."
  ) from error

# TensorFlow would take the accelerator's memory from JAX. It refuses once
# initialised; the caller must then hide the GPUs itself.
with contextlib.suppress(RuntimeError):
  tf.config.set_visible_devices([], "GPU")


def prefetch(batches):
  """Makes a tf.data pipeline of batches, and runs it ahead of its consumer.

  Args:
    batches: function that gives an iterator of (index, images, good): int64
      [b], uint8 [b, S, S, 3], bool [b].

  Yields:
    The same, read-only.
  """

  def run():
    try:
      yield from batches()
    except RuntimeError as error:
      # A pool of threads takes no more tasks while the interpreter exits.
      if "interpreter shutdown" not in str(error):
        raise

  signature = (
    tf.TensorSpec([None], tf.int64),
    tf.TensorSpec([None, None, None, 3], tf.uint8),
    tf.TensorSpec([None], tf.bool),
  )
  dataset = tf.data.Dataset.from_generator(run, output_signature=signature)
  held = [dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()]
  # TensorFlow's threads call Python: left to run at exit, they hang it.
  stop, unregister = atexit.register(held.clear), atexit.unregister
  try:
    while (batch := next(held[0], None)) is not None:
      yield batch
  finally:
    held.clear()
    unregister(stop)
