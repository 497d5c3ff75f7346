"""Our networks with torchvision's weights, ported by c3_jax itself."""

import flax.traverse_util
import jax
import numpy as np

from c3_jax.models import dilation, porting
from tests.reference import oracles


def resnet(model, module):
  """Ports torchvision's ResNet: the variables of our `module`."""
  return _port(oracles.numpy_state(model), module, porting.RESNET)


def vgg(features, arch):
  """Ports torchvision's `features`: all of our "vgg16" or "vgg19"."""
  state = oracles.numpy_state(features, "features.")
  return _port(state, *porting.NETWORKS[arch])


def _port(state, module, table):
  variables = porting.port(state, module, table, origin="test", title="test")
  return flax.traverse_util.unflatten_dict(variables, sep="/")


def resnet_layers(module, variables, images):
  """Runs our ResNet: dict layer1 .. layer4 -> map.

  Raises:
    AssertionError: it returns others than layer3 and layer4.
  """
  last = [f"layer{i}_{n - 1}" for i, n in enumerate(module.stage_sizes, 1)]
  keep = lambda module, method: module.name in last  # noqa: E731

  @jax.jit
  def run(variables, images):
    return module.apply(
      variables,
      images,
      capture_intermediates=keep,
      mutable=["intermediates"],
    )

  (f3, f4), kept = run(variables, images)
  kept = kept["intermediates"]
  maps = {name.split("_")[0]: kept[name]["__call__"][0] for name in last}
  # Dilated blocks work on folded maps.
  sizes = {"layer3": f3.shape[1:3], "layer4": f4.shape[1:3]}
  maps = {
    name: dilation.unfold(x, sizes.get(name, x.shape[3:5]))
    for name, x in maps.items()
  }
  np.testing.assert_array_equal(f3, maps["layer3"])
  np.testing.assert_array_equal(f4, maps["layer4"])
  return maps
