"""Coordinates, soft-argmax and gaussian maps.

One coordinate convention holds in the whole project: a point is (x, y) in
[-1, 1], x to the right and y down, with -1 and +1 at the outer EDGES of the
image. Pixel i of a row of W pixels has its centre at (2 i + 1) / W - 1, so
coordinates do not depend on resolution, and

  pixel = ((x + 1) W - 1) / 2        (0 = centre of the first pixel).
"""

import jax
import jax.numpy as jnp


def coords_to_pixels(points, size):
  """Maps coordinates in [-1, 1] to pixels, 0 = centre of the first pixel.

  Args:
    points: [..., 2] array of (x, y) in [-1, 1].
    size: image side in pixels, or (width, height).

  Returns:
    [..., 2] array of pixels. NumPy in, NumPy out.
  """
  width, height = (size, size) if isinstance(size, int) else size
  scale = [width, height]
  if isinstance(points, jax.Array):
    scale = jnp.array(scale, points.dtype)
  return ((points + 1) * scale - 1) / 2


def pixels_to_coords(pixels, size):
  """Inverse of `coords_to_pixels`: pixels [..., 2] to (x, y) in [-1, 1]."""
  width, height = (size, size) if isinstance(size, int) else size
  scale = [width, height]
  if isinstance(pixels, jax.Array):
    scale = jnp.array(scale, pixels.dtype)
  return (2 * pixels + 1) / scale - 1


def cell_centres(n, dtype=jnp.float32):
  """Coordinates in [-1, 1] of the centres of n cells: [n]."""
  return (2 * jnp.arange(n, dtype=dtype) + 1) / n - 1


def grid(height, width, dtype=jnp.float32):
  """Coordinates (x, y) of every cell of a map: [height, width, 2]."""
  x, y = jnp.meshgrid(cell_centres(width, dtype), cell_centres(height, dtype))
  return jnp.stack([x, y], -1)


def soft_argmax(logits, *, temperature=1.0, marginal=False):
  """Expected location of each channel under its softmax (section 3.1).

  Args:
    logits: [..., h, w, k], float.
    temperature: divides the logits before the softmax.
    marginal: False is the paper's 2-D softmax; True is IMM's: the mean of the
      logits over the other axis, then one softmax an axis.

  Returns:
    (points, probability): points [..., k, 2], (x, y) in [-1, 1]; probability
    [..., h, w, k], which sums to 1 over each map.
  """
  h, w = logits.shape[-3:-1]
  logits = logits.astype(jnp.float32) / temperature
  if marginal:
    px = jax.nn.softmax(logits.mean(-3), axis=-2)  # [..., w, k]
    py = jax.nn.softmax(logits.mean(-2), axis=-2)  # [..., h, k]
    probability = py[..., :, None, :] * px[..., None, :, :]
  else:
    probability = jax.nn.softmax(logits, axis=(-3, -2))
    px, py = probability.sum(-3), probability.sum(-2)
  x = jnp.einsum("...wk,w->...k", px, cell_centres(w))
  y = jnp.einsum("...hk,h->...k", py, cell_centres(h))
  return jnp.stack([x, y], -1), probability


def gaussian_maps(points, height, width, *, sigma):
  """Draws exp(-d^2 / sigma^2) around each point (section 3.1; no 1/2, as IMM).

  Args:
    points: [..., k, 2], (x, y) in [-1, 1].
    height, width: size of the maps in cells.
    sigma: in coordinates; 0.1 is 0.8 of a cell of a 16x16 map.

  Returns:
    [..., height, width, k] in [0, 1].
  """
  # The gaussian is separable: 2 x 16 exponentials a landmark, not 16 x 16.
  x, y = points[..., 0], points[..., 1]
  gx = jnp.exp(
    -(((cell_centres(width)[:, None] - x[..., None, :]) / sigma) ** 2)
  )
  gy = jnp.exp(
    -(((cell_centres(height)[:, None] - y[..., None, :]) / sigma) ** 2)
  )
  return gy[..., :, None, :] * gx[..., None, :, :]
