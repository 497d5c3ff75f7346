"""The extractors E_a and E_p (sections 3.1 and 4.1)."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from c3_jax.geometry import AnyArray, landmarks
from c3_jax.models.resnet import make_norm


class Pose(NamedTuple):
  """The output of E_p for a batch of images.

  Attributes:
    points: [b, k, 2] landmarks, (x, y) in [-1, 1].
    maps: [b, h, w, k] gaussian maps in [0, 1]: the p of the equations.
    probability: [b, h, w, k] softmax maps.
  """

  points: Array
  maps: Array
  probability: Array


def kernel_init(std):
  """Makes the initialiser N(0, std) (0.01 in the paper), or He for std 0."""
  return nn.initializers.normal(std) if std else nn.initializers.he_normal()


def convolutions(x, features, *, init_std, dtype):
  """Applies two 3x3 convolutions with ReLU; call it in a compact module."""
  x, init = x.astype(dtype), kernel_init(init_std)
  for name in ("conv1", "conv2"):
    conv = nn.Conv(features, (3, 3), kernel_init=init, dtype=dtype, name=name)
    x = nn.relu(conv(x))
  return x


class AppearanceExtractor(nn.Module):
  """E_a: two 3x3 convolutions with ReLU.

  Attributes:
    features: channels of the map.
    pool: average the map over space and repeat the mean as a constant map: it
      then holds no layout, only colours and textures.
    norm: "batch", "frozen" or "none", of the pooled vector. The means over
      space of rectified features hardly differ between images; without a norm
      the landmarks encode colours before the appearance does.
    init_std: 0.01 in the paper; 0 is He initialisation.
  """

  features: int = 256
  pool: bool = False
  norm: str = "none"
  init_std: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, f: Float[AnyArray, "b h w c"], *, train=False
  ) -> Float[Array, "b h w {self.features}"]:
    a = convolutions(f, self.features, init_std=self.init_std, dtype=self.dtype)
    if self.pool:
      mean = a.mean((1, 2), keepdims=True)
      if self.norm != "none":
        norm = make_norm(self.norm, train=train, dtype=self.dtype)
        mean = norm(name="norm")(mean)
      a = jnp.broadcast_to(mean, a.shape)
    return a


class PoseExtractor(nn.Module):
  """E_p: two 3x3 convolutions with ReLU, 1x1 to k maps, the two-step process.

  The `Pose` is float32, on the grid of f.

  Attributes:
    k: number of landmarks.
    features: channels of the two convolutions.
    sigma: of the gaussians, in cells of the map. 0.75 is IMM's 0.1, whose 16
      cells are 2 / 15 apart.
    temperature, marginal: of `landmarks.soft_argmax`.
    gain: 0 takes the raw logits; otherwise each map is standardised to this
      deviation, so that from the first step it is neither flat nor one-hot.
    init_std: 0.01 in the paper; 0 is He initialisation.
  """

  k: int
  features: int = 256
  sigma: float = 0.75
  temperature: float = 1.0
  marginal: bool = False
  gain: float = 0.0
  init_std: float = 0.0
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, f: Float[AnyArray, "b h w c"]) -> Pose:
    x = convolutions(f, self.features, init_std=self.init_std, dtype=self.dtype)
    init = kernel_init(self.init_std)
    logits = nn.Conv(
      self.k, (1, 1), kernel_init=init, dtype=self.dtype, name="maps"
    )(x)
    logits = logits.astype(jnp.promote_types(self.dtype, jnp.float32))
    if self.gain:
      logits -= logits.mean((1, 2), keepdims=True)
      variance = jnp.mean(logits**2, (1, 2), keepdims=True)
      logits *= self.gain * jax.lax.rsqrt(variance + 1e-6)
    points, probability = landmarks.soft_argmax(
      logits, temperature=self.temperature, marginal=self.marginal
    )
    h, w = logits.shape[1:3]
    maps = landmarks.gaussian_maps(
      points, h, w, sigma=2 * self.sigma / max(h, w)
    )
    return Pose(points, maps, probability)
