"""The examples of a seed: synthetic faces, drawn when they are asked for."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from c3_jax.data.synthetic.drawing import Appearance, render
from c3_jax.data.synthetic.head import HeadPose, landmarks
from c3_jax.errors import UserError

SPLITS = ("train", "fit", "test")
_POSES = 512  # Drawn at once.

# A random mixture of two neighbours is drawn.
_SKIN = ("#ffe0c4", "#f1c29b", "#e0ac78", "#be8255", "#8d5534", "#5a3826")
_HAIR = ("#1c181c", "#462a1c", "#824e2a", "#be5028", "#ebc36e", "#e1e1e1")
_EYES = ("#462819", "#785028", "#3c8250", "#3c78c8")


def sample_pose(key):
  """Draws a `HeadPose`: uniform, independent; a third of the mouths is shut.

  Within these ranges all five landmarks face the camera and lie in the frame.
  """
  keys = iter(jax.random.split(key, 7))

  def uniform(low, high, shape=()):
    return jax.random.uniform(next(keys), shape, minval=low, maxval=high)

  return HeadPose(
    yaw=uniform(-0.45, 0.45),
    roll=uniform(-0.44, 0.44),
    scale=uniform(0.85, 1.15),
    shift=uniform(-0.24, 0.24, (2,)),
    smile=uniform(-0.2, 1.0),
    mouth_open=jnp.maximum(uniform(-0.5, 1.0), 0),
    brow_raise=uniform(-0.8, 1.0),
  )


def _mixture(key, palette):
  """Mixes two neighbouring colours of `palette`: [3] in [0, 1]."""
  palette = [tuple(bytes.fromhex(colour[1:])) for colour in palette]
  palette = jnp.array(palette, jnp.float32) / 255
  at = jax.random.uniform(key, maxval=len(palette) - 1)
  low = jnp.floor(at).astype(jnp.int32)
  return palette[low] + (at - low) * (palette[low + 1] - palette[low])


def _muted(key):
  """Draws a greyish colour, any hue, brightness in [0.25, 0.75]: [3]."""
  keys = jax.random.split(key)
  grey = jax.random.uniform(keys[0], minval=0.25, maxval=0.75)
  tint = jax.random.uniform(keys[1], (3,), minval=-0.06, maxval=0.06)
  return grey + tint


def sample_appearance(key):
  """Draws an `Appearance`; its parts are independent.

  Colours vary less than a painter would like: a network that has to learn
  many colours first learns where things are much later.
  """
  keys = iter(jax.random.split(key, 32))

  def uniform(low, high):
    return jax.random.uniform(next(keys), minval=low, maxval=high)

  light = jnp.stack([uniform(-1, 1), uniform(-1.0, 0.6), 0.8])
  lips = jnp.stack([uniform(0.6, 0.9), uniform(0.2, 0.4), uniform(0.25, 0.45)])
  background = _muted(next(keys))
  return Appearance(
    skin=_mixture(next(keys), _SKIN),
    hair=_mixture(next(keys), _HAIR),
    eyes=_mixture(next(keys), _EYES),
    lips=lips,
    shirt=uniform(0.6, 0.9) * background,
    background=jnp.stack([background, background * uniform(0.8, 1.2)]),
    background_angle=uniform(-jnp.pi, jnp.pi),
    light=light / jnp.linalg.norm(light),
    light_strength=uniform(0.1, 0.35),
    hairline=uniform(-0.45, -0.35),
    hair_sides=uniform(-0.2, 0.0),
    hair_volume=uniform(0.04, 0.10),
    parting=uniform(-0.08, 0.08),
    eye_size=uniform(1.15, 1.4),
    brow_width=uniform(0.015, 0.035),
    blush=uniform(0.0, 0.8),
  )


def _stream(seed, split):
  """Derives the key of all examples of a split."""
  if split not in SPLITS:
    raise UserError(
      f"the synthetic faces have no split {split!r}: use one of {SPLITS}"
    )
  return jax.random.fold_in(jax.random.key(seed), SPLITS.index(split))


def _keys(key, index):
  """Derives the keys of an example's pose and of its appearance."""
  return jax.random.split(jax.random.fold_in(key, index))


@jax.jit
def _pose_batch(key, indices):
  """Draws (HeadPose, landmarks) of the examples `indices` [n] of a stream."""

  def example(index):
    pose = sample_pose(_keys(key, index)[0])
    return pose, landmarks(pose)

  return jax.vmap(example)(indices)


def posed(seed: int, *, split: str, n: int) -> tuple[HeadPose, np.ndarray]:
  """Gives ("pose", "points") of `dataset` without drawing an image."""
  key = _stream(seed, split)
  # Always whole batches: one compilation, and the same rounding whatever n.
  parts = [
    _pose_batch(key, np.arange(start, start + _POSES))
    for start in range(0, n, _POSES)
  ]
  return jax.tree.map(
    lambda *xs: np.concatenate(xs)[:n], *jax.device_get(parts)
  )


@functools.partial(jax.jit, static_argnames=("size",))
def _draw(key, indices, *, size, extent):
  """Draws the examples `indices` [n] of the stream `key`."""

  def example(index):
    pose_key, appearance_key = _keys(key, index)
    image = render(
      sample_pose(pose_key),
      sample_appearance(appearance_key),
      size=size,
      extent=extent,
    )
    return (image * 255 + 0.5).astype(jnp.uint8)

  return jax.vmap(example)(indices)


class Faces:
  """Images of a split, each drawn when it is first asked for.

  To NumPy an array, uint8 [n, load_size, load_size, 3]: `faces[index]` with an
  index as of an array, `np.asarray(faces)`. Image i depends on (seed, split, i,
  image_size, load_size) alone.

  Attributes:
    shape, dtype: of that array.
  """

  dtype = np.dtype(np.uint8)

  def __init__(self, seed, *, split, n, image_size, load_size, batch=64):
    """Draws nothing yet.

    Args:
      seed: int.
      split: "train", "fit" (for the regression) or "test": disjoint streams.
      n: number of faces.
      image_size: side of the model frame, the central part, in pixels.
      load_size: side of the images, >= image_size.
      batch: faces drawn at once; changes speed and memory only.

    Raises:
      UserError: on an unknown split, n < 1 or load_size < image_size.
    """
    if n < 1:
      raise UserError(f"{n} synthetic faces asked for: n must be at least 1")
    if load_size < image_size:
      raise UserError(
        f"load_size {load_size} is smaller than image_size {image_size}: make "
        "it at least as large"
      )
    self.shape = (n, load_size, load_size, 3)
    self._key, self._batch = _stream(seed, split), batch
    self._extent = load_size / image_size
    self._images = np.empty(self.shape, self.dtype)
    self._missing = np.ones(n, bool)

  def __len__(self):
    return len(self._images)

  def __getitem__(self, index):
    wanted = np.zeros(len(self), bool)
    wanted[index[0] if isinstance(index, tuple) else index] = True
    wanted = np.flatnonzero(wanted & self._missing)
    for start in range(0, len(wanted), self._batch):
      part = wanted[start : start + self._batch]
      # Always whole batches: one compilation, and the same rounding.
      whole = np.resize(part, self._batch)
      drawn = _draw(self._key, whole, size=self.shape[1], extent=self._extent)
      self._images[part] = jax.device_get(drawn)[: len(part)]
      self._missing[part] = False
    return self._images[index]

  def __array__(self, dtype=None, copy=None):
    return np.array(self[:], dtype, copy=copy)


def dataset(seed: int, *, split: str, n: int, **options: Any) -> dict[str, Any]:
  """Draws n faces of a split, as `Faces`, with what is known of them.

  Returns:
    A dict of NumPy arrays: "images"; "points" [n, 5, 2], float32, (x, y) in
    [-1, 1] of the model frame; "pose", a `HeadPose` with a leading axis n.
  """
  images = np.asarray(Faces(seed, split=split, n=n, **options))
  pose, points = posed(seed, split=split, n=n)
  return {"images": images, "points": points, "pose": pose}
