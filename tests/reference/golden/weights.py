"""Draws the weights and images of the golden outputs from a seed.

By NumPy's `RandomState`, whose streams never change.
"""

import numpy as np

from c3_jax.models import porting

NETWORKS = ("resnet50", "vgg16", "vgg19")
STRIDES = (32, 16, 8)
LAYERS = ("layer3", "layer4")


def images():
  """Draws one image [1, 64, 48, 3] in [0, 1]."""
  return np.random.RandomState(0).uniform(size=(1, 64, 48, 3)).astype("f4")


def state(network):
  """Draws a state dict with torchvision's names, without the classifier."""
  module, table = porting.NETWORKS[network]
  shapes = porting.shapes(module)
  rng = np.random.RandomState(NETWORKS.index(network))
  tensors = {}
  for name, path in sorted(porting.namings(shapes, table)[0].items()):
    shape = shapes[path]
    if len(shape) == 4:
      shape = (shape[3], shape[2], *shape[:2])
      std = (2 / np.prod(shape[1:])) ** 0.5
      value = std * rng.standard_normal(shape)
    elif path.endswith(("scale", "var")):
      value = rng.uniform(0.5, 1.5, shape)
    else:
      value = 0.2 * rng.standard_normal(shape)
    tensors[name] = value.astype("f4")
  return tensors


def sample(array):
  """Takes at most 512 numbers of a map [1, h, w, c], evenly spread."""
  flat = np.asarray(array).ravel()
  # An odd step passes through all channels.
  return flat[:: flat.size // 512 | 1].astype("f4")
