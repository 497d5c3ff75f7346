"""Weights for other images give ours the same features."""

import numpy as np
import pytest
import torch

from c3_jax.models import vgg_input
from c3_jax.models.vgg import VGG

# (channel order of what a network was given, mean in that order).
GIVEN = {
  "caffe": ([2, 1, 0], [103.939, 116.779, 123.68]),
  "hed": ([2, 1, 0], [104.00699, 116.66877, 122.67892]),
  "features": ([0, 1, 2], [122.99925, 116.9991, 103.9992]),
}


@pytest.mark.parametrize("name", GIVEN)
def test_folded_weights_see_what_the_network_saw(name):
  """PyTorch on the numbers of the given input; ours on RGB in [0, 1]."""
  rng = np.random.default_rng(0)
  kernel = rng.normal(0, 0.02, (3, 3, 3, 2)).astype("f4")
  bias = rng.normal(0, 0.1, 2).astype("f4")
  image = rng.integers(0, 256, (1, 7, 9, 3)).astype("f4")
  order, mean = GIVEN[name]
  seen = torch.tensor(image[..., order] - np.float32(mean)).permute(0, 3, 1, 2)
  weight = torch.tensor(kernel.transpose(3, 2, 0, 1))
  want = torch.conv2d(seen, weight, torch.tensor(bias), padding=1)
  want = torch.relu(want).permute(0, 2, 3, 1).numpy()
  variables = {"params/conv1_1/kernel": kernel, "params/conv1_1/bias": bias}
  folded = vgg_input.fold(variables, name)
  layer = {
    leaf: folded[f"params/conv1_1/{leaf}"] for leaf in ("kernel", "bias")
  }
  network = VGG(taps=("conv1_1",), width=1 / 32)
  got = network.apply({"params": {"conv1_1": layer}}, image / 255)["conv1_1"]
  inner = np.s_[:, 1:-1, 1:-1]
  np.testing.assert_allclose(got[inner], want[inner], rtol=1e-4, atol=1e-4)
  assert want[inner].max() > 1
  # Zeros beyond the border stand for means that differ by less than 1 of 255.
  border = 27 * np.abs(kernel).max()
  np.testing.assert_allclose(got, want, atol=border)


def test_our_input_changes_nothing():
  """Weights that take ImageNet's normalisation stay as they are."""
  variables = {"params/conv1_1/bias": np.ones(2, "f4")}
  assert vgg_input.fold(variables, "imagenet") is variables
