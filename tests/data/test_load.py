"""Tests of every dataset by its name, on example files in its true layout."""

import numpy as np
import pytest

from c3_jax import settings
from c3_jax.data import load
from c3_jax.errors import UserError


def _config(**data):
  config = settings.paper(k=10, cycle=1, flow=1)
  config.data.update({"image_size": 48, "load_size": 60, "example": 6} | data)
  return config


_FACES = [
  {"name": "celeba", "crop": "imm"},
  {"name": "celeba", "crop": "dve"},
  {"name": "celeba", "crop": "square"},
  {"name": "mafl", "crop": "imm"},
  {"name": "aflw", "release": "lmdis", "crop": "imm"},
  {"name": "aflw", "release": "lmdis", "crop": "square"},
  {"name": "aflw", "release": "mtfl", "crop": "imm"},
  {"name": "folder", "crop": "square"},
  {"name": "folder", "crop": "imm"},
]


@pytest.mark.parametrize(
  "data", _FACES, ids=lambda data: "-".join(data.values())
)
def test_the_point_is_on_the_dot(dots, data):
  """A drawn dot is found at its annotation to 0.5 px, whatever the crop."""
  splits = load.load_splits(_config(**data))
  train = {"mafl": 3}.get(data["name"], 6)
  assert len(splits.train) == train
  assert splits.train.points is None
  for dataset, n in (
    (splits.fit, train if train == 3 else None),
    (splits.test, 3),
  ):
    assert n is None or len(dataset) == n
    (batch,) = dataset.eval_batches(len(dataset))
    # The model frame is the central 48 of 60 loaded pixels.
    found = dots(batch["image"])[:, None] * 60 / 48
    error = np.linalg.norm(batch["points"] - found, axis=-1) * 48 / 2
    assert batch["points"].shape == (len(dataset), 5, 2)
    assert error.max() < 0.5


def test_pairs_have_their_points_on_the_dots(dots):
  """Source and target of annotated pairs, stretched to a square."""
  splits = load.load_splits(
    _config(name="pf_pascal", image_size=60, load_size=60)
  )
  assert [len(splits.train), len(splits.fit), len(splits.test)] == [6, 3, 3]
  for batch in (*splits.fit.eval_batches(3), *splits.test.eval_batches(3)):
    assert batch["visible"].all()
    for side, size in (("source", (120, 90)), ("target", (100, 125))):
      found = dots(batch[f"image_{side}"])[:, None]
      error = np.linalg.norm(batch[f"points_{side}"] - found, axis=-1) * 60 / 2
      assert error.max() < 0.5
      assert (batch[f"size_{side}"] == size).all()


def test_lsun_is_unlabelled(dots):
  """Cars and bedrooms are different images; `limit` takes the first."""
  car = load.load_splits(_config(name="lsun", category="car", limit=4))
  bedroom = load.load_splits(_config(name="lsun", category="bedroom"))
  assert (len(car.train), len(bedroom.train)) == (4, 6)
  assert (car.fit, car.test, car.train.points) == (None, None, None)
  assert not np.array_equal(car.train.images, bedroom.train.images[:4])


@pytest.mark.parametrize(
  "data, named",
  [
    ({"name": "celebA"}, "config.data.name is 'celebA'"),
    ({"name": "celeba", "example": 0}, "config.data.root is empty"),
    ({"name": "celeba", "exclude": "all"}, "config.data.exclude is 'all'"),
    ({"name": "celeba", "crop": "face"}, "config.data.crop is 'face'"),
    ({"name": "aflw", "release": "1"}, "config.data.release is '1'"),
    ({"name": "lsun", "category": "cat"}, "config.data.category is 'cat'"),
    ({"name": "pf_pascal"}, "config.data.load_size=60"),
    ({"name": "packed"}, "config.data.packed.train is empty"),
  ],
  ids=lambda value: value if isinstance(value, str) else "",
)
def test_wrong_keys_are_named(dots, data, named):
  """Each mistake in config.data names its key."""
  with pytest.raises(UserError, match="^" + named):
    load.load_splits(_config(**data))


def test_one_split_is_the_one_of_all(dots):
  """`load_split` gives the same images as `load_splits`."""
  config = _config(name="celeba", crop="imm")
  test = load.load_split(config, "test")
  np.testing.assert_array_equal(
    test.images, load.load_splits(config).test.images
  )
