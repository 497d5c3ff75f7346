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
from c3_jax.models.resnet import ResNet


class Encoding(NamedTuple):
  """The encoders' output for a batch of images.

  Attributes:
    appearance: the map a [b, h, w, c].
    pose: `Pose` with points [b, k, 2] and maps p [b, h, w, k].
    features: f' [b, h', w', c'], which the flow head compares.
  """

  appearance: Array
  pose: Pose
  features: Array


class C3(nn.Module):
  """C3's networks; parameters live under the names of the attributes.

  Attributes:
    backbone, appearance, pose, decoder, flow: the five modules.
    swap_features: False follows the paper's symbols (f = layer4 for appearance
      and pose, f' = layer3 for the flow); True exchanges the two layers.
  """

  backbone: ResNet
  appearance: AppearanceExtractor
  pose: PoseExtractor
  decoder: Decoder
  flow: Flow
  swap_features: bool = False

  def features(
    self, images: Float[AnyArray, "b H W 3"], *, train=False
  ) -> tuple[Float[Array, "b _ _ _"], Float[Array, "b _ _ _"]]:
    """Computes (f', f) of images in [0, 1]."""
    layer3, layer4 = self.backbone(images, train=train)
    return (layer4, layer3) if self.swap_features else (layer3, layer4)

  def encode(
    self, images: Float[AnyArray, "b H W 3"], *, train=False
  ) -> Encoding:
    """Runs E_a and E_p on images in [0, 1]; keeps f'."""
    f_flow, f = self.features(images, train=train)
    return Encoding(self.appearance(f, train=train), self.pose(f), f_flow)

  def detect(self, images: Float[AnyArray, "b H W 3"]) -> Pose:
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
  """Makes the model of a config.

  A backbone of norm "auto" keeps ImageNet's statistics with ported weights
  (norm "frozen"), and trains its own from scratch (norm "batch").

  Args:
    config: of a run; its `model`, `data.image_size` and `weights` are read.
  """
  options = config.model.to_dict()
  if options["backbone"]["norm"] == "auto":
    ported = bool(config.weights.resnet50)
    options["backbone"]["norm"] = "frozen" if ported else "batch"
  return build(image_size=config.data.image_size, **options)


def build(
  *,
  k,
  image_size,
  backbone,
  appearance,
  pose,
  decoder,
  flow,
  swap_features,
  dtype,
) -> C3:
  """Makes the model from the keys of `config.model`.

  Args:
    k: number of landmarks.
    image_size: side of the images in pixels.
    backbone, appearance, pose, decoder, flow: mappings of the attributes of
      `ResNet`, `AppearanceExtractor`, `PoseExtractor`, `Decoder`, `Flow`.
    swap_features: see `C3`.
    dtype: "float32" or "bfloat16", of the computation; parameters, softmax,
      correlation, landmarks and images are float32.
  """
  dtype = jnp.dtype(dtype)
  return C3(
    backbone=ResNet(**backbone, dtype=dtype),
    appearance=AppearanceExtractor(**appearance, dtype=dtype),
    pose=PoseExtractor(k=k, **pose, dtype=dtype),
    decoder=Decoder(size=image_size, **decoder, dtype=dtype),
    flow=Flow(**flow, dtype=dtype),
    swap_features=swap_features,
  )
