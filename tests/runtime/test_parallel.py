"""Tests of what knows pmap and shard_map, on one, two and four devices."""

import jax
import numpy as np
import pytest

from c3_jax.runtime import parallel

TREE = {
  "x": np.arange(24, dtype=np.float32).reshape(8, 3),
  "y": np.arange(8),
}


def some_devices(count):
  """The first `count` devices."""
  return jax.local_devices()[:count]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_shard_gives_each_device_its_run_of_rows(count):
  """Device d holds rows d n / c to (d + 1) n / c of a batch of n."""
  devices = some_devices(count)
  batch = parallel.shard(TREE, devices=devices)
  for name, whole in TREE.items():
    rows = len(whole) // count
    assert batch[name].shape == (count, rows, *whole.shape[1:])
    parts = {s.device: s.data for s in batch[name].addressable_shards}
    for d, device in enumerate(devices):
      np.testing.assert_array_equal(
        parts[device][0], whole[d * rows : (d + 1) * rows]
      )


def test_all_devices_are_the_default():
  """Without a choice, a batch and a tree go to all local devices."""
  for x in (parallel.shard(TREE)["x"], parallel.replicate(TREE)["x"]):
    assert x.devices() == set(jax.local_devices())


@pytest.mark.parametrize("count", [1, 4])
def test_replicate_puts_the_whole_tree_everywhere(count):
  """Every device has every array as it is, without a leading axis."""
  devices = some_devices(count)
  tree = parallel.replicate(TREE, devices=devices)
  for name, whole in TREE.items():
    assert tree[name].shape == whole.shape
    parts = {s.device: s.data for s in tree[name].addressable_shards}
    assert parts.keys() == set(devices)
    for part in parts.values():
      np.testing.assert_array_equal(part, whole)


@pytest.mark.parametrize("kind", parallel.KINDS)
@pytest.mark.parametrize("count", [1, 2, 4])
def test_step_sees_its_place_and_averages(count, kind):
  """`offset` numbers the examples as the host does; `mean` is the batch's."""
  devices = some_devices(count)

  def step(state, frozen, batch):
    n = len(batch["x"])
    place = parallel.offset(n) + np.arange(n)
    # Rows weighted by their place: wrong places give another sum.
    moment = (place[:, None] * batch["x"]).mean(0)
    metrics = parallel.mean(
      {"moment": moment, "misplaced": (place != batch["y"]).mean()}
    )
    return state + metrics["moment"] * frozen, metrics

  mapped = parallel.parallel_step(step, kind=kind, devices=devices)
  start = parallel.replicate(np.ones(3, np.float32), devices=devices)
  state, metrics = mapped(
    start,
    parallel.replicate(np.float32(2), devices=devices),
    parallel.shard(TREE, devices=devices),
  )
  moment = (np.arange(8)[:, None] * TREE["x"]).mean(0)
  assert metrics["misplaced"] == 0
  np.testing.assert_allclose(metrics["moment"], moment, rtol=1e-6)
  np.testing.assert_allclose(state, 1 + 2 * moment, rtol=1e-6)
  for part in state.addressable_shards:
    np.testing.assert_allclose(part.data, 1 + 2 * moment, rtol=1e-6)
  # Two copies of a state would not fit where one barely does.
  assert start.is_deleted()


@pytest.mark.parametrize("kind", parallel.KINDS)
def test_gradient_to_own_values_is_that_of_the_mean(kind):
  """`own`, then `mean`: the gradient of the mean loss of all examples."""
  devices = some_devices(4)

  def step(state, frozen, batch):
    loss = lambda w: ((batch["x"] @ w - frozen) ** 2).mean()  # noqa: E731
    gradient = jax.grad(loss)(parallel.own(state))
    return state - parallel.mean(gradient), {}

  w, x = np.ones(3, np.float32), TREE["x"]
  state, _ = parallel.parallel_step(step, kind=kind, devices=devices)(
    parallel.replicate(w, devices=devices),
    parallel.replicate(np.float32(5), devices=devices),
    parallel.shard(TREE, devices=devices),
  )
  np.testing.assert_allclose(state, w - 2 * x.T @ (x @ w - 5) / 8, rtol=1e-6)


def test_shard_map_refuses_what_differs_between_devices():
  """A step that forgets an average is an error, not a silent difference."""
  devices = some_devices(2)
  step = parallel.parallel_step(
    lambda state, frozen, batch: (state, {"loss": batch["x"].mean()}),
    kind="shard_map",
    devices=devices,
  )
  one = parallel.replicate(np.float32(1), devices=devices)
  with pytest.raises(ValueError, match="replicat"):
    step(one, one, parallel.shard(TREE, devices=devices))


@pytest.mark.parametrize("count", [1, 2, 4])
def test_eval_returns_host_arrays_in_order(count):
  """Outputs are NumPy, one row an example, in the order of the batch."""
  function = parallel.pmap_eval(
    lambda variables, batch: {"z": variables * batch["x"], "y": batch["y"]},
    devices=some_devices(count),
  )
  out = function(np.float32(3), TREE)
  assert all(isinstance(value, np.ndarray) for value in out.values())
  np.testing.assert_array_equal(out["z"], 3 * TREE["x"])
  np.testing.assert_array_equal(out["y"], TREE["y"])
