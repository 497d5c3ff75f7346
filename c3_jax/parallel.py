"""Data parallelism: the only file that knows `jax.pmap`.

Replicated values carry no leading axis (`in_axes=None`, `out_axes=None`); a
batch is [local devices, per device, ...]. pmap does not check that a
replicated output is equal on all devices: a step must average what it returns
with `mean`, and tests compare one device with four.
"""

import jax
import numpy as np

AXIS = "batch"


def _sharding(*spec):
  mesh = jax.sharding.Mesh(np.array(jax.local_devices()), (AXIS,))
  return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))


def replicate(tree):
  """Puts a tree on all local devices; no leading axis."""
  return jax.device_put(tree, _sharding())


def shard(batch):
  """Spreads a host batch: every array [n, ...] over the local devices.

  Args:
    batch: tree of NumPy arrays [n, ...], n a multiple of the local devices.

  Returns:
    The tree as [local devices, n / local devices, ...], one slice a device.
  """
  devices = jax.local_device_count()
  split = lambda x: x.reshape(devices, -1, *x.shape[1:])  # noqa: E731
  return jax.device_put(jax.tree.map(split, batch), _sharding(AXIS))


def pmap_step(step):
  """Runs (state, frozen, batch) -> (state, metrics) on all devices.

  The state is donated; it and the metrics come back replicated.
  """
  return jax.pmap(
    step,
    axis_name=AXIS,
    in_axes=(None, None, 0),
    out_axes=(None, None),
    donate_argnums=(0,),
  )


def pmap_eval(function):
  """Runs (variables, batch) -> per-example outputs on all local devices.

  Returns:
    A function of (variables, host batch [n, ...]) that gives NumPy arrays
    [n, ...].
  """
  mapped = jax.pmap(function, axis_name=AXIS, in_axes=(None, 0), out_axes=0)

  def run(variables, batch):
    out = jax.device_get(mapped(variables, shard(batch)))
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), out)

  return run


def mean(tree):
  """Average over all devices, inside a step."""
  return jax.lax.pmean(tree, AXIS)


def offset(per_device):
  """Place of this device's first example in the global batch, inside a step."""
  return jax.lax.axis_index(AXIS) * per_device
