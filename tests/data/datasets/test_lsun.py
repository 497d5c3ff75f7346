"""Tests of LSUN: the LMDB as downloaded, and exported folders."""

import itertools
import sys

import numpy as np
import pytest
from PIL import Image

from c3_jax import geometry
from c3_jax.data import fake
from c3_jax.data.datasets import lsun
from c3_jax.errors import UserError
from tests.reference.resizing import resized


def _load(root, **kwargs):
  kwargs = {"category": "car", "cache": True} | kwargs
  return lsun.load_lsun(root, geometry.Frame(24, 30), **kwargs)


def test_lmdb_and_export_are_the_pictures_that_were_drawn(dots, tmp_path):
  """Both layouts, cached and streamed: the centre of Pillow's decoded WebP."""
  for name, lmdb in (("a", True), ("b", False)):
    (tmp_path / name).mkdir()
    fake.write_lsun(tmp_path / name, train=5, lmdb=lmdb)
  files = sorted((tmp_path / "b" / "car").rglob("*.webp"))
  assert [path.parent.parent.name for path in files] == ["0"] * 5
  pictures = [np.asarray(Image.open(path).convert("RGB")) for path in files]
  oracle = np.stack([resized(pixels[:72, 12:84], 30) for pixels in pictures])
  for folder, cache in itertools.product("ab", (True, False)):
    data = _load(tmp_path / folder, cache=cache)
    (batch,) = data.eval_batches(5)
    assert np.abs(batch["image"] - oracle).max() <= 1
  assert (
    _load(tmp_path / "a", limit=2).names == [path.stem for path in files][:2]
  )


def test_lmdb_streams_in_the_order_of_its_array(dots, tmp_path):
  """Training batches of the LMDB and of the array in memory are the same."""
  fake.write_lsun(tmp_path, train=5, lmdb=True)
  stream = _load(tmp_path, category="bedroom", cache=False)
  array = _load(tmp_path, category="bedroom")
  for a, b in itertools.islice(
    zip(
      stream.batches(3, seed=2, start_step=1),
      array.batches(3, seed=2, start_step=1),
      strict=True,
    ),
    6,
  ):
    np.testing.assert_array_equal(a["index"], b["index"])
    np.testing.assert_array_equal(a["image"], b["image"])


def test_one_lmdb_serves_many_datasets(dots, tmp_path):
  """Also by another name of its folder, and after the first one is gone."""
  fake.write_lsun(tmp_path, train=4, lmdb=True)
  (tmp_path / "link").symlink_to(tmp_path)
  first = _load(tmp_path, cache=False)
  second = _load(tmp_path / "link", cache=False, limit=3)
  assert second.names == first.names[:3]
  (whole,) = first.eval_batches(4)
  del first
  (part,) = second.eval_batches(3)
  np.testing.assert_array_equal(part["image"], whole["image"][:3])


def test_without_lmdb_the_package_is_named(dots, tmp_path, monkeypatch):
  """It is not a requirement of c3_jax."""
  fake.write_lsun(tmp_path, train=1, lmdb=True)
  monkeypatch.setitem(sys.modules, "lmdb", None)
  with pytest.raises(UserError, match="pip install lmdb"):
    _load(tmp_path)


def test_a_spoilt_lmdb_is_named(tmp_path):
  """A download that was cut off."""
  (tmp_path / "car").mkdir()
  (tmp_path / "car" / "data.mdb").write_bytes(b"no database" * 99)
  with pytest.raises(UserError, match="car/data.mdb is not a whole LMDB"):
    _load(tmp_path)


def test_a_missing_category_is_named(dots, tmp_path):
  """With every place that was looked at."""
  with pytest.raises(UserError, match="has no bedroom_train_lmdb or"):
    _load(tmp_path, category="bedroom")


@pytest.mark.parametrize("kept", [0, 100, 4096, 8192, 0.5, 0.99])
def test_a_cut_lmdb_is_named_before_it_is_mapped(dots, tmp_path, kept):
  """The file is shorter than its header claims: reading it would crash."""
  fake.write_lsun(tmp_path, train=5, lmdb=True)
  path = tmp_path / "car_lmdb" / "data.mdb"
  data = path.read_bytes()
  path.write_bytes(data[: int(kept * len(data)) if kept < 1 else kept])
  with pytest.raises(UserError, match="car_lmdb/data.mdb is not a whole LMDB"):
    _load(tmp_path)


@pytest.mark.parametrize(
  ("at", "new"),
  [(-8, b"\xff\xff\xff\x7f"), (-2, b"\0\0"), (0, b"zz")],
  ids=["its length", "no key", "its key"],
)
def test_an_lmdb_that_would_crash_is_named(tmp_path, at, new):
  """LMDB believes what a page says of an image: its reader may end by that."""
  fake.write_lsun(tmp_path, train=6, lmdb=True)
  path = tmp_path / "car_lmdb" / "data.mdb"
  data = bytearray(path.read_bytes())
  key = lsun.Lmdb(path.parent).keys[3]
  at += data.rfind(key)
  data[at : at + len(new)] = new
  path.write_bytes(data)
  with pytest.raises(UserError, match="car_lmdb is not a whole LMDB"):
    lsun.Lmdb(path.parent)
