"""The benchmark: what it counts, what it writes, what it refuses."""

import functools
import json

import jax
import jax.numpy as jnp
import pytest

from c3_jax import benchmark, settings
from c3_jax.errors import UserError
from c3_jax.profiling import table, timing
from c3_jax.runtime import parallel
from c3_jax.training import optim, steps
from c3_jax.training import setup as setup_lib
from c3_jax.training.state import state_at_0
from configs import folder, synthetic


def small():
  """The synthetic test configuration with the stage `flow` alone."""
  config = synthetic.get_config("test").copy_and_resolve_references()
  with config.unlocked():
    config.stages.pairs.steps = config.stages.cycle.steps = 0
  return config


@pytest.mark.slow
def test_everything_is_measured_and_shown():
  """Numbers of each section are positive, shares add up to 1."""
  result = benchmark.run(small(), only=("train", "predict", "input"))
  assert json.loads(json.dumps(result)) == result
  step = result["train_step"]["flow"]
  for name in (
    *("images_per_second", "flops_per_image", "utilisation", "peak_bytes"),
    "compile_seconds",
  ):
    assert step[name] > 0, name
  assert sum(step["parts"].values()) == pytest.approx(1)
  assert step["parts"]["flow"] > step["parts"]["optimiser"]
  assert step["parts"]["decoder"] == 0
  devices = str(jax.device_count())
  for speed in (
    *(result["predict"][devices], result["predict"]["8"]),
    *(result["eval_step"], result["input"]),
  ):
    assert speed["images_per_second"] > 0
  shown = table.table(result)
  for word in ("flow", "predict, batch 8", "eval step", "input pipeline"):
    assert word in shown


def hand_count():
  """FLOP an image of the paper's stage cycle: products of sizes.

  Multiply-adds of each network at 128 px and output stride 8, then how often
  each runs: forward 1, each of the two gradients 1 more.
  """

  def conv(side, size, inputs, outputs):
    return side**2 * size**2 * inputs * outputs

  backbone, inputs = conv(64, 7, 3, 64), 64
  for blocks, width, side in (
    *((3, 64, 32), (4, 128, 16)),
    *((6, 256, 16), (3, 512, 16)),
  ):
    for block in range(blocks):
      # The first block of layer2 reduces the side in its 3x3 convolution.
      before = 32 if (width, block) == (128, 0) else side
      backbone += conv(before, 1, inputs, width) + conv(side, 3, width, width)
      backbone += conv(side, 1, width, 4 * width)
      if not block:
        backbone += conv(side, 1, inputs, 4 * width)
      inputs = 4 * width
  extractor = conv(16, 3, 2048, 256) + conv(16, 3, 256, 256)
  decoder, inputs, side = 0, 256 + 10, 16
  for width in (256, 128, 64, 32):
    decoder += conv(side, 3, inputs, width) + conv(side, 3, width, width)
    inputs, side = width, 2 * side
  decoder += conv(128, 3, 32, 3)
  vgg, inputs = 0, 3
  for side, width, count in (
    *((128, 64, 2), (64, 128, 2), (32, 256, 3)),
    *((16, 512, 3), (8, 512, 2)),
  ):
    for _ in range(count):
      vgg += conv(side, 3, inputs, width)
      inputs = width
  # A pair of 16 x 16 maps, both directions; half a pair an image.
  cells = 16**4
  flow = 256**2 * 1024 / 2
  flow += cells * 25 * (16 + 16 * 16 + 16 * 16 + 16 * 16 + 16 + 1)
  # The first pass of E_a and D has no gradient, and neither has the flow; the
  # real images pass VGG once, the others also need a gradient to the image.
  macs = 6 * backbone + (3 + 3) * extractor + (1 + 3) * extractor
  macs += (1 + 3) * decoder + (1 + 2) * vgg + flow
  return 2 * macs


@pytest.mark.slow
def test_flops_of_the_papers_step_are_those_counted_by_hand():
  """The lowered step of stage cycle holds nothing beyond the hand count."""
  config = settings.paper(k=10, cycle=1, flow=1)
  config.stages.cycle.steps = 1
  setup = setup_lib.Setup.of(config)
  (stage,) = setup_lib.stages(config, 1)
  # Shapes alone: nothing is computed.
  key, image = jax.random.key(0), jnp.zeros((2, 128, 128, 3))
  variables = jax.eval_shape(setup.model.init, key, image)
  moving, _ = optim.partition(variables["params"], stage.train)
  state = state_at_0(config, variables).replace(
    opt_state=jax.eval_shape(stage.tx.init, moving)
  )
  frozen = jax.eval_shape(setup.vgg.init, key, image)
  n = 4
  batch = {"image": jax.ShapeDtypeStruct((1, n, 160, 160, 3), jnp.uint8)}
  step = parallel.pmap_step(
    functools.partial(steps.train_step, setup, stage),
    devices=jax.local_devices()[:1],
  )
  counted = step.lower(state, frozen, batch).cost_analysis()["flops"] / n
  assert counted == pytest.approx(hand_count(), rel=0.1)


def test_memory_is_what_a_program_reads_writes_and_keeps():
  """Two arguments and a result, less what may be overwritten."""
  x = jnp.ones((64, 64))
  lowered = jax.jit(jnp.add).lower(x, x)
  assert timing.peak_bytes(lowered.compile()) == 3 * x.nbytes
  donated = jax.jit(jnp.add, donate_argnums=0).lower(x, x)
  assert timing.peak_bytes(donated.compile()) == 2 * x.nbytes


@pytest.mark.slow
def test_data_that_is_missing_stops_input_alone(monkeypatch):
  """A folder without a root: everything else is measured."""
  config = folder.get_config("cpu")
  with pytest.raises(UserError, match="config.data.root"):
    benchmark.run(config, batch_size=8, only=("input",))
  # What they measure has tests of its own, and takes a minute here.
  monkeypatch.setattr(benchmark, "train_steps", lambda *args, **kwargs: "steps")
  monkeypatch.setattr(benchmark, "detectors", lambda *args: {"predict": "all"})
  monkeypatch.setattr(benchmark, "flow_pair", lambda: "pair")
  result = benchmark.run(config, batch_size=8)
  assert "input" not in result
  sections = {name: result[name] for name in ("train_step", "predict", "flow")}
  assert sections == {"train_step": "steps", "predict": "all", "flow": "pair"}


@pytest.mark.parametrize(
  "options, message",
  [
    ({"only": ("training",)}, "--only=training is not one of train, predict"),
    ({"batch_size": 3}, "config.batch_size=3"),
  ],
)
def test_mistakes_are_named(options, message):
  """Unknown sections and batches without whole pairs are refused."""
  with pytest.raises(UserError, match=message):
    benchmark.run(small(), **options)
