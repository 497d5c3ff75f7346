"""Tests of the in-memory dataset, the order of examples and the frame."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from c3_jax import geometry
from c3_jax.data import in_memory, sampler
from c3_jax.errors import UserError


def _dataset(n, *, size=4, points=None, **kwargs):
  images = np.random.default_rng(0).integers(
    0, 256, (n, size, size, 3), dtype=np.uint8
  )
  return in_memory.ArrayDataset(images, points, **kwargs)


def _take(iterator, n):
  return list(itertools.islice(iterator, n))


@pytest.mark.parametrize("n, batch_size", [(10, 4), (7, 7), (3, 8), (1, 5)])
def test_epochs_are_permutations_laid_end_to_end(n, batch_size):
  """Every n indices in a row hold each example once, at any batch size."""
  batches = _take(sampler.batch_indices(n, batch_size, seed=3), 12 * n)
  assert all(batch.shape == (batch_size,) for batch in batches)
  epochs = np.concatenate(batches)[: 12 * n].reshape(12, n)
  np.testing.assert_array_equal(
    np.sort(epochs, -1), np.tile(np.arange(n), (12, 1))
  )


def test_order_depends_on_epoch_and_seed():
  """Two epochs differ, two seeds differ, and the same seed repeats itself."""

  def epochs(seed):
    return np.stack(_take(sampler.batch_indices(50, 50, seed=seed), 3))

  first = epochs(0)
  np.testing.assert_array_equal(first, epochs(0))
  assert (first[0] != first[1]).any() and (first[1] != first[2]).any()
  assert (first != epochs(1)).any()


@pytest.mark.parametrize("n, batch_size", [(33, 8), (5, 8), (8, 8)])
def test_restart_equals_straight_run(n, batch_size):
  """100 batches straight are 40 batches and a restart at 40 for 60 more."""
  data = _dataset(n)
  straight = _take(data.batches(batch_size, seed=7), 100)
  halves = _take(data.batches(batch_size, seed=7), 40)
  halves += _take(data.batches(batch_size, seed=7, start_step=40), 60)
  for a, b in zip(straight, halves, strict=True):
    np.testing.assert_array_equal(a["index"], b["index"])
    np.testing.assert_array_equal(a["image"], b["image"])
    np.testing.assert_array_equal(a["image"], data.images[a["index"]])


def test_shards_join_to_the_global_batch():
  """The rows of all shards, in their order, are the global batch."""
  whole = _take(sampler.batch_indices(11, 6, seed=1, start_step=2), 9)
  shards = [
    _take(sampler.batch_indices(11, 6, seed=1, start_step=2, shard=(i, 3)), 9)
    for i in range(3)
  ]
  for parts in zip(whole, *shards, strict=True):
    np.testing.assert_array_equal(parts[0], np.concatenate(parts[1:]))


@pytest.mark.parametrize(
  "n, batch_size, shard", [(0, 4, (0, 1)), (9, 0, (0, 1)), (9, 4, (0, 3))]
)
def test_impossible_batches_are_refused(n, batch_size, shard):
  """No examples, no rows, or a shard that does not divide the batch fail."""
  with pytest.raises(ValueError):
    sampler.batch_indices(n, batch_size, seed=0, shard=shard)


@pytest.mark.parametrize("n, batch_size", [(10, 4), (8, 4), (2, 5), (0, 3)])
def test_eval_sees_every_example_once(n, batch_size):
  """Unmasked rows are all examples in order; every batch has one shape."""
  points = np.arange(n * 6, dtype=np.float32).reshape(n, 3, 2)
  data = _dataset(n, points=points)
  batches = list(data.eval_batches(batch_size))
  assert len(batches) == -(-n // batch_size)
  seen = []
  for batch in batches:
    assert batch["image"].shape == (batch_size, 4, 4, 3)
    assert batch["mask"].dtype == np.float32
    for row in range(batch_size):
      i = batch["index"][row]
      np.testing.assert_array_equal(batch["image"][row], data.images[i])
      np.testing.assert_array_equal(batch["points"][row], points[i])
      if batch["mask"][row]:
        seen.append(i)
  assert seen == list(range(n))


def test_eval_without_points_has_none():
  """A dataset without annotation yields no key `points`."""
  assert set(next(_dataset(2).eval_batches(2))) == {"image", "mask", "index"}


@pytest.mark.parametrize("annotated", [False, True])
def test_save_and_load_give_back_everything(tmp_path, annotated):
  """A packed dataset comes back bit for bit, and no other file is left."""
  points = np.float32([[[0.25, -1.5]], [[1, 0]]]) if annotated else None
  data = _dataset(2, points=points, names=["a/ü.jpg", "b"], image_size=3)
  data.save(tmp_path / "faces.bin")
  assert os.listdir(tmp_path) == ["faces.bin"]
  back = in_memory.ArrayDataset.load(tmp_path / "faces.bin")
  np.testing.assert_array_equal(back.images, data.images)
  assert back.images.dtype == np.uint8
  assert back.names == ["a/ü.jpg", "b"]
  assert (back.load_size, back.image_size) == (4, 3)
  if annotated:
    np.testing.assert_array_equal(back.points, points)
  else:
    assert back.points is None


def test_load_moves_points_to_another_frame(tmp_path):
  """Points packed for one image_size stay on the same pixel for another."""
  pixels, size = np.array([[[3.0, 20.0]]]), (40, 30)
  points = geometry.Frame(24, 32).file_to_coords(pixels, size)
  _dataset(1, size=32, points=points, image_size=24).save(tmp_path / "a.npz")
  back = in_memory.ArrayDataset.load(tmp_path / "a.npz", image_size=16)
  np.testing.assert_allclose(
    back.points, geometry.Frame(16, 32).file_to_coords(pixels, size), rtol=1e-6
  )


def test_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
  """A write that breaks off keeps the former file and no temporary one."""
  path = tmp_path / "a.npz"
  data = _dataset(2)
  data.save(path)

  def broken(file, **_):
    file.write(b"half")
    raise OSError("disk full")

  monkeypatch.setattr(np, "savez", broken)
  with pytest.raises(OSError, match="disk full"):
    _dataset(3).save(path)
  assert os.listdir(tmp_path) == ["a.npz"]
  assert len(in_memory.ArrayDataset.load(path)) == 2


def test_load_refuses_other_files(tmp_path):
  """A missing, foreign or truncated file gives one line that names it."""
  _dataset(2).save(tmp_path / "good.npz")
  whole = (tmp_path / "good.npz").read_bytes()
  (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
  (tmp_path / "empty.npz").write_bytes(b"")
  (tmp_path / "text.npz").write_text("hello")
  np.save(tmp_path / "bare.npy", np.zeros(3))
  np.savez(tmp_path / "other.npz", a=1)
  np.savez(
    tmp_path / "float.npz", images=np.zeros((1, 2, 2, 3)), names=["a"],
    image_size=2,
  )  # fmt: skip
  np.savez(tmp_path / "pickle.npz", images=np.array([{}]))
  names = ["none.npz", *os.listdir(tmp_path)]
  names.remove("good.npz")
  assert len(names) == 8
  for name in names:
    with pytest.raises(UserError, match=name) as error:
      in_memory.ArrayDataset.load(tmp_path / name)
    assert "\n" not in str(error.value)


def test_save_needs_a_folder(tmp_path):
  """Saving into a folder that does not exist names the folder."""
  with pytest.raises(UserError, match="nowhere"):
    _dataset(1).save(tmp_path / "nowhere" / "a.npz")


@pytest.mark.parametrize(
  "images, points, names",
  [
    (np.zeros((2, 4, 4, 3), np.float32), None, None),
    (np.zeros((2, 4, 5, 3), np.uint8), None, None),
    (np.zeros((2, 4, 4), np.uint8), None, None),
    (np.zeros((2, 4, 4, 3), np.uint8), np.zeros((3, 5, 2)), None),
    (np.zeros((2, 4, 4, 3), np.uint8), np.zeros((2, 5, 3)), None),
    (np.zeros((2, 4, 4, 3), np.uint8), None, ["a"]),
  ],
)
def test_wrong_arrays_are_refused(images, points, names):
  """Arrays of another dtype, shape or length do not make a dataset."""
  with pytest.raises(ValueError):
    in_memory.ArrayDataset(images, points, names)


@pytest.mark.slow
def test_the_room_and_a_folder_need_no_tensorflow(tmp_path):
  """Where it cannot be imported, a folder is cached and streamed all the same.

  Importing the room, as machines with only JAX do, leaves matplotlib out, too.
  """
  code = (
    "import sys; sys.modules['tensorflow'] = sys.modules['clu'] = None\n"
    "from PIL import Image\n"
    "from c3_jax import data, geometry\n"
    "from c3_jax.data import datasets\n"
    "for i in range(4):\n"
    "  image = Image.new('RGB', (30, 20), (50 * i,) * 3)\n"
    "  image.save(f'{sys.argv[1]}/{i}.png')\n"
    "for cache in (True, False):\n"
    "  found = datasets.load_folder(\n"
    "    sys.argv[1], geometry.Frame(8, 10), split='train', cache=cache)\n"
    "  assert isinstance(found, data.StreamingDataset) != cache\n"
    "  batch = next(found.batches(4, seed=0))\n"
    "  assert (batch['image'].max((1, 2, 3)) == 50 * batch['index']).all()\n"
    "assert 'matplotlib' not in sys.modules"
  )
  subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
