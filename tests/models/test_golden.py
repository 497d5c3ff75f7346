"""Ported weights against golden outputs of torchvision; no PyTorch here.

The way of a user's weights is gone in full: a .safetensors file, the port, the
folder that a config names, the network.
"""

import pathlib

import flax.traverse_util
import jax
import numpy as np
import pytest
import safetensors.numpy

from c3_jax import port_weights
from c3_jax.models import weight_files
from c3_jax.models.resnet import ResNet
from c3_jax.models.vgg import VGG
from tests.reference.golden import weights

pytestmark = pytest.mark.usefixtures("compiled_fully")

PLACE = pathlib.Path(weights.__file__).parent / "outputs.npz"


@pytest.fixture(scope="module")
def golden():
  """dict key -> array."""
  with np.load(PLACE) as file:
    return dict(file)


@pytest.fixture(scope="module")
def ported(tmp_path_factory):
  """A function network -> its variables, through the files."""
  folder = tmp_path_factory.mktemp("weights")

  def load(network):
    file = folder / f"{network}-golden.safetensors"
    safetensors.numpy.save_file(weights.state(network), file)
    variables, about = port_weights.port_file(file, network)
    file.unlink()
    weight_files.save(variables, about, folder, network)
    loaded = weight_files.load(folder, network, key="weights")
    return flax.traverse_util.unflatten_dict(loaded, sep="/")

  return load


def assert_golden(golden, key, got):
  """Within 1e-4 of the largest activation of the map."""
  want, scale = golden[key], golden[f"{key}/scale"]
  assert want.size > 256 and scale > 0.1
  np.testing.assert_allclose(
    weights.sample(got), want, rtol=0, atol=1e-4 * scale, err_msg=key
  )


def test_golden_file_is_small():
  """It is in the repository: under 200 KB."""
  assert PLACE.stat().st_size < 200e3


@pytest.mark.slow
def test_resnet50(golden, ported):
  """layer3 and layer4 at every output stride."""
  variables = ported("resnet50")
  for stride in weights.STRIDES:
    apply = jax.jit(ResNet(output_stride=stride, norm="frozen").apply)
    for name, got in zip(weights.LAYERS, apply(variables, weights.images())):
      assert_golden(golden, f"resnet50/{stride}/{name}", got)


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["vgg16", "vgg19"])
def test_vgg(golden, ported, arch):
  """All taps after a ReLU."""
  got = jax.jit(VGG(arch).apply)(ported(arch), weights.images())
  for block in range(1, 6):
    assert_golden(golden, f"{arch}/conv{block}_2", got[f"conv{block}_2"])
