"""Counts the FLOP of the flow module, ours and NC-Net's (section 3.2).

A program is lowered for the shapes of its arguments and counted by XLA's cost
analysis; nothing is compiled or run. A multiply-add is 2 FLOP. Taps of a
convolution that fall on its zero padding are not counted, so counts are up to a
tenth below the usual products of sizes. Of a loop, one turn would be counted:
no program here has one.
"""

from functools import partial

import jax
import jax.numpy as jnp

from c3_jax.models import flow
from c3_jax.models.resnet import ResNet

FLOW_SIZE = 400  # Pixels; PF-PASCAL.
# Blocks a layer, up to layer3, which is f'.
BACKBONES = {"resnet50": (3, 4, 6, 0), "resnet101": (3, 4, 23, 0)}


def count(function, *arguments):
  """Counts the FLOP of one call; arguments may be `jax.ShapeDtypeStruct`s."""
  return float(jax.jit(function).lower(*arguments).cost_analysis()["flops"])


def module_flop(module, *inputs):
  """Counts the FLOP of one call of a Linen module, in evaluation."""
  variables = jax.eval_shape(module.init, jax.random.key(0), *inputs)
  return count(module.apply, variables, *inputs)


def flow_pair_gflop(*, separable, backbone, size=FLOW_SIZE):
  """Counts the GFLOP of the flow of two images, from pixels to C^ (Eq. 3).

  Features are layer3 (a cell every 16 pixels) of both images; the head is the
  correlation and `flow.Flow`.

  Args:
    separable: True for the paper's two 2-D convolutions a layer, False for
      NC-Net's 4-D one.
    backbone: "resnet50" (the paper's) or "resnet101" (NC-Net's).
    size: side of the images in pixels.

  Returns:
    {"features": gflop, "head": gflop, "total": gflop}.
  """
  shape = partial(jax.ShapeDtypeStruct, dtype=jnp.float32)
  network = ResNet(stage_sizes=BACKBONES[backbone], norm="frozen")
  features = module_flop(network, shape((2, size, size, 3))) / 1e9
  n = -(-size // 16)
  maps, correlation = shape((1, n, n, 1024)), shape((1, n, n, n, n))
  head = count(flow.correlation, maps, maps) / 1e9
  head += module_flop(flow.Flow(separable=separable), correlation) / 1e9
  return {"features": features, "head": head, "total": features + head}
