"""Four fake CPU devices for every test, and the oracles that need set-up."""

import gc
import os
import pathlib

# Also for the programs that tests start; a shell set up for GPU training must
# not decide where the tests run.
os.environ["JAX_PLATFORMS"] = "cpu"

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

# Compiling is most of what the tests do; a second run takes a third of the
# time. Not for the programs that tests start: one killed while it writes an
# entry would leave it broken. Nor may two workers write the same entry.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")
jax.config.update(
  "jax_compilation_cache_dir", str(ROOT / ".cache" / f"jax{WORKER}")
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
  """Drops a file's compiled programs after it.

  Each takes several memory maps, of which Linux gives a process 65,530; XLA's
  CPU client crashes where it gets no more.
  """
  yield
  jax.clear_caches()
  gc.collect()


@pytest.fixture(scope="module")
def compiled_quickly():
  """XLA without optimisation, for tests whose work is mostly compiling."""
  name = "jax_disable_most_optimizations"
  before = jax.config.values[name]
  jax.config.update(name, True)
  yield
  jax.config.update(name, before)


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
