"""Sampling images and maps along coordinate fields.

Every warp here is a PULL (backward) map: it takes a point of the output to the
point of the input whose value belongs there, so `sample(image, warp(grid))` is
the warped image. Coordinates are those of `frame.py`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from c3_jax.geometry.frame import AnyArray, coords_to_pixels


def sample(
  image: Float[AnyArray, "h w c"],
  coords: Float[AnyArray, "*n 2"],
  *,
  extent=1.0,
) -> Float[Array, "*n c"]:
  """Reads an image bilinearly at coordinates, replicating its border.

  Equals `torch.nn.functional.grid_sample(align_corners=False,
  padding_mode="border")` for extent 1.

  The image spans [-extent, extent]; coords are (x, y). Differentiable in both.
  """
  h, w, c = image.shape
  places = coords_to_pixels(coords / extent, (w, h))
  x = jnp.clip(places[..., 0], 0, w - 1)
  y = jnp.clip(places[..., 1], 0, h - 1)
  x0 = jnp.clip(jnp.floor(x), 0, max(w - 2, 0))
  y0 = jnp.clip(jnp.floor(y), 0, max(h - 2, 0))
  fx, fy = (x - x0)[..., None], (y - y0)[..., None]
  right, below = min(1, w - 1), w * min(1, h - 1)
  index = y0.astype(jnp.int32) * w + x0.astype(jnp.int32)
  # One gather of whole pixels a corner; a gather a channel is c times slower.
  pixels = image.reshape(h * w, c)
  top = (1 - fx) * pixels[index] + fx * pixels[index + right]
  bottom = (1 - fx) * pixels[index + below] + fx * pixels[index + below + right]
  return (1 - fy) * top + fy * bottom


def similarity(rotation, scale, shift) -> Float[Array, "2 3"]:
  """Makes the matrix of x -> scale R x + shift; rotation in radians."""
  c, s = scale * jnp.cos(rotation), scale * jnp.sin(rotation)
  return jnp.stack([jnp.stack([c, -s, shift[0]]), jnp.stack([s, c, shift[1]])])


def affine(
  matrix: Float[AnyArray, "2 3"], coords: Float[AnyArray, "*n 2"]
) -> Float[Array, "*n 2"]:
  """Applies an affine matrix to coordinates."""
  return coords @ matrix[:, :2].T + matrix[:, 2]


def resize_map(
  field: Float[AnyArray, "b h w c"], height, width
) -> Float[AnyArray, "b {height} {width} c"]:
  """Resizes a coordinate field or a map bilinearly."""
  if field.shape[1:3] == (height, width):
    return field
  shape = (field.shape[0], height, width, field.shape[3])
  return jax.image.resize(field, shape, "bilinear", antialias=False)


def by_correspondence(
  maps: Float[AnyArray, "b h w k"], correspondence: Float[AnyArray, "b hc wc 2"]
) -> Float[Array, "b h w k"]:
  """Carries maps along a correspondence: T o p, the warp of Eq. 4.

  A pull map: entry (y, x) of the correspondence holds the coordinates, in the
  image of `maps`, that match cell (y, x) of the other image, in whose frame the
  result is. It is resized to h x w where the grids differ.
  """
  field = resize_map(correspondence, *maps.shape[1:3])
  return jax.vmap(sample)(maps, field)
