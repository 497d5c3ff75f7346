"""Cross-image flow (section 3.2, Eq. 3): correlation, 4-D filter, matching.

The correlation of maps i and j is indexed C[b, y_i, x_i, y_j, x_j]. T^{i->j}
gives each cell of j the coordinates of the cell of i that matches it: a pull
map, so that `warp.by_correspondence(p_i, T^{i->j})` lives in the frame of j.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from c3_jax import geometry


def correlation(fi, fj):
  """Cosine similarity of every cell of f'_i with every cell of f'_j.

  Args:
    fi: [b, h_i, w_i, c].
    fj: [b, h_j, w_j, c].

  Returns:
    [b, h_i, w_i, h_j, w_j] in [-1, 1], float32.
  """

  def unit(f):
    f = f.astype(jnp.float32)
    # eps inside the root: a dead (all-zero) cell has gradient 0, not NaN.
    return f * jax.lax.rsqrt(jnp.sum(f**2, -1, keepdims=True) + 1e-6)

  return jnp.einsum("byxc,bvuc->byxvu", unit(fi), unit(fj))


def mutual_matching(c):
  """Soft mutual nearest neighbours (NC-Net): c * c / max_i c * c / max_j c."""
  best_i = jnp.max(c, (1, 2), keepdims=True)
  best_j = jnp.max(c, (3, 4), keepdims=True)
  return c * (c / (best_i + 1e-5)) * (c / (best_j + 1e-5))


def swap_images(c):
  """C^T: the same scores with the two images exchanged."""
  return c.transpose(0, 3, 4, 1, 2, *range(5, c.ndim))


def match_scores(c):
  """S^{i->j} and S^{j->i}: softmax of C over the cells of i, and of j.

  Args:
    c: [b, h_i, w_i, h_j, w_j].

  Returns:
    (s_ij, s_ji), both of c's shape; s_ij sums to 1 over (1, 2).
  """
  return jax.nn.softmax(c, axis=(1, 2)), jax.nn.softmax(c, axis=(3, 4))


def hard_correspondence(c):
  """T^{i->j} by argmax (section 3.2); no gradient.

  Args:
    c: [b, h_i, w_i, h_j, w_j] filtered correlation.

  Returns:
    [b, h_j, w_j, 2]: for each cell of j, the (x, y) of its match in i.
  """
  b, hi, wi, hj, wj = c.shape
  best = jnp.argmax(c.reshape(b, hi * wi, hj, wj), 1)
  return geometry.grid(hi, wi).reshape(hi * wi, 2)[best]


def soft_correspondence(c, *, temperature=1.0):
  """T^{i->j} as the expected match under S^{i->j}: differentiable.

  Args and returns are those of `hard_correspondence`; `temperature` divides C
  before the softmax.
  """
  score = jax.nn.softmax(c / temperature, axis=(1, 2))
  return jnp.einsum(
    "byxvu,yxd->bvud", score, geometry.grid(c.shape[1], c.shape[2])
  )


class SeparableConv4D(nn.Module):
  """W1 (x) (W2 (x) C): two 2-D convolutions for a 4-D kernel (Eq. 3).

  Input and output [b, h_i, w_i, h_j, w_j, channels]. W2 runs over the cells of
  i, W1 over those of j; zero padding, bias in W1 only.
  """

  features: int
  kernel: int
  kernel_init: Any
  dtype: Any

  @nn.compact
  def __call__(self, c):
    b, hi, wi, hj, wj, channels = c.shape
    over = lambda name, **kwargs: nn.Conv(  # noqa: E731
      self.features,
      (self.kernel, self.kernel),
      kernel_init=self.kernel_init,
      dtype=self.dtype,
      name=name,
      **kwargs,
    )
    # The cells of the other image join the batch.
    x = c.transpose(0, 3, 4, 1, 2, 5).reshape(b * hj * wj, hi, wi, channels)
    x = over("w2", use_bias=False)(x)
    x = x.reshape(b, hj, wj, hi, wi, self.features).transpose(0, 3, 4, 1, 2, 5)
    x = over("w1")(x.reshape(b * hi * wi, hj, wj, self.features))
    return x.reshape(b, hi, wi, hj, wj, self.features)


class Conv4D(nn.Module):
  """A full 4-D convolution, NC-Net's baseline: same shapes as the separable.

  XLA has at most three spatial dimensions here, so the first kernel axis is a
  sum of `kernel` shifted 3-D convolutions.
  """

  features: int
  kernel: int
  kernel_init: Any
  dtype: Any

  @nn.compact
  def __call__(self, c):
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
  """The flow head: C to the filtered C^ of Eq. 3.

  Input [b, h, w, h, w], of two images of one size; output the same shape,
  >= 0, float32. Soft
  mutual nearest neighbours, a stack of filters with ReLU, made symmetric by
  f(C) + f(C^T)^T, soft mutual nearest neighbours again (NC-Net).

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
  def __call__(self, c):
    layer = SeparableConv4D if self.separable else Conv4D
    if self.mutual:
      c = mutual_matching(c)
    # Both orders of the images as one batch.
    x = jnp.concatenate([c, swap_images(c)])[..., None].astype(self.dtype)
    for i, features in enumerate(self.channels):
      last = i + 1 == len(self.channels)
      init = nn.initializers.he_normal()
      x = layer(
        features,
        self.kernel,
        positive(init) if last else init,
        self.dtype,
        name=f"layer{i}",
      )(x)
      x = nn.relu(x)
    x = x[..., 0].astype(jnp.float32)
    forward, backward = jnp.split(x, 2)
    c = forward + swap_images(backward)
    return mutual_matching(c) if self.mutual else c


def positive(init):
  """|init|: the one output channel starts alive under its ReLU.

  With signed weights every second random head is dead, C^ = 0 everywhere, and
  no gradient ever revives it.
  """
  return lambda *args, **kwargs: jnp.abs(init(*args, **kwargs))
