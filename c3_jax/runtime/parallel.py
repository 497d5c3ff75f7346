"""Data parallelism: the only file that knows `jax.pmap` and `jax.shard_map`.

Replicated values carry no leading axis; a batch is [local devices, per device,
...]. A step must average what it returns with `mean`, so that it is equal on
all devices: shard_map proves that it is when it traces the step, pmap does not.

With several processes a step runs over the devices of all of them; each passes
the part of the batch that its own devices take. Evaluation is not split over
processes: each evaluates all examples on its own devices.
"""

import functools

import jax
import jax.flatten_util
import numpy as np
from jax.experimental import multihost_utils

AXIS = "batch"
KINDS = ("pmap", "shard_map")
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


def parallel_step(step, *, kind, devices=None):
  """Runs (state, frozen, batch) -> (state, metrics) on the devices.

  The state is donated; it and the metrics come back replicated.

  Args:
    step: function of one device's share.
    kind: one of `KINDS`; their numbers are the same but for rounding.
    devices: list; None is those of all processes.

  Returns:
    Function, with the `lower` of `jax.jit`.
  """
  make = shard_map_step if kind == "shard_map" else pmap_step
  return make(step, devices=devices)


def _in_order(devices):
  """Puts devices in the order of the processes, as the rows of a batch are."""
  return devices or sorted(jax.devices(), key=lambda x: (x.process_index, x.id))


def pmap_step(step, *, devices=None):
  """Is `parallel_step` by `jax.pmap`."""
  return jax.pmap(
    step,
    axis_name=AXIS,
    in_axes=(None, None, 0),
    out_axes=(None, None),
    donate_argnums=(0,),
    devices=_in_order(devices),
  )


def shard_map_step(step, *, devices=None):
  """Is `parallel_step` by `jax.shard_map`, which checks what is replicated."""
  mesh = _sharding(_in_order(devices)).mesh
  whole, split = jax.sharding.PartitionSpec(), jax.sharding.PartitionSpec(AXIS)
  specs = (whole, whole, split)

  def per_device(state, frozen, batch):
    return step(state, frozen, jax.tree.map(lambda x: x[0], batch))

  mapped = jax.jit(
    jax.shard_map(
      per_device, mesh=mesh, in_specs=specs, out_specs=whole, check_vma=True
    ),
    donate_argnums=(0,),
  )
  return mapped if jax.process_count() == 1 else _Shared(mapped, mesh, specs)


class _Shared:
  """Calls a function of arrays of all processes with those of this one."""

  def __init__(self, function, mesh, specs):
    self._function, self._mesh, self._specs = function, mesh, specs

  def _global(self, args):
    return multihost_utils.host_local_array_to_global_array(
      args, self._mesh, self._specs
    )

  def __call__(self, *args):
    return multihost_utils.global_array_to_host_local_array(
      self._function(*self._global(args)),
      self._mesh,
      jax.sharding.PartitionSpec(),
    )

  def lower(self, *args):
    return self._function.lower(*self._global(args))


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


def whole_batch(size):
  """Rounds the size of a batch up to a multiple of the local devices."""
  devices = jax.local_device_count()
  return -(-size // devices) * devices


def own(tree):
  """Makes each device's own values of replicated ones, inside a step.

  Gradients to them are then each device's own, too; those to replicated values
  would be sums over the devices where shard_map checks them.
  """
  return jax.tree.map(
    functools.partial(jax.lax.pcast, axis_name=AXIS, to="varying"), tree
  )


def mean(tree):
  """Averages over all devices, inside a step: one all-reduce a tree."""
  flat, unflatten = jax.flatten_util.ravel_pytree(tree)
  return unflatten(jax.lax.pmean(flat, AXIS))


def offset(per_device):
  """Gives the place of this device's first example in the global batch."""
  return jax.lax.axis_index(AXIS) * per_device
