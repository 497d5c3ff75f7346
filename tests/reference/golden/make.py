"""Makes tests/reference/golden/outputs.npz with torchvision's own networks.

python -m tests.reference.golden.make
"""

import pathlib

import numpy as np
import torch

from tests.reference import oracles
from tests.reference.golden import weights

PLACE = pathlib.Path(__file__).parent / "outputs.npz"


def load(module, network, prefix=""):
  """Loads the golden weights into a module; every tensor must fit."""
  state = {
    name.removeprefix(prefix): torch.tensor(value)
    for name, value in weights.state(network).items()
  }
  missing, unexpected = module.load_state_dict(state, strict=False)
  assert not unexpected
  assert all(n.startswith("fc.") or n.endswith("tracked") for n in missing)
  return module


def main():
  """Runs torchvision's networks and writes a few hundred numbers of each map.

  Keys are "NETWORK/STRIDE/LAYER" and "NETWORK/TAP"; "KEY/scale" holds the
  largest activation of the map.
  """
  images, maps = weights.images(), {}
  for stride in weights.STRIDES:
    model = load(oracles.resnet50(stride), "resnet50")
    layers = oracles.resnet_layers(model, images)
    for name in weights.LAYERS:
      maps[f"resnet50/{stride}/{name}"] = layers[name]
  for network in ("vgg16", "vgg19"):
    features = load(oracles.vgg_features(network), network, "features.")
    taps = oracles.vgg_taps(features, oracles.to_torch(images))
    for block in range(1, 6):
      tap = f"conv{block}_2"
      maps[f"{network}/{tap}"] = oracles.to_numpy(taps[tap])
  samples = {key: weights.sample(value) for key, value in maps.items()}
  scales = {f"{key}/scale": np.abs(x).max() for key, x in maps.items()}
  np.savez_compressed(PLACE, **samples, **scales)
  print(f"{PLACE}: {PLACE.stat().st_size} bytes, {len(maps)} maps")


if __name__ == "__main__":
  main()
