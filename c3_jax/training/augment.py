"""Augmentation on the accelerator: random warps and colours.

A warp is IMM's: an affine map plus a thin-plate spline with random weights on
a grid of control points. Standard deviations come as one table a view.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from c3_jax import geometry
from c3_jax.errors import UserError
from c3_jax.geometry import spline, warp

# IMM's weights along one axis of a frame of 128 px: none in the outer 10, then
# a smooth step over 20.
_STEP = 0.5 + 0.5 * np.tanh(np.linspace(-1, 1, 20) / 0.4)
IMM_STRIP = np.concatenate(
  [np.zeros(10), _STEP, np.ones(128 - 60), _STEP[::-1], np.zeros(10)]
)
MASKS = ("border", "imm")


@dataclass(frozen=True)
class Augmentation:
  """How a run warps and recolours its images.

  Attributes:
    target, source: tables, the keyword arguments of `sample_warp`, for the two
      views of a synthetic pair.
    natural: that of the images of natural pairs; None leaves them as they are.
    mask: where the perceptual distance of a synthetic pair counts; of `MASKS`.
    mask_margin: of `border_mask`, in coordinates.
    recolour: strength of `recolour` on what E_p sees of a synthetic pair.
  """

  target: Mapping
  source: Mapping
  natural: Mapping | None = None
  mask: str = "border"
  mask_margin: float = 0.15
  recolour: float = 0.0

  @classmethod
  def of(cls, options):
    """Reads `config.augment`.

    Raises:
      UserError: there is no such mask.
    """
    if options.mask not in MASKS:
      raise UserError(
        f"config.augment.mask={options.mask!r}: use {' or '.join(MASKS)}."
      )
    points = {"control_points": options.control_points}
    table = lambda view: options[view].to_dict() | points  # noqa: E731
    return cls(
      target=table("target"),
      source=table("source"),
      natural=table("natural") if options.warp_natural else None,
      mask=options.mask,
      mask_margin=options.mask_margin,
      recolour=options.recolour,
    )


@flax.struct.dataclass
class RandomWarp:
  """A pull map x -> A [x, 1] + sum_k w_k U(|x - c_k|).

  Attributes:
    matrix: [2, 3] affine part.
    weights: [n * n, 2] spline weights on `spline.control_grid(n)`.
  """

  matrix: jax.Array
  weights: jax.Array

  def __call__(self, coords):
    """Maps coordinates [..., 2] of the output to coordinates of the input."""
    controls = spline.control_grid(int(self.weights.shape[0] ** 0.5))
    moved = spline.displacement(coords, controls, self.weights)
    return warp.affine(self.matrix, coords) + moved


def sample_warp(
  key, *, rotation, scale, shift, warp_all, warp_half, control_points=10
):
  """Draws a `RandomWarp` from IMM's two-level table of standard deviations.

  Args:
    key: PRNG key.
    rotation: in degrees.
    scale: around 1.
    shift: in coordinates (the image is 2 wide).
    warp_all, warp_half: of the spline WEIGHTS (not of the displacements): of
      all weights, and of a further term that a random half of them gets.
    control_points: the grid has control_points^2 points.
  """
  keys = jax.random.split(key, 6)
  n = (control_points**2, 2)
  half = jax.random.bernoulli(keys[0], 0.5, n)
  weights = warp_all * jax.random.normal(keys[1], n)
  weights += warp_half * half * jax.random.normal(keys[2], n)
  angle = jnp.deg2rad(rotation) * jax.random.normal(keys[3])
  factor = 1 + scale * jax.random.normal(keys[4])
  offset = shift * jax.random.normal(keys[5], (2,))
  return RandomWarp(warp.similarity(angle, factor, offset), weights)


def border_mask(coords, *, extent, margin):
  """Weighs points [..., 2] by their distance to the border of a loaded image.

  The image spans [-extent, extent]. A weight is 0 outside it, and 1 deeper than
  `margin` inside; all lengths are in coordinates.
  """
  inside = extent - jnp.max(jnp.abs(coords), -1)
  return jnp.clip(inside / margin, 0, 1)


def imm_mask(coords):
  """Weighs points [..., 2] by IMM's smooth mask of the network's frame.

  `IMM_STRIP` over x times that over y, between its 128 cells as a bilinear
  reading of their map would have it; 0 outside the frame.
  """
  pixels = geometry.coords_to_pixels(coords, len(IMM_STRIP))
  cells = jnp.arange(len(IMM_STRIP))
  return jnp.interp(pixels, cells, IMM_STRIP, left=0, right=0).prod(-1)


@jax.named_scope("augmentation")
def recolour(keys, images, strength):
  """Maps the colours of each image by a random affine map of its own.

  c -> A (c - 1/2) + 1/2 + b with A = I + strength N and b = strength N / 2.
  Landmarks detected in a recoloured image cannot tell the decoder its colours;
  the appearance has to. Images [n, h, w, 3] are in [0, 1]; the result is not
  clipped.
  """

  def one(key, image):
    mix_key, shift_key = jax.random.split(key)
    mix = jnp.eye(3) + strength * jax.random.normal(mix_key, (3, 3))
    shift = strength / 2 * jax.random.normal(shift_key, (3,))
    return (image - 0.5) @ mix + 0.5 + shift

  return jax.vmap(one)(keys, images)


def example_keys(key, step, count, offset):
  """Derives a key for each example from (seed, step, place): [count].

  The place is that in the global batch, so the number of devices changes
  nothing.
  """
  step_key = jax.random.fold_in(key, step)
  return jax.vmap(lambda i: jax.random.fold_in(step_key, i))(
    offset + jnp.arange(count)
  )


@jax.named_scope("augmentation")
def warp_images(keys, images, size, table: Mapping):
  """Warps loaded images [b, s, s, c], each by a random warp of its own.

  The result is the model frame [b, size, size, c], `size` at most s.
  """
  extent = images.shape[1] / size
  grid = geometry.grid(size, size)

  def one(key, image):
    coords = sample_warp(key, **table)(grid)
    return warp.sample(image, coords, extent=extent)

  return jax.vmap(one)(keys, images)


@jax.named_scope("augmentation")
def warped_pairs(
  keys,
  images,
  size,
  *,
  target: Mapping,
  source: Mapping,
  margin,
  mask="border",
):
  """Makes synthetic pairs: target = warp_t(image), source = warp_s(target).

  Both views are read from the loaded image [s, s, c] in one interpolation; the
  source view composes the two warps, as IMM's does. `mask` is of `MASKS`,
  `margin` that of `border_mask`.

  Returns:
    (target, source, mask, source_warp): views [b, size, size, c], the mask seen
    through the target's warp [b, size, size, 1], and b `RandomWarp`s that take
    a point of the source view to the point of the target view which it shows.
  """
  extent = images.shape[1] / size
  grid = geometry.grid(size, size)

  def one(key, image):
    target_key, source_key = jax.random.split(key)
    target_warp = sample_warp(target_key, **target)
    source_warp = sample_warp(source_key, **source)
    at_target = target_warp(grid)
    at_source = target_warp(source_warp(grid))
    if mask == "imm":
      weight = imm_mask(at_target)
    else:
      weight = border_mask(at_target, extent=extent, margin=margin)
    return (
      warp.sample(image, at_target, extent=extent),
      warp.sample(image, at_source, extent=extent),
      weight[..., None],
      source_warp,
    )

  return jax.vmap(one)(keys, images)
