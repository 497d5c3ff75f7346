"""The whole model: N, E_a, E_p, D and the flow head as one Linen module."""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from c3_jax.geometry import AnyArray
from c3_jax.models import flow as flow_lib
from c3_jax.models.decoder import Decoder
from c3_jax.models.extractors import AppearanceExtractor, Pose, PoseExtractor
from c3_jax.models.flow import Flow
from c3_jax.models.pooling import mean_pool
from c3_jax.models.resnet import Images, Maps, ResNet


class Encoding(NamedTuple):
  """The encoders' output for a batch of images.

  Attributes:
    appearance: the map a [b, h, w, c].
    pose: the landmarks and their maps p.
    features: f' [b, h', w', c'], which the flow head compares.
  """

  appearance: Array
  pose: Pose
  features: Array


class C3(nn.Module):
  """C3's networks; parameters live under the names of the attributes.

  Attributes:
    swap_features: False follows the paper's symbols (f = layer4 for appearance
      and pose, f' = layer3 for the flow); True exchanges the two layers.
    flow_pool: side of the squares of cells over which f' is averaged. The
      correlation has the fourth power of f's side in entries: 2 divides its
      cost by 16.
  """

  backbone: ResNet
  appearance: AppearanceExtractor
  pose: PoseExtractor
  decoder: Decoder
  flow: Flow
  swap_features: bool = False
  flow_pool: int = 1

  def features(self, images: Images, *, train=False) -> tuple[Maps, Maps]:
    """Computes (f', f) of images in [0, 1].

    Raises:
      ValueError: `flow_pool` is more than f' has.
    """
    layer3, layer4 = self.backbone(images, train=train)
    f_flow, f = (layer4, layer3) if self.swap_features else (layer3, layer4)
    return mean_pool(f_flow, self.flow_pool, option="model.flow_pool"), f

  def encode(self, images: Images, *, train=False) -> Encoding:
    """Runs E_a and E_p on images in [0, 1]; keeps f'."""
    f_flow, f = self.features(images, train=train)
    return Encoding(self.appearance(f, train=train), self.pose(f), f_flow)

  def detect(self, images: Images) -> Pose:
    """Finds the landmarks of images in [0, 1]; trains nothing."""
    return self.pose(self.features(images)[1])

  def decode(
    self,
    a: Float[AnyArray, "b h w c"],
    p: Float[AnyArray, "b h w k"],
    *,
    train=False,
  ) -> Float[Array, "b {self.decoder.size} {self.decoder.size} 3"]:
    """Runs D on appearance a and pose p: images, unclipped."""
    return self.decoder(a, p, train=train)

  def match(
    self, fi: Float[AnyArray, "b h w c"], fj: Float[AnyArray, "b h w c"]
  ) -> Float[Array, "b h w h w"]:
    """Computes the filtered correlation C^ of f'_i and f'_j (Eq. 3)."""
    return self.flow(flow_lib.correlation(fi, fj))

  def __call__(self, images):
    """Runs every module once, as initialisation needs."""
    encoding = self.encode(images)
    self.match(encoding.features, encoding.features)
    return self.decode(encoding.appearance, encoding.pose.maps)


def from_config(config) -> C3:
  """Makes the model of a run's config.

  A backbone of norm "auto" keeps ImageNet's statistics with ported weights
  (norm "frozen"), and trains its own from scratch (norm "batch"). The dtype is
  that of the computation; parameters, softmax, correlation, landmarks and
  images are float32.
  """
  options = config.model.to_dict()
  dtype, backbone = jnp.dtype(options.pop("dtype")), options.pop("backbone")
  if backbone["norm"] == "auto":
    backbone["norm"] = "frozen" if config.weights.resnet50 else "batch"
  size, k = config.data.image_size, options.pop("k")
  return C3(
    backbone=ResNet(**backbone, dtype=dtype),
    appearance=AppearanceExtractor(**options.pop("appearance"), dtype=dtype),
    pose=PoseExtractor(k=k, **options.pop("pose"), dtype=dtype),
    decoder=Decoder(size=size, **options.pop("decoder"), dtype=dtype),
    flow=Flow(**options.pop("flow"), dtype=dtype),
    **options,
  )
