"""Four fake CPU devices for every test, and the oracles that need set-up."""

import atexit
import collections
import contextlib
import gc
import importlib.metadata
import os
import pathlib
import shutil
import tempfile
import time

# Also for the programs that tests start; a shell set up for GPU training must
# not decide where the tests run.
os.environ["JAX_PLATFORMS"] = "cpu"

# XLA's own caches would make the name of the cache's folder a part of each key.
os.environ["JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"] = "none"

# Compiling is most of what the tests do: without LLVM's optimisations and XLA's
# newer loops a train step takes a third of the time. XLA ends at a flag that it
# does not know.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
if importlib.metadata.version("jax").startswith("0.10."):
  _flags = os.environ.get("XLA_FLAGS", "")
  os.environ["XLA_FLAGS"] = f"{_flags} --xla_cpu_use_fusion_emitters=false"

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]

# Where the programs that tests start keep what they compiled.
os.environ["C3_JAX_CACHE"] = str(ROOT / ".cache")

# Before the first use of JAX, which fixes the number of devices.
jax.config.update("jax_num_cpu_devices", 4)

# A second run compiles nothing. JAX writes its entries in place, so each
# process has a folder of its own; what lies in the folder of all is whole.
PROGRAMS = ROOT / ".cache" / "programs"
PROGRAMS.mkdir(parents=True, exist_ok=True)
for _left in PROGRAMS.glob("run-*"):  # By processes that were killed.
  if time.time() - _left.stat().st_mtime > 24 * 3600:
    shutil.rmtree(_left, ignore_errors=True)
OWN = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=PROGRAMS))
atexit.register(shutil.rmtree, OWN, ignore_errors=True)
jax.config.update("jax_compilation_cache_dir", str(OWN))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

# Each program takes several memory maps, of which Linux gives a process 65,530;
# XLA's CPU client crashes where it gets no more. One file may add a third.
MAPS = pathlib.Path("/proc/self/maps")
MOST_MAPS = 20_000


def share_programs():
  """Links what this process has compiled for all, and theirs for it."""
  for source, target in ((OWN, PROGRAMS), (PROGRAMS, OWN)):
    names = {name for name in os.listdir(source) if name.endswith("-cache")}
    for name in names.difference(os.listdir(target)):
      with contextlib.suppress(OSError):  # Another was faster.
        os.link(source / name, target / name)


share_programs()


@pytest.fixture(scope="module", autouse=True)
def between_files():
  """Shares a file's compiled programs after it, and drops too many."""
  yield
  share_programs()
  if not MAPS.exists() or MAPS.read_bytes().count(b"\n") > MOST_MAPS:
    jax.clear_caches()
    gc.collect()


def pytest_collection_modifyitems(items):
  """Puts files with slow tests first: a long one, started last, runs alone."""
  slow = collections.Counter(
    item.path for item in items if item.get_closest_marker("slow")
  )
  items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="module")
def compiled_fully():
  """LLVM with its optimisations, as users have it."""
  name = "jax_disable_most_optimizations"
  jax.config.update(name, False)
  yield
  jax.config.update(name, True)


@pytest.fixture(scope="session")
def torchvision_models():
  """The module `torchvision.models`: the oracle for ported networks.

  Returns:
    `torchvision.models`, whose constructors are called with `weights=None`.
  """
  # Here, for the tests that do without PyTorch.
  from tests.reference import oracles

  torchvision = oracles.import_torchvision()
  return torchvision.models


@pytest.fixture(scope="session")
def public_data():
  """The folder of real lists and images beside the project; or skips."""
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
    [-1, 1] of the image.
  """
  from c3_jax.data import fake

  def draw(split, n, seed, size=(64, 64)):
    seed = [len(split), *np.atleast_1d(seed), *size]
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(*(np.arange(side) for side in size))
    middle, short = np.array(size) / 2, min(size)
    for _ in range(n):
      dot = np.rint(middle + rng.uniform(-0.2, 0.2, 2) * short)
      square = (x - dot[0]) ** 2 + (y - dot[1]) ** 2
      blob = 255 * np.exp(-square / 2 / (short / 20) ** 2)
      image = Image.fromarray(blob.astype(np.uint8)).convert("RGB")
      yield image, np.tile(dot, (5, 1))

  def find(images):
    size = images.shape[1]
    x, y = np.meshgrid(*(np.arange(size),) * 2)
    weight = np.where(images[..., 0] > 25, images[..., 0], 0.0)
    total = weight.sum((1, 2))
    pixels = [(weight * axis).sum((1, 2)) / total for axis in (x, y)]
    return (2 * np.stack(pixels, -1) + 1) / size - 1

  monkeypatch.setattr(fake, "draw_faces", draw)
  return find


@pytest.fixture(scope="session")
def save_run():
  """A function that writes a run of an untrained network, without compiling.

  It takes a folder, and a dict step -> held-out error of the checkpoints, and
  returns (config, variables). A checkpoint has step / 1000 added to all
  variables.
  """
  from c3_jax.models import initial
  from c3_jax.runs import Checkpoints, write_config
  from c3_jax.training.state import TrainState
  from configs import synthetic

  def save(workdir, errors):
    config = synthetic.get_config("test")
    workdir.mkdir(exist_ok=True)
    write_config(config, workdir)
    model, _ = initial.networks(config)
    images = jnp.zeros((2, 16, 16, 3))
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)
    rng = np.random.default_rng(0)

    def draw(path, leaf):
      """Kernels after He; scales and variances 1, the rest 0."""
      if leaf.ndim > 1:
        deviation = np.sqrt(2 / np.prod(leaf.shape[:-1]))
        return rng.normal(0, deviation, leaf.shape).astype(leaf.dtype)
      ones = path[-1].key in ("scale", "var")
      return (np.ones if ones else np.zeros)(leaf.shape, leaf.dtype)

    variables = jax.tree_util.tree_map_with_path(draw, dict(shapes))
    with Checkpoints(workdir) as checkpoints:
      for step, error in errors.items():
        moved = jax.tree.map(
          lambda x, step=step: x + np.float32(step / 1000), variables
        )
        # An optimiser's state lies in real checkpoints, too.
        state = TrainState(
          step=np.int32(step),
          opt_state={"count": np.int32(step)},
          running={"pairs": {"input": np.float32(1)}},
          **moved,
        )
        checkpoints.save(state, error=error)
    return config, variables

  return save
