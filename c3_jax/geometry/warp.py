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


def control_grid(n):
  """n x n control points from edge to edge of [-1, 1]: [n * n, 2]."""
  line = jnp.linspace(-1.0, 1.0, n)
  x, y = jnp.meshgrid(line, line)
  return jnp.stack([x.ravel(), y.ravel()], -1)


def tps_kernel(a, b):
  """Thin-plate kernel r^2 log r^2 between point sets [m, 2], [n, 2]: [m, n]."""
  dx, dy = (a[:, None, i] - b[None, :, i] for i in range(2))
  # Not a sum over an axis: XLA then makes one loop of the whole kernel.
  r2 = dx**2 + dy**2
  # The inner `where` keeps the gradient finite at r = 0.
  return jnp.where(r2 > 0, r2 * jnp.log(jnp.where(r2 > 0, r2, 1.0)), 0.0)


def tps_weighted(coords, controls, weights):
  """Displacement sum_k w_k U(|x - c_k|) of a spline given by its weights.

  Args:
    coords: [..., 2].
    controls: [n, 2] control points.
    weights: [n, 2].

  Returns:
    [..., 2] displacements, U(r) = r^2 log r^2 (IMM's random warps).
  """
  flat = coords.reshape(-1, 2)
  return (tps_kernel(flat, controls) @ weights).reshape(coords.shape)


def tps_interpolate(source, target, coords):
  """Moves coordinates by the thin-plate spline that takes source to target.

  Args:
    source, target: [n, 2] control points, n >= 3 and not on one line.
    coords: [..., 2] points to move.

  Returns:
    [..., 2]; `coords == source` gives `target`. The same function as SciPy's
    `RBFInterpolator(source, target, kernel="thin_plate_spline", degree=1)`.
  """
  n = source.shape[0]
  polynomial = jnp.concatenate([jnp.ones_like(source[:, :1]), source], 1)
  zeros = jnp.zeros((3, 3), source.dtype)
  lhs = jnp.block(
    [
      [tps_kernel(source, source), polynomial],
      [polynomial.T, zeros],
    ]
  )
  rhs = jnp.concatenate([target, zeros[:, :2]])
  solution = jnp.linalg.solve(lhs, rhs)
  flat = coords.reshape(-1, 2)
  moved = tps_kernel(flat, source) @ solution[:n]
  moved += solution[n] + flat @ solution[n + 1 :]
  return moved.reshape(coords.shape)


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
