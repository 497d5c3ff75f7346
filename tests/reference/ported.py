"""Our networks with torchvision's weights, ported by c3_jax itself."""

import flax.traverse_util
import jax

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
  """Runs our ResNet: dict layer1 .. layer4 -> map; the last two as returned."""
  last = [f"layer{i}_{n - 1}" for i, n in enumerate(module.stage_sizes, 1)]
  keep = lambda module, method: module.name in last[:2]  # noqa: E731

  @jax.jit
  def run(variables, images):
    return module.apply(
      variables,
      images,
      capture_intermediates=keep,
      mutable=["intermediates"],
    )

  (f3, f4), kept = run(variables, images)
  maps = {}
  for name in last[:2]:
    x = kept["intermediates"][name]["__call__"][0]
    # Dilated blocks work on folded maps.
    maps[name.split("_")[0]] = dilation.unfold(x, x.shape[3:5])
  return maps | {"layer3": f3, "layer4": f4}
