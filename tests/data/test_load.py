"""Tests of every dataset by its name, on example files in its true layout."""

import numpy as np
import pytest

from c3_jax import settings
from c3_jax.data import fake, frame_of, load
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
  {"name": "aflw", "release": "lmdis", "crop": "imm", "protocol": "custom"},
  {"name": "aflw", "release": "lmdis", "crop": "square", "protocol": "custom"},
  {"name": "aflw", "release": "mtfl", "crop": "imm", "protocol": "custom"},
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


# By name: image_size, load_size and share of the file in per cent.
_AFLW = {"imm": (128, 128, 100), "dve": (96, 136, 100 * (96 / 136) ** 2)}


@pytest.mark.slow
@pytest.mark.parametrize("name", _AFLW)
@pytest.mark.parametrize("release", ["lmdis", "mtfl"])
@pytest.mark.parametrize("cache", [True, False])
def test_aflw_is_seen_as_its_protocols_say(
  dots, name, release, cache, tmp_path
):
  """Square files or not, whatever the config says of crop and load_size."""
  fake.write_aflw(tmp_path, train=6, test=5)
  image_size, load_size, share = _AFLW[name]
  data = {"name": "aflw", "root": str(tmp_path), "cache": cache}
  data |= {"image_size": image_size, "load_size": 160, "release": release}
  # IMM's is the default.
  data["protocol"] = "" if name == "imm" else name
  for crop in ("square", "imm"):
    splits = load.load_splits(_config(crop=crop, **data))
    for dataset in (splits.fit, splits.test):
      assert dataset.seen == pytest.approx(share)
      assert dataset.load_size == load_size
      (batch,) = dataset.eval_batches(len(dataset))
      found = dots(batch["image"])[:, None] * load_size / image_size
      error = np.linalg.norm(batch["points"] - found, axis=-1) * image_size / 2
      assert error.max() < 0.3
    published = {"paper": "aflw", "name": name, "release": release}
    if (name, release) == ("imm", "mtfl"):
      published = None
    assert splits.test.protocol == published


@pytest.mark.parametrize(
  "data, seen, published",
  [
    ({"name": "celeba", "crop": "imm"}, 64, {"paper": "mafl", "name": "imm"}),
    ({"name": "mafl", "protocol": "imm"}, 64, {"paper": "mafl", "name": "imm"}),
    (
      {"name": "mafl", "protocol": "dve", "image_size": 96},
      100 * (96 / 136) ** 2 * 178 / 218,
      {"paper": "mafl", "name": "dve"},
    ),
    ({"name": "mafl", "crop": "square"}, 64 * 178 / 218, None),
    (
      {"name": "pf_pascal", "load_size": 48},
      100,
      {"paper": "pf_pascal", "name": "ncnet"},
    ),
    ({"name": "folder", "crop": "imm"}, 64, None),
    ({"name": "synthetic", "n_test": 2}, None, None),
  ],
)
def test_a_dataset_knows_its_protocol(dots, tmp_path, data, seen, published):
  """By what is seen, named or set by hand; a packed file keeps it.

  Example data, seen alike, stands on no protocol.
  """
  example = load.load_split(_config(**data), "test")
  assert example.seen == (seen and pytest.approx(seen))
  assert example.protocol is None
  if data["name"] != "synthetic":
    (tmp_path / "files").mkdir()
    kind = "celeba" if data["name"] == "mafl" else data["name"]
    getattr(fake, f"write_{kind}")(tmp_path / "files", train=6, test=3)
    data = data | {"root": str(tmp_path / "files")}
  test = load.load_split(_config(**data), "test")
  assert test.seen == (seen and pytest.approx(seen))
  assert test.protocol == published
  path = tmp_path / "test.npz"
  test.save(path)
  size = {"image_size": test.image_size, "load_size": test.load_size}
  config = _config(name="packed", **size)
  config.data.packed.test = str(path)
  again = load.load_split(config, "test")
  assert (again.seen, again.protocol) == (test.seen, test.protocol)


def test_the_config_of_an_old_run_is_seen_as_before():
  """Without the key, crop and load_size say what AFLW's files show."""
  config = _config(name="aflw", crop="square")
  del config.data.protocol
  assert frame_of(config) == (48, 60, "square")


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
    ({"name": "aflw", "protocol": "no"}, "config.data.protocol is 'no'.*dve"),
    ({"name": "folder", "protocol": "imm"}, "config.data.protocol is 'imm'"),
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
