"""Adam against torch's, the schedule, and the split of the parameters."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from c3_jax.training import optim

PARAMS = {
  "backbone": {
    "layer4_0": {"kernel": np.ones((2, 2)), "bias": np.zeros(2)},
    "layer4_01": {"kernel": np.full(3, 2.0)},
  },
  "flow": {"kernel": np.full(1, 3.0)},
  "flowers": {"kernel": np.full(1, 4.0)},
}


def test_schedule_drops_tenfold_at_fractions_of_the_stage():
  """The rate falls by ten at 100 / 200 and at 150 / 200, at once."""
  rate = optim.schedule(0.2, steps=400, drops=(0.5, 0.75))
  counts = [0, 199, 200, 299, 300, 399]
  want = [0.2, 0.2, 0.02, 0.02, 0.002, 0.002]
  np.testing.assert_allclose([rate(c) for c in counts], want, rtol=1e-5)
  constant = optim.schedule(0.2, steps=400, drops=())
  np.testing.assert_allclose([constant(c) for c in counts], 0.2)


def test_average_forgets_the_first_parameters_fast_and_then_by_its_decay():
  """It is the recursion in NumPy; without one kept it stays empty."""
  rng = np.random.default_rng(0)
  drawn = rng.normal(size=(30, 4)).astype("f4")
  state = types.SimpleNamespace(average={"a": jnp.asarray(drawn[0])})
  want = drawn[0].astype(float)
  for step, new in enumerate(drawn):
    decay = min(0.7, (1 + step) / (10 + step))
    want = decay * want + (1 - decay) * new
    state.step = jnp.int32(step)
    state.average = optim.move_average(state, {"a": jnp.asarray(new)}, 0.7)
  np.testing.assert_allclose(state.average["a"], want, rtol=1e-5)
  state.average = {}
  assert optim.move_average(state, {"a": jnp.ones(4)}, 0.7) == {}


@pytest.mark.parametrize("number", [int, jnp.array])
def test_warmup_is_linear_and_never_zero(number):
  """Step c of a warm-up of n has (c + 1) / n of the rate, drops included."""
  rate = optim.schedule(0.4, steps=16, drops=(0.5,), warmup=4)
  counts = [0, 1, 3, 4, 7, 8, 15]
  want = [0.1, 0.2, 0.4, 0.4, 0.4, 0.04, 0.04]
  got = [rate(number(count)) for count in counts]
  np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("steps", [3, 7])
def test_drops_that_round_to_one_step_both_count(steps):
  """The last step of a very short stage has fallen as often as any other's."""
  rate = optim.schedule(1.0, steps=steps, drops=(0.5, 0.75))
  np.testing.assert_allclose(rate(steps - 1), 0.01, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(
  "decoupled, oracle", [(False, torch.optim.Adam), (True, torch.optim.AdamW)]
)
def test_adam_equals_torchs(decoupled, oracle):
  """Five steps equal Adam with L2 in the gradient, or AdamW, of torch."""
  rng = np.random.default_rng(0)
  start = rng.normal(size=(4, 3)).astype("f4")
  gradients = rng.normal(0, 0.1, (5, 4, 3)).astype("f4")
  gradients[:, 0] = 0  # Decay alone moves these.
  drops = (0.4,)

  parameter = torch.nn.Parameter(torch.tensor(start))
  reference = oracle([parameter], lr=0.05, weight_decay=0.3)
  tx = optim.adam(
    optim.schedule(0.05, steps=5, drops=drops),
    weight_decay=0.3,
    decoupled=decoupled,
  )
  params = jnp.array(start)
  state = jax.jit(tx.init)(params)
  update = jax.jit(tx.update)
  for step, gradient in enumerate(gradients):
    reference.param_groups[0]["lr"] = 0.05 if step < 2 else 0.005
    parameter.grad = torch.tensor(gradient)
    reference.step()
    updates, state = update(jnp.array(gradient), state, params)
    params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(
      params, parameter.detach(), atol=1e-5, err_msg=f"step {step}"
    )
  assert np.abs(params - start).min() > 1e-3


def test_partition_takes_whole_path_components():
  """A prefix moves what lies under it, not what is merely spelt alike."""
  moving, fixed = optim.partition(PARAMS, ["flow", "backbone/layer4_0"])
  assert set(moving) == {
    "flow/kernel",
    "backbone/layer4_0/kernel",
    "backbone/layer4_0/bias",
  }
  assert set(fixed) == {"backbone/layer4_01/kernel", "flowers/kernel"}
  moving, fixed = optim.partition(PARAMS, [])
  assert not moving and len(fixed) == 5


def test_merge_is_the_inverse_of_partition():
  """Split and merged, parameters have their structure and values back."""
  for prefixes in (["backbone"], ["flow/kernel", "flowers"], []):
    again = optim.merge(*optim.partition(PARAMS, prefixes))
    assert jax.tree.structure(again) == jax.tree.structure(PARAMS)
    jax.tree.map(np.testing.assert_array_equal, again, PARAMS)


@pytest.mark.parametrize("prefix", ["decoder", "flo", "backbone/layer4"])
def test_unknown_prefix_is_an_error(prefix):
  """A prefix that names nothing would silently train nothing."""
  with pytest.raises(ValueError, match=repr(prefix)):
    optim.partition(PARAMS, ["flow", prefix])
