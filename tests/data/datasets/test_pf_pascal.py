"""Tests of PF-PASCAL: the public lists, what is new in them, the geometry."""

import csv

import numpy as np
import pytest
from PIL import Image

from benchmarks import leak_free
from c3_jax import geometry
from c3_jax.data import fake, pairs
from c3_jax.data.datasets import pf_pascal
from c3_jax.errors import UserError
from tests.conftest import ROOT

COMMITTED = ROOT / "docs" / "pf_pascal_leak_free.csv"


def _load(root, split, size):
  frame = geometry.Frame(size, size, "imm")
  return pf_pascal.load_pf_pascal(root, frame, split=split)


def _lists(public_data):
  folder = public_data / "pf_pascal_lists"
  return {
    split: pf_pascal.read_pairs(folder / f"{split}_pairs.csv")
    for split in ("train", "val", "test")
  }


def test_published_counts_from_the_real_lists(public_data):
  """2,940 / 308 / 299 rows, half of the first mirrored; 2,414 test points."""
  rows = _lists(public_data)
  counts = {split: len(rows[split]) for split in rows}
  assert counts == {"train": 2940, "val": 308, "test": 299}
  couples = {frozenset((row.source, row.target)) for row in rows["train"]}
  assert len(couples) == 613
  points = [len(row.points[0]) for row in rows["test"]]
  assert (sum(points), min(points), max(points)) == (2414, 4, 17)
  assert {row.category for row in rows["train"]} == set(range(20))
  assert len(pairs.CATEGORIES) == 20
  with open(public_data / "pf_pascal_lists" / "train_pairs.csv") as file:
    flips = [row["flip"] == "1" for row in csv.DictReader(file)]
  assert [row.flip for row in rows["train"]] == flips


def test_leak_free_counts(public_data):
  """Against training and validation 169 and 38, against training 204 and 79."""
  rows = _lists(public_data)
  for seen, expected in (
    (rows["train"] + rows["val"], [169, 38]),
    (rows["train"], [204, 79]),
  ):
    new = pf_pascal.leak_free(rows["test"], seen)
    assert [int(part.sum()) for part in new.values()] == expected
    assert list(new) == ["pair_disjoint", "image_disjoint"]


def test_committed_list_is_what_the_code_derives(public_data, tmp_path):
  """docs/pf_pascal_leak_free.csv, byte for byte."""
  rows = _lists(public_data)
  path = tmp_path / "new.csv"
  leak_free.write(rows["test"], rows["train"] + rows["val"], path)
  assert path.read_bytes() == COMMITTED.read_bytes()


def test_committed_list_holds_names_of_169_and_38():
  """As stated, without the lists themselves."""
  with open(COMMITTED) as file:
    rows = list(csv.DictReader(file))
  assert len(rows) == 169
  assert sum(row["image_disjoint"] == "1" for row in rows) == 38


def test_leak_free_is_what_a_slow_loop_finds():
  """Random lists: every test pair against every pair that was seen."""
  rng = np.random.default_rng(0)

  def draw(n):
    ends = rng.integers(0, 14, (n, 2))
    return [pf_pascal.Pair(str(a), str(b), 0, False, ()) for a, b in ends]

  test, seen = draw(60), draw(5)
  new = pf_pascal.leak_free(test, seen)
  assert 0 < new["image_disjoint"].sum() < new["pair_disjoint"].sum() < 60
  for i, row in enumerate(test):
    ours = (row.source, row.target)
    known = [(other.source, other.target) for other in seen]
    assert new["pair_disjoint"][i] == all(
      ours not in (pair, pair[::-1]) for pair in known
    )
    assert new["image_disjoint"][i] == all(
      name not in pair for name in ours for pair in known
    )


@pytest.mark.parametrize("scale", [1, 2])
def test_pictures_of_voc_will_do(dots, tmp_path, scale):
  """Points refer to longer sides of 300: files of 600 give the same points."""
  fake.write_pf_pascal(tmp_path, train=2, test=2)
  folder = tmp_path / "PF-dataset-PASCAL" / "JPEGImages"
  for path in folder.iterdir():
    image = Image.open(path)
    enlarge = 300 / max(image.size)
    size = [round(side * enlarge * scale) for side in image.size]
    image.resize(size, Image.BICUBIC).save(path, quality=95)
  path = tmp_path / "image_pairs" / "test_pairs.csv"
  with open(path) as file:
    header, *rows = csv.reader(file)
  with open(path, "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(header)
    for row in rows:
      for column, longer in ((3, 120), (4, 120), (5, 125), (6, 125)):
        values = np.array(row[column].split(";"), float)
        # From the centres of pixels that count from 1, and back.
        values = (values - 0.5) * 300 / longer + 0.5
        row[column] = ";".join(map(str, values))
      writer.writerow(row)
  data = _load(tmp_path, "test", 80)
  (batch,) = data.eval_batches(2)
  for side, size in (("source", (300, 225)), ("target", (240, 300))):
    found = dots(batch[f"image_{side}"])[:, None]
    assert np.abs(batch[f"points_{side}"] - found).max() * 80 / 2 < 0.5
    assert (batch[f"size_{side}"] == np.array(size) * scale).all()


def test_a_broken_picture_takes_its_pairs_along(dots, tmp_path):
  """The others stay, with their own images and points."""
  fake.write_pf_pascal(tmp_path, train=4, test=3)
  folder = tmp_path / "PF-dataset-PASCAL" / "JPEGImages"
  (folder / "2002_00001b.jpg").write_bytes(b"")
  data = _load(tmp_path, "test", 60)
  assert len(data) == 2
  (batch,) = data.eval_batches(2)
  found = dots(batch["image_target"])[:, None]
  assert np.abs(batch["points_target"] - found).max() * 60 / 2 < 0.5


@pytest.mark.parametrize(
  "old, new, named",
  [
    ("class", "kind", "has no column 'class'"),
    (",1,", ",21,", "line 2: class 21 is not 1 to 20"),
    (";", ";x", "line 2: could not convert"),
    (",1,", ",1,4;", "line 2: source and target have different numbers"),
  ],
)
def test_wrong_lists_are_named(dots, tmp_path, old, new, named):
  """The message has the file, and the line or column."""
  fake.write_pf_pascal(tmp_path, train=1, test=1)
  path = tmp_path / "image_pairs" / "test_pairs.csv"
  path.write_text(path.read_text().replace(old, new, 1))
  if "different" in named:
    path.write_text(_more_points(path.read_text()))
  with pytest.raises(UserError, match=f"{path} .*{named}"):
    pf_pascal.read_pairs(path)


def _more_points(text):
  """Gives YA as many points as the spoilt XA, so that only B differs."""
  lines = text.splitlines()
  cells = lines[1].split(",")
  cells[4] = "4;" + cells[4]
  return "\n".join([lines[0], ",".join(cells)])


def test_points_outside_the_pictures_are_refused(dots, tmp_path):
  """Images of another release are not silently taken."""
  fake.write_pf_pascal(tmp_path, train=1, test=1)
  folder = tmp_path / "PF-dataset-PASCAL" / "JPEGImages"
  for path in folder.glob("2002*"):
    Image.new("RGB", (40, 30)).save(path)
  with pytest.raises(UserError, match="lie outside the images"):
    _load(tmp_path, "test", 20)


def test_lost_pictures_are_counted(dots, tmp_path):
  """Before anything is decoded."""
  fake.write_pf_pascal(tmp_path, train=2, test=1)
  folder = tmp_path / "PF-dataset-PASCAL" / "JPEGImages"
  (folder / "2000_00001a.jpg").unlink()
  with pytest.raises(UserError, match="lacks 1 of 4 .*2000_00001a.jpg"):
    _load(tmp_path, "train", 20)
