"""Tests of pairs of images in memory."""

import itertools

import numpy as np
import pytest

from c3_jax import geometry
from c3_jax.data import pairs
from c3_jax.data.datasets import packed
from c3_jax.errors import UserError


def _dataset(n=7, m=5, size=6):
  rng = np.random.default_rng(0)
  points, visible = pairs.pad(
    [tuple(rng.uniform(-1, 1, (2, i % 4, 2))) for i in range(n)]
  )
  return pairs.PairDataset(
    rng.integers(0, 256, (m, size, size, 3), np.uint8),
    [f"{i}.jpg" for i in range(m)],
    rng.integers(10, 99, (m, 2)),
    rng.integers(0, m, (n, 2)),
    flips=np.arange(n) % 2,
    categories=np.arange(n) % 20,
    points=points,
    visible=visible,
    subsets={"new": np.arange(n) > 3},
  )


def test_padding_keeps_every_point_and_marks_the_rest():
  """Pairs of 0 to 3 points come back by their mask."""
  rng = np.random.default_rng(1)
  points = [tuple(rng.uniform(size=(2, p, 2))) for p in (2, 0, 3, 1)]
  padded, visible = pairs.pad(points)
  assert padded.shape == (4, 2, 3, 2)
  for row, mask, original in zip(padded, visible, points, strict=True):
    for side in (0, 1):
      np.testing.assert_array_equal(row[side][mask], original[side])
      assert (row[side][~mask] == 0).all()


def test_training_rows_are_source_and_target_of_one_pair():
  """Rows 2m and 2m + 1, mirrored where the list says so; each pair an epoch."""
  data = _dataset()
  seen = []
  for batch in itertools.islice(data.batches(4, seed=3), 7):
    assert batch["image"].shape == (4, 6, 6, 3)
    for row, index in enumerate(batch["index"]):
      pair, side = divmod(int(index), 2)
      assert side == row % 2
      expected = data.images[data.pairs[pair, side]]
      if data.flips[pair]:
        expected = np.fliplr(expected)
      np.testing.assert_array_equal(batch["image"][row], expected)
    seen += (batch["index"][::2] // 2).tolist()
  assert sorted(seen[:7]) == sorted(seen[7:]) == list(range(7))


def test_shards_and_resume_give_the_same_pairs():
  """Two processes side by side, and a restart, see what one run sees."""
  data = _dataset()
  straight = list(itertools.islice(data.batches(8, seed=1), 6))
  shards = [data.batches(8, seed=1, start_step=2, shard=(i, 2)) for i in (0, 1)]
  for batch in straight[2:]:
    parts = [next(shard) for shard in shards]
    for name in ("image", "index"):
      joined = np.concatenate([part[name] for part in parts])
      np.testing.assert_array_equal(joined, batch[name])
  with pytest.raises(ValueError, match="whole pairs"):
    next(data.batches(3, seed=0))


def test_evaluation_gives_every_pair_once():
  """Padded and masked; points are mirrored with the image."""
  data = _dataset()
  batches = list(data.eval_batches(3))
  assert [batch["mask"].tolist() for batch in batches][-1] == [1, 0, 0]
  real = [
    {name: value[i] for name, value in batch.items()}
    for batch in batches
    for i in range(3)
    if batch["mask"][i]
  ]
  assert [row["index"] for row in real] == list(range(7))
  for i, row in enumerate(real):
    assert row["category"] == i
    assert row["visible"].sum() == i % 4
    for side, name in enumerate(("source", "target")):
      file = data.pairs[i, side]
      image, points = data.images[file], data.points[i, side].copy()
      if i % 2:
        image, points[:, 0] = image[:, ::-1], -points[:, 0]
        visible = points[row["visible"]]
        if len(visible) > 1:  # What was left is right now.
          assert visible[:, 0].argmin() == (-visible[:, 0]).argmax()
      np.testing.assert_array_equal(row[f"image_{name}"], image)
      np.testing.assert_array_equal(row[f"points_{name}"], points)
      assert row[f"points_{name}"].dtype == np.float32
      np.testing.assert_array_equal(row[f"size_{name}"], data.sizes[file])


def test_a_mirrored_dot_carries_its_point():
  """A dot at the left comes out at the right, and so does its point."""
  images = np.zeros((1, 9, 9, 3), np.uint8)
  images[0, 2, 1] = 255
  at = (2 * np.array([1, 2]) + 1) / 9 - 1
  data = pairs.PairDataset(
    images,
    ["a"],
    [[9, 9]],
    [[0, 0]],
    flips=[True],
    categories=[0],
    points=np.tile(at, (1, 2, 1, 1)),
    visible=[[True]],
  )
  (batch,) = data.eval_batches(1)
  x, y = ((batch["points_source"][0, 0] + 1) * 9 - 1) / 2
  assert batch["image_source"][0, round(y), round(x), 0] == 255
  assert x == pytest.approx(7, abs=1e-5)


def test_saved_pairs_come_back_bit_for_bit(tmp_path):
  """The same batches, sizes, points and subsets, as a packed dataset."""
  data = _dataset()
  data.save(tmp_path / "a.npz")
  back = packed.load_packed(tmp_path / "a.npz", geometry.Frame(6, 6))
  assert back.names == data.names
  np.testing.assert_array_equal(back.subsets["new"], data.subsets["new"])
  for ours, theirs in zip(
    data.eval_batches(4), back.eval_batches(4), strict=True
  ):
    for name, value in ours.items():
      assert value.dtype == theirs[name].dtype
      np.testing.assert_array_equal(value, theirs[name])
  with pytest.raises(UserError, match="config.data.load_size is 8"):
    packed.load_packed(tmp_path / "a.npz", geometry.Frame(8, 8))
