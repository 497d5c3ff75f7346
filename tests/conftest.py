"""Four fake CPU devices for every test, and the oracles that need set-up."""

import os
import pathlib

# Also for the programs that tests start; a shell set up for GPU training must
# not decide where the tests run.
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]

# Where the programs that tests start keep what they compiled.
os.environ["XDG_CACHE_HOME"] = str(ROOT / ".cache")

# Before the first use of JAX, which fixes the number of devices.
jax.config.update("jax_num_cpu_devices", 4)

# Compiling is most of what the tests do; a second run takes a third of the
# time. Not for the programs that tests start: one killed while it writes an
# entry would leave it broken.
jax.config.update("jax_compilation_cache_dir", str(ROOT / ".cache" / "jax"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture(scope="session")
def torchvision_models():
  """The module `torchvision.models`: the oracle for ported networks.

  Returns:
    `torchvision.models`, whose constructors are called with `weights=None`.
  """
  import torch

  try:
    import torchvision
  except RuntimeError as error:
    # torchvision's wheels hold CUDA operators, which a CPU build of torch can
    # not load; then the import stops where it describes two of them, that no
    # classification network uses. Declaring them is enough.
    if "torchvision::nms" not in str(error):
      raise
    boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms" + boxes)
    library.define("qnms" + boxes)
    import torchvision

    # The declarations last as long as this object.
    torchvision.declared_operators = library
  return torchvision.models


@pytest.fixture(scope="session")
def public_data():
  """The folder of real lists and pictures beside the project; or skips."""
  place = ROOT.parent / "shared" / "data"
  place = pathlib.Path(os.environ.get("C3_JAX_PUBLIC_DATA", place))
  if not place.is_dir():
    pytest.skip(f"{place} is not there; set C3_JAX_PUBLIC_DATA")
  return place


@pytest.fixture
def dots(monkeypatch):
  """Example data shows a white dot in place of a face, and is drawn at once.

  All five annotated points lie on the dot, at whole pixels.

  Returns:
    Function that finds the dots of uint8 [n, S, S, 3]: float [n, 2] (x, y), in
    [-1, 1] of the picture.
  """
  from c3_jax.data import example

  def draw(split, n, seed, size=(64, 64)):
    seed = [len(split), *np.atleast_1d(seed), *size]
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(*(np.arange(side) for side in size))
    middle, short = np.array(size) / 2, min(size)
    for _ in range(n):
      dot = np.rint(middle + rng.uniform(-0.2, 0.2, 2) * short)
      square = (x - dot[0]) ** 2 + (y - dot[1]) ** 2
      blob = 255 * np.exp(-square / 2 / (short / 20) ** 2)
      picture = Image.fromarray(blob.astype(np.uint8)).convert("RGB")
      yield picture, np.tile(dot, (5, 1))

  def find(images):
    size = images.shape[1]
    x, y = np.meshgrid(*(np.arange(size),) * 2)
    weight = np.where(images[..., 0] > 25, images[..., 0], 0.0)
    total = weight.sum((1, 2))
    pixels = [(weight * axis).sum((1, 2)) / total for axis in (x, y)]
    return (2 * np.stack(pixels, -1) + 1) / size - 1

  monkeypatch.setattr(example, "_faces", draw)
  return find
