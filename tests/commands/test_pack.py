"""Tests of packed datasets, and of life without TensorFlow and clu."""

import json

import numpy as np
import pytest

from c3_jax import pack, settings
from c3_jax.data import in_memory, load
from c3_jax.errors import UserError


def _config(**data):
  config = settings.paper(k=10, cycle=1, flow=1)
  config.data.update({"image_size": 32, "load_size": 40, "example": 6} | data)
  return config.lock()


@pytest.mark.parametrize(
  "data, splits",
  [
    ({"name": "celeba", "crop": "imm", "cache": False}, load.SPLITS),
    ({"name": "lsun"}, ["train"]),
    ({"name": "pf_pascal", "image_size": 40}, ["test"]),
  ],
  ids=lambda value: value.get("name") if isinstance(value, dict) else "",
)
def test_packed_splits_give_the_same_batches(dots, tmp_path, data, splits):
  """Images, points, names and frame of any dataset, bit for bit."""
  config = _config(**data)
  packed = {}
  for split in splits:
    packed[split] = str(tmp_path / f"{split}.npz")
    pack.pack(config, split, packed[split])
  packed.setdefault("train", packed[splits[0]])
  size = {"image_size": config.data.image_size, "load_size": 40}
  back = load.load_splits(_config(name="packed", packed=packed, **size))
  for split in splits:
    original, ours = load.load_split(config, split), getattr(back, split)
    assert ours.names == list(original.names)
    assert ours.image_size == config.data.image_size
    for a, b in zip(
      original.eval_batches(4), ours.eval_batches(4), strict=True
    ):
      assert set(a) == set(b)
      for name in a:
        np.testing.assert_array_equal(a[name], b[name])
    a = next(original.batches(4, seed=1, start_step=2))
    b = next(ours.batches(4, seed=1, start_step=2))
    np.testing.assert_array_equal(a["image"], b["image"])
  if len(splits) == 1:
    missing = {"lsun": "fit", "pf_pascal": "fit"}[data["name"]]
    assert getattr(back, missing) is None


def test_what_cannot_be_packed_is_named(dots, tmp_path):
  """No annotated split, no folder to write to; nothing is left behind."""
  with pytest.raises(UserError, match="no annotated .* --split=test"):
    pack.pack(_config(name="lsun"), "test", tmp_path / "a.npz")
  with pytest.raises(UserError, match="none/.* cannot be written"):
    pack.pack(_config(name="lsun"), "train", tmp_path / "none" / "a.npz")
  assert not list(tmp_path.iterdir())


def test_a_packed_file_of_another_size_is_named(dots, tmp_path):
  """The key and the value that would fit."""
  path = str(tmp_path / "a.npz")
  in_memory.ArrayDataset(np.zeros((2, 24, 24, 3), np.uint8)).save(path)
  config = _config(name="packed", packed={"train": path})
  with pytest.raises(UserError, match="load_size is 40: set it to 24"):
    load.load_splits(config)


@pytest.mark.slow
def test_pack_and_train_without_tensorflow_and_clu(tmp_path, run_without):
  """With their imports blocked, both programs run; mistakes are one line."""
  test = "--config=configs/synthetic.py:test"
  out = str(tmp_path / "train.npz")
  lost = str(tmp_path / "none" / "train.npz")
  workdir = tmp_path / "work"
  programs = [
    ["c3_jax.pack", test, f"--out={out}"],
    ["c3_jax.pack", test, f"--out={lost}"],
    ["c3_jax.pack", test],
    [
      "c3_jax.main",
      test,
      f"--workdir={workdir}",
      "--mode=train",
      "--config.data.name=packed",
      f"--config.data.packed.train={out}",
      # One stage, for the time it takes to compile the others.
      "--config.stages.pairs.steps=4",
      "--config.stages.flow.steps=0",
      "--config.stages.cycle.steps=0",
    ],
  ]
  packages = ["tensorflow", "tensorflow_datasets", "tensorboard", "clu"]
  outputs, statuses = run_without(packages, programs)
  assert statuses == [0, 2, 2, 0]
  assert outputs[0].endswith("train.npz: 64 of train, 20 x 20 pixels, 0.1 MB")
  assert "none/train.npz cannot be written" in outputs[1]
  assert "--out" in outputs[2]
  assert all(len(outputs[i].splitlines()) == 1 for i in (1, 2))
  assert "No TensorBoard events" in outputs[3]
  records = (workdir / "metrics.jsonl").read_text().splitlines()
  assert json.loads(records[-1])["step"] == 4
