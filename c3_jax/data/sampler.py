"""The order in which examples are seen: a function of (seed, step) alone.

Every loader takes its indices from here, so that arrays in memory and files
on disk give the same batches, and a run resumes at any step without replay.
"""

import numpy as np


def batch_indices(n, batch_size, *, seed, start_step=0, shard=(0, 1)):
  """Draws an endless stream of training batches, as indices of examples.

  Each epoch is a fresh permutation of the n examples, drawn from (seed,
  epoch). The epochs are laid end to end and cut into batches, so a batch may
  straddle two epochs and no example is ever dropped.

  Args:
    n: number of examples, at least 1.
    batch_size: size of the global batch, over all processes.
    seed: int >= 0.
    start_step: number of batches to jump over, at no cost.
    shard: (i, c): of each global batch, this process gets the i-th of c equal
      runs of rows.

  Returns:
    Iterator of [batch_size / c] int64 arrays.

  Raises:
    ValueError: if n or batch_size is not positive, or c does not divide
      batch_size.
  """
  i, count = shard
  if n < 1 or batch_size < 1:
    raise ValueError(f"cannot cut {n} examples into batches of {batch_size}")
  if batch_size % count or not 0 <= i < count:
    raise ValueError(f"shard {shard} does not divide a batch of {batch_size}")
  rows = slice(i * batch_size // count, (i + 1) * batch_size // count)
  return (
    batch[rows]
    for batch in _global_batches(n, batch_size, seed, start_step * batch_size)
  )


def _global_batches(n, batch_size, seed, position):
  epoch, offset = divmod(position, n)
  ahead = _permutation(n, seed, epoch)[offset:]
  while True:
    while len(ahead) < batch_size:
      epoch += 1
      ahead = np.concatenate([ahead, _permutation(n, seed, epoch)])
    yield ahead[:batch_size]
    ahead = ahead[batch_size:]


def _permutation(n, seed, epoch):
  order = np.random.default_rng((seed, epoch)).permutation(n)
  return order.astype(np.int64)


def eval_indices(n, batch_size):
  """Gives each of n examples once, in order, in batches of one size.

  Yields:
    (index, mask): int64 and float32 [batch_size]. The last batch is filled up
    with the last example, under mask 0.
  """
  for start in range(0, n, batch_size):
    index = np.arange(start, start + batch_size, dtype=np.int64)
    yield np.minimum(index, n - 1), (index < n).astype(np.float32)
