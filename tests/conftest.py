"""Four fake CPU devices for every test, and the oracles that need set-up."""

import os
import pathlib

# Also for the programs that tests start; a shell set up for GPU training must
# not decide where the tests run.
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import pytest

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
