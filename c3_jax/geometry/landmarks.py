"""Landmarks: read off score maps by soft-argmax, drawn as gaussian maps."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from c3_jax.geometry.frame import AnyArray, cell_centres


def soft_argmax(
  logits: Float[AnyArray, "*n h w k"], *, temperature=1.0, marginal=False
) -> tuple[Float[Array, "*n k 2"], Float[Array, "*n h w k"]]:
  """Computes the expected location of each channel's softmax (section 3.1).

  Args:
    logits: score maps.
    temperature: divides the logits.
    marginal: False is the paper's 2-D softmax; True is IMM's: the mean of the
      logits over the other axis, then one softmax an axis.

  Returns:
    (points, probability): points (x, y) in [-1, 1]; probability sums to 1 over
    each map.
  """
  h, w = logits.shape[-3:-1]
  logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
  logits /= temperature
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


def gaussian_maps(
  points: Float[AnyArray, "*n k 2"], height, width, *, sigma
) -> Float[Array, "*n {height} {width} k"]:
  """Draws exp(-d^2 / sigma^2) around each point (section 3.1; no 1/2, as IMM).

  Points are (x, y) in [-1, 1]; so is sigma. IMM's 0.1 is 0.75 of a cell, or
  0.09375 here, since the centres of its outer cells are at -1 and 1.
  """
  # The gaussian is separable: 2 x 16 exponentials a landmark, not 16 x 16.
  gx, gy = (
    jnp.exp(-(((cell_centres(n)[:, None] - at[..., None, :]) / sigma) ** 2))
    for n, at in ((width, points[..., 0]), (height, points[..., 1]))
  )
  return gy[..., :, None, :] * gx[..., None, :, :]
