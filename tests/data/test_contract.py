"""Every dataset class keeps the contract of `c3_jax.data.Dataset`."""

import itertools

import numpy as np
import pytest
from PIL import Image

from c3_jax import geometry
from c3_jax.data import (
  Dataset,
  PairedDataset,
  in_memory,
  pairs,
  streaming,
  synthetic,
)
from c3_jax.evaluation.pairs import matching

N, LOAD, FRAME = 7, 12, 8


def _images(n=N):
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (n, LOAD, LOAD, 3), np.uint8)


def _points(*shape):
  return np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)


def _array(folder, points=None):
  names = [f"{i}.png" for i in range(N)]
  return in_memory.ArrayDataset(_images(), points, names, image_size=FRAME)


def _drawn(folder):
  faces = synthetic.Faces(
    0, split="train", n=N, image_size=FRAME, load_size=LOAD
  )
  _, points = synthetic.posed(0, split="train", n=N)
  return in_memory.ArrayDataset(faces, points, image_size=FRAME)


def _streamed(folder, points=None, **options):
  paths = [folder / f"{i}.png" for i in range(N)]
  for path, image in zip(paths, _images(), strict=True):
    Image.fromarray(image).save(path)
  return streaming.StreamingDataset(
    paths,
    geometry.Frame(FRAME, LOAD),
    points=points,
    names=[path.name for path in paths],
    **options,
  )


def _paired(folder):
  rng = np.random.default_rng(2)
  return pairs.PairDataset(
    _images(5),
    [f"{i}.png" for i in range(5)],
    rng.integers(10, 99, (5, 2)),
    rng.integers(0, 5, (N, 2)),
    flips=np.arange(N) % 2,
    categories=np.arange(N) % 20,
    points=_points(N, 2, 3, 2),
    visible=rng.uniform(size=(N, 3)) < 0.5,
    subsets={"new": np.arange(N) > 3},
  )


MAKE = {
  "array": _array,
  "array_points": lambda folder: _array(folder, _points(N, 4, 2)),
  "drawn": _drawn,
  "streamed": _streamed,
  "streamed_points": lambda folder: _streamed(folder, _points(N, 4, 2)),
  "tf_data": lambda folder: _streamed(folder, tf_data=True),
  "paired": _paired,
}


@pytest.fixture(params=MAKE)
def dataset(request, tmp_path):
  """One dataset of seven examples after the other."""
  return MAKE[request.param](tmp_path)


def _take(iterator, n):
  return list(itertools.islice(iterator, n))


def _assert_equal(batch, expected):
  assert batch.keys() == expected.keys()
  for name, value in batch.items():
    assert value.dtype == expected[name].dtype
    np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_attributes(dataset):
  """Names, sizes and points are there, in their shapes; pairs are told."""
  assert isinstance(dataset, Dataset)
  paired = isinstance(dataset, PairedDataset)
  assert paired == isinstance(dataset, pairs.PairDataset)
  assert len(dataset) == N
  assert dataset.images_per_epoch == (2 * N if paired else N)
  frame = LOAD if paired else FRAME
  assert (dataset.load_size, dataset.image_size) == (LOAD, frame)
  assert all(isinstance(name, str) for name in dataset.names)
  if dataset.sizes is not None:
    assert dataset.sizes.shape == (len(dataset.names), 2)
  if paired:
    assert dataset.pairs.shape == (N, 2)
    assert max(dataset.pairs.flat) < len(dataset.names)
    assert all(part.shape == (N,) for part in dataset.subsets.values())
    assert dataset.points.shape == (N, 2, 3, 2)
    return
  assert len(dataset.names) == N
  if dataset.points is not None:
    assert dataset.points.dtype == np.float32
    assert dataset.points.shape[::2] == (N, 2)


def test_training_batches_seek_and_shard(dataset):
  """A start at any step equals a replay, and shards add up to the whole."""
  straight = _take(dataset.batches(4, seed=3), 9)
  for batch in straight:
    assert batch.keys() == {"image", "index"}
    assert batch["image"].shape == (4, LOAD, LOAD, 3)
    assert batch["image"].dtype == np.uint8
    assert (batch["index"].shape, batch["index"].dtype) == ((4,), np.int64)
  shards = [
    _take(dataset.batches(4, seed=3, start_step=5, shard=(i, 2)), 4)
    for i in (0, 1)
  ]
  for batch, start, *parts in zip(
    straight[5:],
    _take(dataset.batches(4, seed=3, start_step=5), 4),
    *shards,
    strict=True,
  ):
    _assert_equal(start, batch)
    joined = {k: np.concatenate([p[k] for p in parts]) for k in batch}
    _assert_equal(joined, batch)


def test_an_epoch_has_every_image_once(dataset):
  """`images_per_epoch` is after how many rows the examples come again."""
  n = dataset.images_per_epoch
  rows = [b["index"] for b in _take(dataset.batches(2, seed=0), n)]
  epochs = np.concatenate(rows).reshape(2, n)
  np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(n), (2, 1)))


def _eval_keys(dataset):
  if not isinstance(dataset, PairedDataset):
    points = set() if dataset.points is None else {"points"}
    return {"image", "index", "mask"} | points
  sides = ("source", "target")
  return {"visible", "category", "index", "mask"} | {
    f"{what}_{side}" for what in ("image", "points", "size") for side in sides
  }


def test_evaluation_shows_every_example_once(dataset):
  """In order, in batches of one size, the rest of the last under mask 0."""
  batches = list(dataset.eval_batches(3))
  assert len(batches) == 3
  for batch in batches:
    assert batch.keys() == _eval_keys(dataset)
    assert {len(value) for value in batch.values()} == {3}
    assert batch["index"].dtype == np.int64
    assert batch["mask"].dtype == np.float32
  index, mask = (
    np.concatenate([batch[name] for batch in batches])
    for name in ("index", "mask")
  )
  assert mask.tolist() == [1] * N + [0, 0]
  assert index[:N].tolist() == list(range(N))
  # However batched, an example is the same.
  (whole,) = dataset.eval_batches(N)
  joined = {
    name: np.concatenate([batch[name] for batch in batches])[:N]
    for name in whole
  }
  _assert_equal(joined, whole)
  if not isinstance(dataset, PairedDataset) and dataset.points is not None:
    np.testing.assert_array_equal(whole["points"], dataset.points)


@pytest.mark.parametrize("n", [1, 4, N + 2])
def test_first_is_the_head_of_the_dataset(dataset, n):
  """`first` keeps images, names, points and both sizes; sources of pairs."""
  first, k = dataset.first(n), min(n, N)
  assert isinstance(first, Dataset) and not isinstance(first, PairedDataset)
  assert len(first) == k
  sizes = (dataset.load_size, dataset.image_size)
  assert (first.load_size, first.image_size) == sizes
  (head,) = first.eval_batches(k)
  (whole,) = dataset.eval_batches(N)
  if isinstance(dataset, PairedDataset):
    images = whole["image_source"]
    names = [dataset.names[row] for row in dataset.pairs[:k, 0]]
  else:
    images, names = whole["image"], dataset.names[:k]
    assert ("points" in head) == (dataset.points is not None)
    if "points" in head:
      np.testing.assert_array_equal(head["points"], dataset.points[:k])
  np.testing.assert_array_equal(head["image"], images[:k])
  assert list(first.names) == list(names)


@pytest.mark.parametrize("name", ["array", "array_points", "streamed_points"])
def test_neighbours_are_evaluated_like_listed_pairs(tmp_path, name):
  """The same names and types as of a `PairedDataset`."""
  (tmp_path / "pairs").mkdir()
  neighbours = matching.Neighbours(MAKE[name](tmp_path), FRAME)
  (found,) = neighbours.eval_batches(4)
  (listed,) = _paired(tmp_path / "pairs").eval_batches(N)
  types = {name: (value.dtype, value.ndim) for name, value in listed.items()}
  assert {n: (v.dtype, v.ndim) for n, v in found.items()} == types
  assert len(neighbours) == N // 2
  assert found["mask"].tolist() == [1, 1, 1, 0]
