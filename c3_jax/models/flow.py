"""Cross-image flow (section 3.2, Eq. 3): correlation and its 4-D filter.

The correlation of maps i and j is indexed C[b, y_i, x_i, y_j, x_j].
`correspondence` reads T off it.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from c3_jax import geometry

Correlation = Float[geometry.AnyArray, "b hi wi hj wj"]
Channels = Float[geometry.AnyArray, "b hi wi hj wj c"]


def correlation(
  fi: Float[geometry.AnyArray, "b hi wi c"],
  fj: Float[geometry.AnyArray, "b hj wj c"],
) -> Correlation:
  """Computes C, the cosine similarity of each cell of f'_i with each of f'_j.

  It lies in [-1, 1] and is float32 at least.
  """

  def unit(f):
    f = f.astype(jnp.promote_types(f.dtype, jnp.float32))
    # eps inside the root: a dead (all-zero) cell has gradient 0, not NaN.
    return f * jax.lax.rsqrt(jnp.sum(f**2, -1, keepdims=True) + 1e-6)

  return jnp.einsum("byxc,bvuc->byxvu", unit(fi), unit(fj))


def mutual_matching(c: Correlation) -> Correlation:
  """Weighs by soft mutual nearest neighbours: c * c / max_i c * c / max_j c."""
  best_i = jnp.max(c, (1, 2), keepdims=True)
  best_j = jnp.max(c, (3, 4), keepdims=True)
  return c * (c / (best_i + 1e-5)) * (c / (best_j + 1e-5))


def swap_images(c: Float[geometry.AnyArray, "b hi wi hj wj *c"]):
  """Exchanges the two images: C^T [b, h_j, w_j, h_i, w_i, ..]."""
  return c.transpose(0, 3, 4, 1, 2, *range(5, c.ndim))


class SeparableConv4D(nn.Module):
  """W1 (x) (W2 (x) C): replaces a 4-D kernel by two 2-D convolutions (Eq. 3).

  W2 runs over the cells of i, W1 over those of j; zero padding, bias in W1
  only.
  """

  features: int
  kernel: int
  kernel_init: Any
  dtype: Any

  @nn.compact
  def __call__(
    self, c: Channels
  ) -> Float[Array, "b hi wi hj wj {self.features}"]:
    b, hi, wi, hj, wj, channels = c.shape
    conv = partial(
      nn.Conv,
      self.features,
      (self.kernel, self.kernel),
      kernel_init=self.kernel_init,
      dtype=self.dtype,
    )
    # The cells of the other image join the batch.
    x = swap_images(c).reshape(b * hj * wj, hi, wi, channels)
    x = conv(use_bias=False, name="w2")(x)
    x = swap_images(x.reshape(b, hj, wj, hi, wi, self.features))
    x = conv(name="w1")(x.reshape(b * hi * wi, hj, wj, self.features))
    return x.reshape(b, hi, wi, hj, wj, self.features)


class Conv4D(nn.Module):
  """Convolves in 4-D with a full kernel, as NC-Net does.

  XLA convolves at most three spatial dimensions, so the first kernel axis is a
  sum of `kernel` shifted 3-D convolutions.
  """

  features: int
  kernel: int
  kernel_init: Any
  dtype: Any

  @nn.compact
  def __call__(
    self, c: Channels
  ) -> Float[Array, "b hi wi hj wj {self.features}"]:
    b, hi, wi, hj, wj, channels = c.shape
    n, pad = self.kernel, self.kernel // 2
    kernel = self.param(
      "kernel", self.kernel_init, (n, n, n, n, channels, self.features)
    ).astype(self.dtype)
    bias = self.param("bias", nn.initializers.zeros, (self.features,))
    padded = jnp.pad(c, ((0, 0), (pad, pad)) + ((0, 0),) * 4)
    total = 0
    for tap in range(n):
      rows = padded[:, tap : tap + hi].reshape(b * hi, wi, hj, wj, channels)
      total += jax.lax.conv_general_dilated(
        rows.astype(self.dtype),
        kernel[tap],
        (1, 1, 1),
        "SAME",
        dimension_numbers=("NDHWC", "DHWIO", "NDHWC"),
      )
    total = total.reshape(b, hi, wi, hj, wj, self.features)
    return total + bias.astype(self.dtype)


class Flow(nn.Module):
  """The flow head: filters C to C^ (Eq. 3), for two images of one size.

  Soft mutual nearest neighbours, a stack of filters with ReLU, made symmetric
  by f(C) + f(C^T)^T, soft mutual nearest neighbours again (NC-Net). The output
  is >= 0 and float32.

  Attributes:
    channels: outputs of the layers; the last is 1.
    kernel: side of the 2-D (or 4-D) kernels.
    separable: the paper's two 2-D convolutions, or NC-Net's 4-D kernel.
    mutual: whether the soft mutual nearest neighbours are applied.
  """

  channels: Sequence[int] = (16, 16, 1)
  kernel: int = 5
  separable: bool = True
  mutual: bool = True
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, c: Float[geometry.AnyArray, "b h w h w"]
  ) -> Float[Array, "b h w h w"]:
    layer = SeparableConv4D if self.separable else Conv4D
    if self.mutual:
      c = mutual_matching(c)
    # Both orders of the images as one batch.
    x = jnp.concatenate([c, swap_images(c)])[..., None].astype(self.dtype)
    init = nn.initializers.he_normal()
    for i, features in enumerate(self.channels, start=1):
      kernel_init = positive(init) if i == len(self.channels) else init
      name = f"layer{i - 1}"
      conv = layer(features, self.kernel, kernel_init, self.dtype, name=name)
      x = nn.relu(conv(x))
    x = x[..., 0].astype(c.dtype)
    forward, backward = jnp.split(x, 2)
    c = forward + swap_images(backward)
    return mutual_matching(c) if self.mutual else c


def positive(init):
  """Makes an initialiser |init|: the output channel starts alive.

  With signed weights the ReLU of every second random head is dead, C^ = 0
  everywhere, and no gradient ever revives it.
  """
  return lambda *args, **kwargs: jnp.abs(init(*args, **kwargs))
