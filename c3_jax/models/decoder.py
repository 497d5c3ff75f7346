"""The decoder D (appendix)."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from c3_jax.geometry import AnyArray
from c3_jax.models.extractors import kernel_init
from c3_jax.models.resnet import make_norm


@jax.custom_vjp
def double(x: Float[AnyArray, "b n *m"]) -> Float[Array, "b {2*x.shape[1]} *m"]:
  """Upsamples axis 1 bilinearly x2, with half-pixel centres.

  Between two neighbours lie points a quarter from each; the edges repeat.
  `jax.image.resize` computes the same as a matrix product, which is several
  times slower on a CPU, as is the transpose that JAX derives from the slices.
  """
  before = jnp.concatenate([x[:, :1], x[:, :-1]], 1)
  after = jnp.concatenate([x[:, 1:], x[:, -1:]], 1)
  halves = [0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after]
  return jnp.stack(halves, 2).reshape(x.shape[0], -1, *x.shape[2:])


def _double_backward(_, g):
  g = g.reshape(g.shape[0], -1, 2, *g.shape[2:])
  even, odd = g[:, :, 0], g[:, :, 1]
  before = jnp.concatenate([even[:, :1], odd[:, :-1]], 1)
  after = jnp.concatenate([even[:, 1:], odd[:, -1:]], 1)
  return (0.75 * (even + odd) + 0.25 * (before + after),)


double.defvjp(lambda x: (double(x), None), _double_backward)


def upsample(
  x: Float[AnyArray, "b h w c"],
) -> Float[Array, "b {2*x.shape[1]} {2*x.shape[2]} c"]:
  """Upsamples maps bilinearly x2."""
  b, h, w, c = x.shape
  x = double(x.reshape(b * h, w, c)).reshape(b, h, 2 * w, c)
  return double(x)


class Decoder(nn.Module):
  """D: decodes appearance and pose maps to an image.

  The output is linear, not clipped to [0, 1], and float32. Blocks of two 3x3
  convolutions; every block but the first starts with a bilinear x2; channels
  are halved from block to block, down to `min_channels`.

  Attributes:
    size: side of the image, h times a power of two.
    channels: of the first block.
    norm: "batch", "frozen" or "group" after each convolution, or "none".
    init_std: 0.01 in the paper; 0 is He initialisation.
  """

  size: int
  channels: int = 256
  min_channels: int = 32
  norm: str = "batch"
  init_std: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self,
    a: Float[AnyArray, "b h w c"],
    p: Float[AnyArray, "b h w k"],
    *,
    train=False,
  ) -> Float[Array, "b {self.size} {self.size} 3"]:
    x = jnp.concatenate([a.astype(self.dtype), p.astype(self.dtype)], -1)
    blocks = (self.size // x.shape[1]).bit_length()
    if blocks < 1 or x.shape[1] * 2 ** (blocks - 1) != self.size:
      raise ValueError(
        f"image size {self.size} is not {x.shape[1]} times a power of two"
      )
    conv = partial(
      nn.Conv,
      kernel_size=(3, 3),
      kernel_init=kernel_init(self.init_std),
      dtype=self.dtype,
    )
    norm = None
    if self.norm != "none":
      norm = make_norm(self.norm, train=train, dtype=self.dtype)
    channels = self.channels
    for block in range(blocks):
      if block:
        x = upsample(x)
        channels = max(channels // 2, self.min_channels)
      for i in range(2):
        name = f"block{block}_conv{i}"
        x = conv(channels, use_bias=norm is None, name=name)(x)
        if norm:
          x = norm(name=f"block{block}_norm{i}")(x)
        x = nn.relu(x)
    image = conv(3, name="image")(x)
    # Mid-grey is the natural zero of an untrained decoder.
    return image.astype(jnp.promote_types(self.dtype, jnp.float32)) + 0.5
