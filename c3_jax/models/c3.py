"""The whole model: N, E_a, E_p, D and the flow head as one Linen module."""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from c3_jax.models import flow as flow_lib
from c3_jax.models.decoder import Decoder
from c3_jax.models.extractors import AppearanceExtractor, Pose, PoseExtractor
from c3_jax.models.flow import Flow
from c3_jax.models.resnet import ResNet


@flax.struct.dataclass
class Encoding:
  """What the encoders say of a batch of images.

  Attributes:
    appearance: a [b, h, w, c].
    pose: `Pose` with points [b, k, 2] and maps p [b, h, w, k].
    features: f' [b, h', w', c'], what the flow head compares.
  """

  appearance: jax.Array
  pose: Pose
  features: jax.Array


class C3(nn.Module):
  """C3's networks; parameters live under the names of the attributes.

  Attributes:
    backbone, appearance, pose, decoder, flow: the five modules.
    swap_features: False reads the paper's symbols (f = layer4 for appearance
      and pose, f' = layer3 for the flow); True the other way round.
  """

  backbone: ResNet
  appearance: AppearanceExtractor
  pose: PoseExtractor
  decoder: Decoder
  flow: Flow
  swap_features: bool = False

  def features(self, images, *, train=False):
    """(f', f) of images [b, H, W, 3] in [0, 1]."""
    layer3, layer4 = self.backbone(images, train=train)
    return (layer4, layer3) if self.swap_features else (layer3, layer4)

  def encode(self, images, *, train=False) -> Encoding:
    """E_a, E_p and f' of images [b, H, W, 3] in [0, 1]."""
    f_flow, f = self.features(images, train=train)
    return Encoding(self.appearance(f, train=train), self.pose(f), f_flow)

  def detect(self, images) -> Pose:
    """Finds the landmarks of images [b, H, W, 3] in [0, 1]; trains nothing."""
    return self.pose(self.features(images)[1])

  def decode(self, a, p, *, train=False):
    """D: a [b, h, w, c], p [b, h, w, k] to images [b, H, W, 3], unclipped."""
    return self.decoder(a, p, train=train)

  def match(self, fi, fj):
    """Filtered correlation C^ (Eq. 3) of f'_i and f'_j, [b, h, w, c] each."""
    return self.flow(flow_lib.correlation(fi, fj))

  def __call__(self, images):
    """Runs every module once: what initialisation needs."""
    encoding = self.encode(images)
    self.match(encoding.features, encoding.features)
    return self.decode(encoding.appearance, encoding.pose.maps)


def from_config(config) -> C3:
  """The model of a config, of one that trains as of one read from a run.

  Args:
    config: `config.model`, `config.data.image_size` and `config.weights`.

  Returns:
    A `C3`. A backbone of norm "auto" keeps the statistics of ported weights,
    which are ImageNet's, and trains its own where it starts from scratch.
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
  """Makes the model from `config.model`, whose keys these are.

  Args:
    k: number of landmarks.
    image_size: side of the images in pixels.
    backbone, appearance, pose, decoder, flow: mappings of the attributes of
      `ResNet`, `AppearanceExtractor`, `PoseExtractor`, `Decoder`, `Flow`.
    swap_features: see `C3`.
    dtype: "float32" or "bfloat16", of the computation; parameters, softmax,
      correlation, landmarks and images are float32.

  Returns:
    A `C3`.
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
