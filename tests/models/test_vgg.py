"""VGG taps against torchvision's networks with random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from c3_jax.models import porting, vgg
from c3_jax.training import objectives
from tests.reference import oracles, ported

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(1, 32, 48, 3)).astype("f4")


@pytest.mark.parametrize(
  "arch, size",
  # 400 px of PF-Pascal in one direction: a strip is less work.
  [
    ("vgg16", (128, 128)),
    pytest.param("vgg16", (400, 48), marks=pytest.mark.slow),
    pytest.param("vgg19", (128, 128), marks=pytest.mark.slow),
  ],
)
def test_taps_equal_torchvision(arch, size):
  """All six taps are torchvision's maps after the ReLU of convB_2."""
  torch.manual_seed(0)
  features = oracles.vgg_features(arch)
  images = RNG.uniform(size=(1, *size, 3)).astype("f4")
  want = oracles.vgg_taps(features, oracles.to_torch(images))
  got = jax.jit(vgg.VGG(arch).apply)(ported.vgg(features, arch), images)
  assert set(got) == set(vgg.TAPS)
  for block, tap in enumerate(vgg.TAPS[1:]):
    channels = (64, 128, 256, 512, 512)[block]
    assert got[tap].shape == (1, *(side >> block for side in size), channels)
    assert got[tap].min() == 0
  for tap in vgg.TAPS:
    w = oracles.to_numpy(want[tap])
    atol = 1e-4 * np.abs(w).max()
    np.testing.assert_allclose(got[tap], w, rtol=0, atol=atol, err_msg=tap)


def test_reduce_shows_the_convolutions_a_smaller_image():
  """`input` keeps its pixels; the other taps are those of the mean-pooled."""
  options = {"taps": ("input", "conv1_2", "conv2_2"), "width": 0.125}
  small = IMAGES.reshape(1, 16, 2, 24, 2, 3).mean((2, 4))
  network = vgg.VGG("vgg16", **options)
  variables = network.init(jax.random.key(0), small)
  full, want = (network.apply(variables, x) for x in (IMAGES, small))
  got = vgg.VGG("vgg16", **options, reduce=2).apply(variables, IMAGES)
  np.testing.assert_array_equal(got["input"], full["input"])
  for tap in ("conv1_2", "conv2_2"):
    np.testing.assert_allclose(got[tap], want[tap], rtol=1e-5, atol=1e-6)
  with pytest.raises(ValueError, match="reduce=64 is above .* 32 x 48"):
    vgg.VGG("vgg16", **options, reduce=64).apply(variables, IMAGES)


@pytest.mark.parametrize("arch", ["vgg16", "vgg19"])
def test_parameters_are_torchvisions(arch):
  """With the last layer as a tap all of `features` is there, no more."""
  want = sum(p.numel() for p in oracles.vgg_features(arch).parameters())
  module, _ = porting.NETWORKS[arch]
  shapes = porting.shapes(module).values()
  assert sum(np.prod(shape) for shape in shapes) == want


@pytest.mark.slow
def test_gradient_of_the_perceptual_distance_is_autograds():
  """dP / d(image) is PyTorch's, with a mask and running means that weigh."""
  torch.manual_seed(1)
  features = oracles.vgg_features("vgg16")
  rng = np.random.default_rng(1)
  target, output = rng.uniform(size=(2, 1, 32, 48, 3)).astype("f4")
  means = dict(zip(vgg.TAPS, np.geomspace(0.2, 7.0, 6), strict=True))
  variables = ported.vgg(features, "vgg16")
  module = vgg.VGG("vgg16")

  def ours(output):
    distances = objectives.tap_distances(
      module.apply(variables, target), module.apply(variables, output)
    )
    running = {tap: jnp.float32(mean) for tap, mean in means.items()}
    return objectives.perceptual(distances, running)

  value, gradient = jax.jit(jax.value_and_grad(ours))(output)
  image = torch.tensor(output, requires_grad=True)
  mean, std = (torch.tensor(x).float() for x in (oracles.MEAN, oracles.STD))
  maps = [
    oracles.vgg_taps(features, ((x - mean) / std).permute(0, 3, 1, 2))
    for x in (torch.tensor(target), image)
  ]
  want = sum(
    torch.mean((maps[0][tap] - maps[1][tap]) ** 2) / mean / len(means)
    for tap, mean in means.items()
  )
  want.backward()
  np.testing.assert_allclose(value, want.item(), rtol=1e-4)
  error = np.linalg.norm(gradient - image.grad.numpy())
  assert error < 1e-3 * np.linalg.norm(image.grad.numpy())


def test_half_precision_keeps_the_image():
  """bfloat16 is the type of the features; the image itself stays float32."""
  module = vgg.VGG(width=0.125, dtype=jnp.bfloat16)
  maps, variables = jax.eval_shape(
    module.init_with_output, jax.random.key(0), IMAGES
  )
  types = {tap: x.dtype.name for tap, x in maps.items()}
  assert types.pop("input") == "float32"
  assert set(types.values()) == {"bfloat16"}
  assert {x.dtype.name for x in jax.tree.leaves(variables)} == {"float32"}


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


def test_reduced_taps_are_those_of_a_smaller_image():
  """`reduce` leaves "input" as it is; the rest sees 2 x 2 means."""
  module = vgg.VGG(taps=("input", "conv2_2"), width=0.125, reduce=2)
  got, variables = jax.jit(module.init_with_output)(jax.random.key(0), IMAGES)
  small = IMAGES.reshape(1, 16, 2, 24, 2, 3).mean((2, 4))
  want = jax.jit(module.clone(reduce=1).apply)(variables, small)
  np.testing.assert_allclose(got["conv2_2"], want["conv2_2"], atol=1e-5)
  whole = module.clone(reduce=1).apply(variables, IMAGES)
  np.testing.assert_array_equal(got["input"], whole["input"])


def test_a_layer_the_network_lacks_is_an_error():
  """VGG16 has no conv3_4; the error names it."""
  module = vgg.VGG("vgg16", taps=("conv1_2", "conv3_4"), width=0.125)
  with pytest.raises(ValueError, match=r"vgg16 has no layer \['conv3_4'\]"):
    jax.eval_shape(module.init, jax.random.key(0), IMAGES)
