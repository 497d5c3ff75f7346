"""What images a VGG's weights take, folded into its first convolution.

Our VGG sees RGB in [0, 1], normalised by ImageNet's mean and deviation. Weights
that were trained on other numbers of the same images are moved to these.
"""

from typing import NamedTuple

import numpy as np

from c3_jax.models.resnet import IMAGENET_MEAN, IMAGENET_STD


class Input(NamedTuple):
  """The numbers that a network was trained on: 255 times RGB, less a mean.

  Attributes:
    words: for people.
    mean: of (red, green, blue), in [0, 255].
    reverse: whether blue comes first.
  """

  words: str
  mean: tuple[float, float, float]
  reverse: bool


# "imagenet", which needs no change, is ours and that of PyTorch's files.
INPUTS = {
  "caffe": Input(
    "BGR in [0, 255] less its mean: Caffe's and Keras' own VGG",
    (123.68, 116.779, 103.939),
    True,
  ),
  "features": Input(
    "RGB in [0, 255] less its mean: torchvision's IMAGENET1K_FEATURES",
    (0.48235 * 255, 0.45882 * 255, 0.40784 * 255),
    False,
  ),
  "hed": Input(
    "BGR in [0, 255] less its mean: HED",
    (122.67892, 116.66877, 104.00699),
    True,
  ),
}
NAMES = ("imagenet", *INPUTS)


def fold(variables: dict, name: str) -> dict:
  """Makes variables that take our input out of such that take another.

  Where the image ends, our zeros stand for ImageNet's mean, theirs for their
  own; they differ by less than 1 of 255.

  Args:
    variables: path -> float32 array, from `porting.port`.
    name: one of `NAMES`.
  """
  if name == "imagenet":
    return variables
  given = INPUTS[name]
  kernel = variables["params/conv1_1/kernel"].astype(np.float64)
  bias = variables["params/conv1_1/bias"].astype(np.float64)
  if given.reverse:
    kernel = kernel[:, :, ::-1]
  # Theirs = 255 deviation ours + offset, in each channel.
  offset = 255 * np.asarray(IMAGENET_MEAN) - given.mean
  bias = bias + np.einsum("yxco,c->o", kernel, offset)
  kernel = kernel * (255 * np.asarray(IMAGENET_STD))[:, None]
  return variables | {
    "params/conv1_1/kernel": np.ascontiguousarray(kernel, np.float32),
    "params/conv1_1/bias": bias.astype(np.float32),
  }
