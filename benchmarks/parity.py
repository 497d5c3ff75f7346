"""Ported networks against torchvision's: every size, stride, layer and tap.

  python -m benchmarks.parity --out=benchmarks/parity.json

The comparisons of tests/models/test_resnet.py and test_vgg.py on the complete
grid, float32 on the CPU: random weights, batch norms with random weight, bias,
mean and variance. A number is the largest error of a map over its largest
activation. Needs PyTorch and torchvision.
"""

import argparse
import json
import pathlib

import jax
import numpy as np
import torch

from c3_jax.models import resnet, vgg
from tests.reference import oracles, ported

SIZES = (128, 400)
STRIDES = (32, 16, 8)


def errors(got, want):
  """Compares dicts of maps: name -> largest error / largest activation."""
  return {
    name: float(np.abs(got[name] - w).max() / np.abs(w).max())
    for name, w in want.items()
  }


def compare_resnet(images, output_stride, state):
  """Measures the errors of layer1 .. layer4 of a ResNet-50."""
  model = oracles.resnet50(output_stride, state)
  ours = resnet.ResNet(output_stride=output_stride, norm="frozen")
  got = ported.resnet_layers(ours, ported.resnet(model, ours), images)
  return errors(got, oracles.resnet_layers(model, images))


def compare_vgg(images, arch):
  """Measures the errors of the six taps."""
  features = oracles.vgg_features(arch)
  taps = oracles.vgg_taps(features, oracles.to_torch(images))
  want = {tap: oracles.to_numpy(taps[tap]) for tap in vgg.TAPS}
  variables = ported.vgg(features, arch)
  return errors(jax.jit(vgg.VGG(arch).apply)(variables, images), want)


def main():
  """Parses the arguments, compares, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, required=True)
  args = parser.parse_args()
  torch.manual_seed(0)
  state = oracles.resnet50().state_dict()
  rows = []
  for size in SIZES:
    images = np.random.default_rng(size).uniform(size=(1, size, size, 3))
    images = images.astype("f4")
    for stride in STRIDES:
      found = compare_resnet(images, stride, state)
      rows.append({"network": f"resnet50 / {stride}", "size": size} | found)
    for arch in ("vgg16", "vgg19"):
      found = compare_vgg(images, arch)
      rows.append({"network": arch, "size": size} | found)
    args.out.write_text(json.dumps(rows, indent=1) + "\n")
  for row in rows:
    name, size, *_ = row.values()
    values = ", ".join(f"{k} {v:.1e}" for k, v in list(row.items())[2:])
    print(f"{name} at {size} px: {values}")
  worst = max(v for row in rows for v in list(row.values())[2:])
  print(f"largest of all: {worst:.1e}")


if __name__ == "__main__":
  main()
