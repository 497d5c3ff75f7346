"""Data parallelism: the only file that knows `jax.pmap`.

Replicated values carry no leading axis; a batch is [local devices, per device,
...]. pmap does not check that a replicated output is equal on all devices: a
step must average what it returns with `mean`.

With several processes a step runs over the devices of all of them, each of
which gives it the part of the batch of its own devices. Evaluation runs on the
devices of one process, on all examples, in every process alike.
"""

import jax
import jax.flatten_util
import numpy as np

AXIS = "batch"
# Calls that the devices may lag behind. Each holds a batch in their memory;
# several CPU devices deadlock in their all-reduce where 32 or more wait.
AHEAD = 2


def _sharding(devices, *spec):
  devices = np.array(devices or jax.local_devices())
  mesh = jax.sharding.Mesh(devices, (AXIS,))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))


def replicate(tree, *, devices=None):
  """Puts a tree on the devices; no leading axis.

  An array that lies on one of them already is not copied there: where the
  result is donated, the array is gone too.

  Args:
    tree: of arrays.
    devices: list of local devices; None is all, here and below.
  """
  return jax.device_put(tree, _sharding(devices))


def shard(batch, *, devices=None):
  """Spreads a host batch: every array [n, ...] over the devices.

  Returns:
    The tree as [devices, n / devices, ...], one slice a device.
  """
  sharding = _sharding(devices, AXIS)
  count = sharding.num_devices
  split = lambda x: x.reshape(count, -1, *x.shape[1:])  # noqa: E731
  return jax.device_put(jax.tree.map(split, batch), sharding)


def pmap_step(step, *, devices=None):
  """Runs (state, frozen, batch) -> (state, metrics) on the devices.

  The state is donated; it and the metrics come back replicated.
  """
  if devices is None:
    # In the order of the processes, as the rows of a batch are.
    devices = sorted(jax.devices(), key=lambda x: (x.process_index, x.id))
  return jax.pmap(
    step,
    axis_name=AXIS,
    in_axes=(None, None, 0),
    out_axes=(None, None),
    donate_argnums=(0,),
    devices=devices,
  )


def pmap_eval(function, *, devices=None):
  """Runs (variables, host batch [n, ...]) -> NumPy arrays [n, ...]."""
  devices = devices or jax.local_devices()
  mapped = jax.pmap(
    function, axis_name=AXIS, in_axes=(None, 0), out_axes=0, devices=devices
  )

  def run(variables, batch):
    out = jax.device_get(mapped(variables, shard(batch, devices=devices)))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)

  return run


def mean(tree):
  """Averages over all devices, inside a step: one all-reduce a tree."""
  flat, unflatten = jax.flatten_util.ravel_pytree(tree)
  return unflatten(jax.lax.pmean(flat, AXIS))


def offset(per_device):
  """Gives the place of this device's first example in the global batch."""
  return jax.lax.axis_index(AXIS) * per_device
