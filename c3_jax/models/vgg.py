"""VGG16 and VGG19 features for the perceptual distance P (Eq. 1)."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from c3_jax.models.pooling import max_pool, mean_pool
from c3_jax.models.resnet import Images, Maps, normalise

# Convolutions a block; torchvision's configurations "D" and "E".
CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
TAPS = ("input", "conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2")


class VGG(nn.Module):
  """VGG: maps images in [0, 1] to features, a dict of tap -> map.

  "input" is the image after ImageNet's normalisation; "convB_I" is the output
  of convolution I of block B after its ReLU, [b, H / 2^(B-1), W / 2^(B-1), c].
  Nothing beyond the last tap is computed. With `reduce` the convolutions see an
  image whose sides are that many times shorter: a quarter of the work at 2.

  Attributes:
    arch: "vgg16" or "vgg19".
    taps: names of the maps to return.
    width: channels relative to the published network (1 for ported weights).
    reduce: factor of the mean pooling between "input" and the convolutions.
    dtype: of the convolutions and their maps; "input" is float32 at least.
  """

  arch: str = "vgg16"
  taps: Sequence[str] = TAPS
  width: float = 1.0
  reduce: int = 1
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, images: Images) -> dict[str, Maps]:
    # A reconstruction comes closer to the image than bfloat16 resolves.
    x = normalise(images, jnp.promote_types(self.dtype, jnp.float32))
    maps = {"input": x}
    x = mean_pool(x, self.reduce, option="perceptual.reduce")
    conv = partial(
      nn.Conv,
      kernel_size=(3, 3),
      padding=1,
      kernel_init=nn.initializers.he_normal(),
      dtype=self.dtype,
    )
    for block, count in enumerate(CONVOLUTIONS[self.arch], start=1):
      features = int(min(64 * 2 ** (block - 1), 512) * self.width)
      if block > 1:
        x = max_pool(x)
      for i in range(1, count + 1):
        name = f"conv{block}_{i}"
        x = maps[name] = nn.relu(conv(features, name=name)(x))
        if all(tap in maps for tap in self.taps):
          return {tap: maps[tap] for tap in self.taps}
    missing = [tap for tap in self.taps if tap not in maps]
    raise ValueError(f"{self.arch} has no layer {missing}; see vgg.TAPS")
