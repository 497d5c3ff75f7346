"""The step as a program: for which platforms, with how many all-reduces.

On the small networks of the test configurations, in bfloat16, which have every
kind of layer of the large ones but the ImageNet stem.
"""

import functools
import re

import jax
import numpy as np
import pytest

from c3_jax.runtime import parallel
from c3_jax.training import optim, steps
from c3_jax.training import setup as setup_lib
from c3_jax.training.state import state_at_0
from configs import celeba, pf_pascal

SLOW = pytest.mark.slow
STAGES = (
  pytest.param("pairs", marks=SLOW),
  "flow",
  pytest.param("cycle", marks=SLOW),
)


@functools.cache
def program(
  name, *, module=celeba, argument="test", blocks=(1, 0, 1, 1), size=32
):
  """(step of a stage, shapes of its arguments, stage) for two devices."""
  config = module.get_config(argument).unlock()
  config.model.dtype = "bfloat16"
  config.model.backbone.stem = "imagenet"
  config.model.backbone.stage_sizes = blocks
  config.data.update({"image_size": size, "load_size": size})
  setup = setup_lib.Setup.of(config)
  (stage,) = (s for s in setup_lib.stages(config, 64) if s.name == name)
  images = jax.ShapeDtypeStruct((2, size, size, 3), np.float32)
  shapes = lambda network: jax.eval_shape(  # noqa: E731
    network.init, jax.random.key(0), images
  )
  variables = shapes(setup.model)
  moving, _ = optim.partition(variables["params"], stage.train)
  state = state_at_0(config, variables).replace(
    opt_state=jax.eval_shape(stage.tx.init, moving)
  )
  batch = {"image": jax.ShapeDtypeStruct((2, 4, size, size, 3), np.uint8)}
  return (
    functools.partial(steps.train_step, setup, stage),
    (state, shapes(setup.vgg), batch),
    stage,
  )


@functools.cache
def traced(name, **options):
  """A stage's step on each of two devices, traced; nothing is compiled.

  As `parallel.pmap_step` runs it, whose own `lower` takes no platform.
  """
  step, arguments, _ = program(name, **options)
  mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), (parallel.AXIS,))
  spec = jax.sharding.PartitionSpec
  per_device = jax.shard_map(
    lambda state, frozen, batch: step(
      state, frozen, jax.tree.map(lambda x: x[0], batch)
    ),
    mesh=mesh,
    in_specs=(spec(), spec(), spec(parallel.AXIS)),
    out_specs=(spec(), spec()),
    check_vma=False,
  )
  return jax.jit(per_device).trace(*arguments)


@pytest.mark.parametrize(
  ("name", "module", "argument"),
  [
    ("flow", celeba, "test"),
    pytest.param("pairs", celeba, "test", marks=SLOW),
    pytest.param("cycle", celeba, "test", marks=SLOW),
    pytest.param("cycle", pf_pascal, "landmarks,test", marks=SLOW),
  ],
)
def test_step_lowers_for_other_platforms(name, module, argument):
  """Each stage's step becomes a program for GPU and TPU, without one here."""
  step = traced(name, module=module, argument=argument)
  for platform in ("cuda", "tpu"):
    text = step.lower(lowering_platforms=(platform,)).as_text()
    assert "stablehlo.all_reduce" in text and "bf16" in text


def all_reduces(text):
  """Numbers of values that the all-reduces of a compiled program add up."""
  sizes = []
  for line in text.splitlines():
    if re.search(r"= .* all-reduce(-start)?\(", line):
      shapes = re.findall(
        r"\b[fb]\w*\d\[([\d,]*)\]", line.split("all-reduce")[0]
      )
      sizes.append(
        sum(int(np.prod([int(n) for n in s.split(",") if n])) for s in shapes)
      )
  return sizes


@SLOW
@pytest.mark.parametrize("name", ["flow", "pairs"])
def test_one_all_reduce_of_the_gradients(name):
  """All gradients travel together; the rest are statistics of batch norms."""
  step, arguments, stage = program(name)
  mapped = parallel.pmap_step(step, devices=jax.local_devices()[:2])
  options = {"xla_backend_optimization_level": 0}
  text = mapped.lower(*arguments).compile(compiler_options=options).as_text()
  moving, _ = optim.partition(arguments[0].params, stage.train)
  count = sum(np.prod(x.shape, dtype=int) for x in moving.values())
  sizes = all_reduces(text)
  # The gradients, and with them the terms of the loss. The compiler may add a
  # few numbers of other averages to them.
  (most,) = [n for n in sizes if n >= count]
  assert count < most < count + 100
  # Channels of a layer, a few at a time; in stage flow there is none.
  rest = [n for n in sizes if n < count]
  if name == "flow":
    assert not rest
  else:
    assert rest and max(rest) <= 2 * 256


@pytest.mark.parametrize("name", STAGES)
def test_what_stays_float32_in_bfloat16(name):
  """Parameters, statistics, optimiser and metrics; the networks compute less.

  The convolutions and their gradients are in bfloat16.
  """
  step = traced(name, module=celeba, argument="test")
  outputs = {x.dtype.name for x in jax.tree.leaves(step.out_info)}
  assert outputs == {"float32", "int32"}
  text = step.lower(lowering_platforms=("cuda",)).as_text()
  kinds = re.findall(r"stablehlo.convolution.*-> tensor<[\dx]*x(\w+)>", text)
  assert len(kinds) > 5 and set(kinds) == {"bf16"}


@SLOW
@pytest.mark.parametrize("size", [64, 72])
def test_no_dilation_or_stride_reaches_the_compiler(size):
  """All convolutions of the paper's step, odd maps included, are plain.

  Strides and dilations of kernels are 1, in both gradients too: XLA has slow
  paths for the others.
  """
  step = traced("cycle", argument="", blocks=(1, 2, 2, 2), size=size)
  text = step.lower(lowering_platforms=("cuda",)).as_text()
  lines = [x for x in text.splitlines() if "stablehlo.convolution" in x]
  assert len(lines) > 50
  for line in lines:
    windows = re.findall(
      r"(?:stride|lhs_dilate|rhs_dilate) = \[([\d, ]*)", line
    )
    assert {n for window in windows for n in window.split(", ")} == {"1"}
