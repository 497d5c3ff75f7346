"""ResNet backbone N (section 4.1): ResNet-50 and its small relatives.

Follows torchvision (v1.5: the stride sits in the 3x3 convolution of a
bottleneck; explicit symmetric padding; BN eps 1e-5; an output stride below 32
replaces strides by dilation as `replace_stride_with_dilation` does), so that
its weights port one to one. Dilated blocks work on folded maps: see
`dilation.py`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from c3_jax.geometry import AnyArray
from c3_jax.models import dilation
from c3_jax.models.pooling import max_pool
from c3_jax.runtime import parallel

Images = Float[AnyArray, "b H W 3"]
Maps = Float[Array, "b _ _ _"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def normalise(images: Images, dtype=jnp.float32) -> Float[Array, "b H W 3"]:
  """Normalises RGB in [0, 1] to ImageNet's zero mean and unit deviation."""
  mean, std = jnp.array(IMAGENET_MEAN), jnp.array(IMAGENET_STD)
  return ((images - mean) / std).astype(dtype)


def make_norm(kind, *, train, dtype):
  """Makes a constructor of norm layers: "batch", "frozen" or "group".

  "batch" averages its statistics over all devices, so that they do not depend
  on how a batch is spread; "frozen" always uses the stored statistics.
  """
  if kind == "group":
    return partial(nn.GroupNorm, num_groups=None, group_size=8, dtype=dtype)
  if kind not in ("batch", "frozen"):
    raise ValueError(f"norm must be batch, frozen or group, not {kind!r}")
  return partial(
    nn.BatchNorm,
    use_running_average=kind == "frozen" or not train,
    momentum=0.9,
    epsilon=1e-5,
    use_fast_variance=False,
    axis_name=parallel.AXIS,
    dtype=dtype,
  )


def pointwise(x, kernel, strides, padding, **kwargs):
  """Computes `jax.lax.conv_general_dilated` of 1x1 kernels as a matmul.

  XLA's gradients of such convolutions are two to six times slower on a CPU.
  """
  del padding, kwargs
  x = x[:, :: strides[0], :: strides[1]]
  return jnp.einsum("bhwc,cd->bhwd", x, kernel[0, 0])


def conv(features, kernel, *, stride=1, train=False, **kwargs):
  """Makes a convolution without bias, padded as torch pads it."""
  if kernel == 1:
    kwargs["conv_general_dilated"] = pointwise
  elif stride > 1 and train:  # For the gradient; it multiplies some zeros.
    kwargs["conv_general_dilated"] = dilation.strided
  return nn.Conv(
    features,
    (kernel, kernel),
    strides=stride,
    padding=(kernel - 1) // 2,
    use_bias=False,
    kernel_init=nn.initializers.he_normal(),
    **kwargs,
  )


class Block(nn.Module):
  """Residual block: torchvision's bottleneck, or its basic block.

  Maps [b, .., h, w, c] to [b, .., h / stride, w / stride, features], four
  times the features for a bottleneck. `inside` is that of `dilation`: other
  cells count neither in a norm nor in a convolution.
  """

  features: int
  bottleneck: bool
  stride: int
  norm: Any
  dtype: Any
  train: bool

  @nn.compact
  def __call__(self, x, inside=None):
    out = self.features * (4 if self.bottleneck else 1)
    layer = partial(conv, train=self.train, dtype=self.dtype)

    def norm(x, name):
      if inside is None:
        return self.norm(name=name)(x)
      mask = jnp.broadcast_to(inside, x.shape)
      return self.norm(name=name)(x, mask=mask)

    # (kernel, stride) of each convolution.
    strided = (3, self.stride)
    plan = [(1, 1), strided, (1, 1)] if self.bottleneck else [strided, (3, 1)]
    y = x
    for i, (kernel, stride) in enumerate(plan, start=1):
      features = out if i == len(plan) else self.features
      y = nn.relu(y) if i > 1 else y
      if kernel > 1 and inside is not None:
        y = jnp.where(inside, y, 0)  # As padding is.
      y = layer(features, kernel, stride=stride, name=f"conv{i}")(y)
      y = norm(y, f"bn{i}")
    if x.shape != y.shape:
      x = layer(out, 1, stride=self.stride, name="downsample_conv")(x)
      x = norm(x, "downsample_bn")
    return nn.relu(x + y)


class ResNet(nn.Module):
  """Backbone N: maps images in [0, 1] to (layer3, layer4).

  Attributes:
    stage_sizes: blocks a layer; (3, 4, 6, 3) is ResNet-50 (bottleneck).
    width: channels of the stem; layer i has width * 2^(i - 1) (times 4 for
      bottlenecks) unless `widths` is given.
    bottleneck: torchvision's bottleneck or basic block.
    stem: "imagenet" (7x7 stride 2 and a 3x3 max-pool stride 2: stride 4) or
      "small" (3x3, stride 2, for small images).
    output_stride: of layer4 (and, where it is reached earlier, of the layers
      before it); later strides become dilations.
    norm: "batch", "frozen" (batch norm with fixed statistics) or "group".
    widths: channels of layer1 to layer4; None is width * 2^(i - 1).
    dtype: of the computation; parameters are float32.
  """

  stage_sizes: Sequence[int] = (3, 4, 6, 3)
  width: int = 64
  bottleneck: bool = True
  stem: str = "imagenet"
  output_stride: int = 32
  norm: str = "batch"
  widths: Sequence[int] | None = None
  dtype: Any = jnp.float32

  @nn.nowrap
  def blocks(self):
    """Lists (layer, place in it, features, stride, dilation) of each block."""
    stride, dilation, plan = 4 if self.stem == "imagenet" else 2, 1, []
    widths = self.widths or [self.width * 2**i for i in range(4)]
    layers = zip(self.stage_sizes, widths, strict=True)
    for layer, (blocks, features) in enumerate(layers, start=1):
      step = 1 if layer == 1 else 2
      # torchvision: the first block of a dilated layer keeps the dilation of
      # the layer before it.
      first_dilation = dilation
      if step == 2 and stride * 2 > self.output_stride:
        step, dilation = 1, dilation * 2
      stride *= step
      rest = [(layer, j, features, 1, dilation) for j in range(1, blocks)]
      plan += [(layer, 0, features, step, first_dilation), *rest][:blocks]
    return plan

  @nn.compact
  def __call__(self, images: Images, *, train=False) -> tuple[Maps, Maps]:
    norm = make_norm(self.norm, train=train, dtype=self.dtype)
    x = normalise(images, self.dtype)
    if self.stem not in ("imagenet", "small"):
      raise ValueError(f"stem must be imagenet or small, not {self.stem!r}")
    kernel = 7 if self.stem == "imagenet" else 3
    stem = partial(conv, stride=2, train=train, dtype=self.dtype)
    x = stem(self.width, kernel, name="conv1")(x)
    x = nn.relu(norm(name="bn1")(x))
    if self.stem == "imagenet":
      x = max_pool(x, 3)
    x, size = x[:, None, None], x.shape[1:3]
    outputs = dict.fromkeys((3, 4), (x, size))
    for layer, place, features, stride, d in self.blocks():
      x = Block(
        features,
        self.bottleneck,
        stride=stride,
        norm=norm,
        dtype=self.dtype,
        train=train,
        name=f"layer{layer}_{place}",
      )(dilation.fold(x, d), dilation.inside(size, d))
      if d == 1:
        size = x.shape[3:5]
      # A layer without blocks hands on what came before it.
      outputs |= {n: (x, size) for n in outputs if n >= layer}
    return tuple(dilation.unfold(*output) for output in outputs.values())
