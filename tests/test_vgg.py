"""VGG taps against torchvision's networks with random weights."""

import jax
import numpy as np
import pytest
import torch

from c3_jax.models import vgg

IMAGES = np.random.default_rng(0).uniform(size=(1, 32, 48, 3)).astype("f4")


def torch_taps(features, images):
  """Every map of torchvision's `features` after its ReLU, by our names.

  Args:
    features: `torch.nn.Sequential` of convolutions, ReLUs and pools.
    images: [b, h, w, 3] in [0, 1].

  Returns:
    (params, maps): our parameters of the convolutions, and the maps.
  """
  mean = np.array([0.485, 0.456, 0.406], "f4")
  std = np.array([0.229, 0.224, 0.225], "f4")
  x = torch.tensor((images - mean) / std).permute(0, 3, 1, 2)
  params, maps = {}, {"input": x}
  block, count = 1, 0
  for layer in features:
    x = layer(x)
    if isinstance(layer, torch.nn.Conv2d):
      count += 1
      name = f"conv{block}_{count}"
      params[name] = {
        "kernel": layer.weight.permute(2, 3, 1, 0).numpy(),
        "bias": layer.bias.numpy(),
      }
    elif isinstance(layer, torch.nn.ReLU):
      maps[name] = x
    else:
      block, count = block + 1, 0
  return params, {k: v.permute(0, 2, 3, 1).numpy() for k, v in maps.items()}


@pytest.mark.parametrize("arch, letter", [("vgg16", "D"), ("vgg19", "E")])
def test_taps_equal_torchvision(torchvision_models, arch, letter):
  """All six taps are torchvision's maps after the ReLU of convB_2."""
  torch.manual_seed(0)
  library = torchvision_models.vgg
  # The features alone: the classifier has most of the weights and no part.
  features = library.make_layers(library.cfgs[letter]).requires_grad_(False)
  for layer in features:
    if isinstance(layer, torch.nn.Conv2d):
      torch.nn.init.kaiming_normal_(layer.weight)
      torch.nn.init.normal_(layer.bias, std=0.3)
  with torch.no_grad():
    params, want = torch_taps(features, IMAGES)

  module = vgg.VGG(arch)
  shapes = jax.eval_shape(module.init, jax.random.key(0), IMAGES)["params"]
  last = next(reversed(shapes))
  # Exactly the convolutions up to the last tap, in torchvision's order.
  assert last == "conv5_2"
  names = list(params)
  assert list(shapes) == names[: names.index(last) + 1]
  got = jax.jit(module.apply)(
    {"params": {k: params[k] for k in shapes}}, IMAGES
  )
  assert set(got) == set(vgg.TAPS)
  for block, tap in enumerate(vgg.TAPS[1:]):
    channels = (64, 128, 256, 512, 512)[block]
    assert got[tap].shape == (1, 32 >> block, 48 >> block, channels)
    assert got[tap].min() == 0
  for tap in vgg.TAPS:
    atol = 1e-4 * np.abs(want[tap]).max()
    np.testing.assert_allclose(got[tap], want[tap], atol=atol)


def test_only_the_asked_taps_come_back():
  """No other map is returned, no layer after the last is made."""
  module = vgg.VGG("vgg19", taps=("conv3_4", "conv1_1"), width=0.125)
  out, variables = jax.eval_shape(
    module.init_with_output, jax.random.key(0), IMAGES
  )
  assert {tap: x.shape for tap, x in out.items()} == {
    "conv3_4": (1, 8, 12, 32),
    "conv1_1": (1, 32, 48, 8),
  }
  assert max(variables["params"]) == "conv3_4"
  assert len(variables["params"]) == 2 + 2 + 4


def test_a_layer_the_network_lacks_is_an_error():
  """VGG16 has no conv3_4; the error names it."""
  module = vgg.VGG("vgg16", taps=("conv1_2", "conv3_4"), width=0.125)
  with pytest.raises(ValueError, match=r"vgg16 has no layer \['conv3_4'\]"):
    jax.eval_shape(module.init, jax.random.key(0), IMAGES)
