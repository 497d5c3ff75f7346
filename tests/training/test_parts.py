"""Tests of what saves memory: batches in parts, activations computed again.

In float64, on networks without batch norms: those see one part at a time, and
nothing else may differ.
"""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3_jax.models import initial
from c3_jax.runtime import parallel
from c3_jax.training import setup as setup_lib
from c3_jax.training import steps
from c3_jax.training.state import enter, initial_state
from configs import synthetic
from tests.reference import float64

pytestmark = pytest.mark.slow

BATCH = 8


@pytest.fixture(scope="module", autouse=True)
def in_float64():
  """Everything here is in float64."""
  with float64.program():
    yield


@functools.cache
def experiment():
  """(setup, stage, state, frozen, images) of stage pairs."""
  config = synthetic.get_config("test").unlock()
  config.model.dtype = float64.DTYPE
  config.data.update({"image_size": 8, "load_size": 10})
  config.model.backbone.update(
    {"stage_sizes": (0, 0, 1, 1), "output_stride": 2, "norm": "frozen"}
  )
  config.model.decoder.norm = "group"
  config.model.appearance.norm = "frozen"
  config.perceptual.taps = ("input", "conv1_2")
  # The running means stay where they are: a part has the divisor of the whole.
  config.perceptual.decay = 1.0
  setup = setup_lib.Setup.of(config)
  stage = setup_lib.stages(config, 64)[0]
  state = initial_state(config, setup.model)
  state = enter(
    state.replace(
      running=jax.tree.map(lambda _: jnp.float64(0.5), state.running)
    ),
    stage,
  )
  frozen = initial.perceptual(config, setup.vgg)
  images = np.random.default_rng(0).integers(
    0, 256, (BATCH, 10, 10, 3), np.uint8
  )
  return setup, stage, jax.device_get(state), frozen, images


def step_of(**changes):
  """(pmapped step, its arguments) with changes of the setup, on one device."""
  setup, stage, state, frozen, images = experiment()
  setup = dataclasses.replace(setup, **changes)
  devices = jax.local_devices()[:1]
  step = parallel.pmap_step(
    functools.partial(steps.train_step, setup, stage), devices=devices
  )
  state, frozen = (
    parallel.replicate(tree, devices=devices) for tree in (state, frozen)
  )
  return step, (
    state,
    frozen,
    parallel.shard({"image": images}, devices=devices),
  )


@functools.cache
def run(**changes):
  """(gradients, metrics) of one step."""
  step, arguments = step_of(**changes)
  state, metrics = jax.device_get(step(*arguments))
  # Adam's first moment after one step is a tenth of the gradient.
  return state.opt_state[1].mu, metrics


@pytest.mark.parametrize(
  "changes", [{"accumulate": 2}, {"accumulate": 4}, {"remat": True}], ids=str
)
def test_gradients_and_metrics_are_those_of_the_whole(changes):
  """Neither parts nor what is computed again changes a step."""
  (expected, metrics), (found, others) = run(), run(**changes)
  largest = max(np.abs(gradient).max() for gradient in expected.values())
  assert largest > 0
  for path in expected:
    np.testing.assert_allclose(
      found[path], expected[path], rtol=0, atol=1e-10 * largest, err_msg=path
    )
  assert metrics.keys() == others.keys()
  for name in metrics:
    np.testing.assert_allclose(others[name], metrics[name], rtol=1e-9)


def test_remat_keeps_less_for_the_backward_pass():
  """The traced step has the networks inside checkpoints, the plain none."""
  count = {}
  for remat in (False, True):
    step, arguments = step_of(remat=remat)
    text = str(jax.make_jaxpr(lambda *x: step(*x))(*arguments))  # noqa: B023
    count[remat] = len(re.findall(r"= (checkpoint|remat\d?)\[", text))
  assert count[False] == 0
  # The features, the appearance, the pose, the decoder and the VGG.
  assert count[True] >= 5
