"""The function that is exported, what it takes and gives, and a comparison."""

import jax
import jax.numpy as jnp
import numpy as np

from c3_jax.data import frame_of
from c3_jax.errors import UserError
from c3_jax.evaluation.detect import confidence
from c3_jax.models import c3

DTYPES = ("uint8", "float32")
TOLERANCE = 1e-4  # Of the side of the frame, and of a confidence.


def detector(trained):
  """Makes the function images -> (points, confidence) of a `runs.Trained`.

  Images are [n, S, S, 3] in [0, 255], of any dtype; points [n, k, 2] in [-1, 1]
  and confidence [n, k] in [0, 1] are float32. So is the computation, whatever
  dtype the network was trained in.
  """
  config = trained.config.copy_and_resolve_references()
  with config.unlocked():
    config.model.dtype = "float32"
  model = c3.from_config(config)

  def detect(images):
    images = images.astype(jnp.float32) / 255
    # TPUs and some GPUs would round to fewer digits.
    with jax.default_matmul_precision("float32"):
      pose = model.apply(trained.variables, images, method=c3.C3.detect)
    return pose.points, confidence(pose.points, pose.probability)

  return detect


def describe(trained, dtype):
  """Describes what `detector` takes and gives: a plain dict, for any format."""
  config, frame = trained.config, frame_of(trained.config)
  size = frame.image_size
  return {
    "made_by": "c3_jax",
    "dataset": config.data.name,
    "step": int(trained.step),
    "k": config.model.k,
    "images": f"RGB, {dtype} [n, {size}, {size}, 3] in [0, 255]",
    "frame": frame._asdict(),
    "points": "float32 [n, k, 2], (x, y) in [-1, 1] of the outer edges",
    "confidence": "float32 [n, k] in [0, 1]",
  }


def random_images(n, size, dtype, *, seed=0):
  """Draws n images [n, size, size, 3], half of them noise, half smooth."""
  rng = np.random.default_rng(seed)
  noise = rng.integers(0, 256, (n - n // 2, size, size, 3))
  coarse = rng.integers(0, 256, (n // 2, -(-size // 8), -(-size // 8), 3))
  smooth = coarse.repeat(8, 1).repeat(8, 2)[:, :size, :size]
  return np.concatenate([noise, smooth]).astype(dtype)


def compare(exported, expected, size, dtype, *, what):
  """Compares an exported function with `detector` on random images.

  Args:
    exported, expected: functions images -> (points, confidence).
    size, dtype: of the images.
    what: name of the exported, for the message.

  Returns:
    The largest distance of two landmarks, in sides of the frame.

  Raises:
    UserError: it is larger than `TOLERANCE`, or a confidence differs by that.
  """
  far, images = 0.0, random_images(4, size, dtype)
  want = [np.asarray(x) for x in jax.jit(expected)(images)]
  for n in (4, 1):  # The number of images is free.
    ours = [np.asarray(x) for x in exported(images[:n])]
    theirs = [x[:n] for x in want]
    # Coordinates span two units.
    distance = np.linalg.norm(ours[0] - theirs[0], axis=-1).max() / 2
    gap = max(distance, np.abs(ours[1] - theirs[1]).max())
    if not gap <= TOLERANCE:
      raise UserError(
        f"the {what} model differs from JAX by {gap:.1e} of the side, more "
        f"than {TOLERANCE:.0e}, and is not written: try another --format."
      )
    far = max(far, float(distance))
  return far
