"""FLOP counts agree with products of sizes worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from c3_jax.models import flow
from c3_jax.profiling import flops


def taps(n, kernel):
  """Taps of a kernel that fall on n cells, summed over its n places."""
  pad = kernel // 2
  return sum(
    1 for i in range(n) for d in range(-pad, pad + 1) if 0 <= i + d < n
  )


def test_a_multiply_add_is_two_flop():
  """A matrix product of m x k by k x n is 2 m k n."""
  a, b = jnp.zeros((3, 5)), jnp.zeros((5, 7))
  assert flops.count(jnp.matmul, a, b) == 2 * 3 * 5 * 7


def test_taps_on_the_padding_are_not_counted():
  """A 5 x 5 convolution counts the taps that fall on the image."""
  conv = nn.Conv(4, (5, 5), use_bias=False)
  image = jax.ShapeDtypeStruct((2, 9, 9, 3), jnp.float32)
  expected = 2 * 2 * 3 * 4 * taps(9, 5) ** 2
  assert flops.module_flop(conv, image) == expected


@pytest.mark.slow
@pytest.mark.parametrize("separable", [True, False])
def test_head_is_its_convolutions_and_little_else(separable):
  """Correlation and layers, by hand; the rest is a few per cent.

  The padding along the first axis of the 4-D kernel is made by hand, hence
  counted.
  """
  got = flops.flow_pair_gflop(
    separable=separable, backbone="resnet50", size=160
  )
  n = 10
  if separable:
    # W2 takes the channels in, W1 those of W2; both see all the cells of the
    # other image.
    products = 1 * 16 + 16 * 16 + 16 * 16 + 16 * 16 + 16 * 1 + 1 * 1
    layers = taps(n, 5) ** 2 * n**2 * products
  else:
    layers = 5 * n * taps(n, 5) ** 3 * (1 * 16 + 16 * 16 + 16 * 1)
  expected = 2 * (2 * layers + n**4 * 1024) / 1e9
  assert expected < got["head"] < 1.1 * expected


@pytest.fixture(scope="module")
def published():
  """The two programs of the paper's comparison, at its size."""
  return {
    backbone: flops.flow_pair_gflop(separable=separable, backbone=backbone)
    for backbone, separable in (("resnet50", True), ("resnet101", False))
  }


@pytest.mark.slow
@pytest.mark.parametrize(
  "backbone, gigamacs", [("resnet50", 10.7), ("resnet101", 22.29)]
)
def test_features_are_those_of_the_published_network(
  published, backbone, gigamacs
):
  """Layer3 at 400 x 400 is what others count, less the padding's taps."""
  got = published[backbone]
  assert 0.95 * 4 * gigamacs < got["features"] < 1.01 * 4 * gigamacs
  np.testing.assert_allclose(
    got["total"], got["features"] + got["head"], rtol=1e-12
  )


@pytest.mark.slow
def test_the_separable_flow_is_as_cheap_as_claimed(published):
  """At most the paper's 81 GFLOP, a quarter of NC-Net's; the head a seventh."""
  ours, ncnet = published["resnet50"], published["resnet101"]
  assert ours["total"] <= 81
  assert 4 * ours["total"] <= ncnet["total"]
  assert 7 * ours["head"] <= ncnet["head"]


def test_the_compiled_program_does_as_much():
  """What XLA makes of the head costs what was counted, to 5 %."""
  head = flow.Flow()
  c = jax.ShapeDtypeStruct((1, 8, 8, 8, 8), jnp.float32)
  variables = jax.eval_shape(head.init, jax.random.key(0), c)
  compiled = jax.jit(head.apply).lower(variables, c).compile()
  np.testing.assert_allclose(
    flops.module_flop(head, c), compiled.cost_analysis()["flops"], rtol=0.05
  )
