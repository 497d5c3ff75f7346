"""Sampling images and maps along coordinate fields; thin-plate splines.

Every warp here is a PULL (backward) map: it takes a point of the output to the
point of the input whose value belongs there, so `sample(image, warp(grid))` is
the warped image. Coordinates are those of `landmarks.py`.
"""

import jax
import jax.numpy as jnp


def sample(image, coords, *, extent=1.0):
  """Reads an image bilinearly at coordinates, replicating its border.

  Equals `torch.nn.functional.grid_sample(align_corners=False,
  padding_mode="border")` for extent 1.

  Args:
    image: [h, w, c], float.
    coords: [..., 2], (x, y); the image spans [-extent, extent].
    extent: half the side of the image in coordinates.

  Returns:
    [..., c], differentiable in the image and in the coordinates.
  """
  h, w, c = image.shape
  x = jnp.clip(((coords[..., 0] / extent + 1) * w - 1) / 2, 0, w - 1)
  y = jnp.clip(((coords[..., 1] / extent + 1) * h - 1) / 2, 0, h - 1)
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


def similarity(rotation, scale, shift):
  """Matrix [2, 3] of x -> scale R x + shift; rotation in radians."""
  c, s = scale * jnp.cos(rotation), scale * jnp.sin(rotation)
  return jnp.stack([jnp.stack([c, -s, shift[0]]), jnp.stack([s, c, shift[1]])])


def affine(matrix, coords):
  """Applies a [2, 3] matrix to coordinates [..., 2]."""
  return coords @ matrix[:, :2].T + matrix[:, 2]


def resize_map(field, height, width):
  """Resizes a coordinate field or map [b, h, w, c] bilinearly."""
  if field.shape[1:3] == (height, width):
    return field
  shape = (field.shape[0], height, width, field.shape[3])
  return jax.image.resize(field, shape, "bilinear", antialias=False)


def by_correspondence(maps, correspondence):
  """T o p: carries maps along a correspondence (the warp of Eq. 4).

  Args:
    maps: [b, h, w, k], maps of the image that T reads.
    correspondence: [b, h', w', 2]; entry (y, x) holds the coordinates, in the
      image of `maps`, that match cell (y, x) of the other image. It is resized
      to h x w when the grids differ.

  Returns:
    [b, h, w, k] maps in the frame of the other image.
  """
  field = resize_map(correspondence, *maps.shape[1:3])
  return jax.vmap(sample)(maps, field)
