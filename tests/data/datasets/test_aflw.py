"""Tests of AFLW's two releases."""

import csv

import numpy as np
import pytest
from scipy import io

from c3_jax import geometry
from c3_jax.data import fake
from c3_jax.data.datasets import aflw
from c3_jax.errors import UserError

SIZES = {"lmdis": (110, 120), "mtfl": (150, 150)}


@pytest.fixture
def root(dots, tmp_path):
  """Both releases: 5 training and 3 test images."""
  fake.write_aflw(tmp_path, train=5, test=3)
  return tmp_path


@pytest.mark.parametrize("release", aflw.RELEASES)
def test_lists_come_back_point_for_point(root, release):
  """Names, and (x, y) that count from 0, of either split."""
  for split, n in (("train", 5), ("test", 3)):
    drawn = [p for _, p in fake.draw_faces(split, n, 0, SIZES[release])]
    images, names, pixels, sizes = aflw.read_split(
      root, split=split, release=release
    )
    assert len(set(names)) == n
    assert all((images / name).is_file() for name in names)
    np.testing.assert_allclose(pixels, drawn, atol=1e-3)
    if release == "lmdis":
      assert (sizes == SIZES["lmdis"]).all()


def test_mat_files_have_y_before_x(root):
  """The layout that IMM's and DVE's loaders read, not our writer's word."""
  arrays = io.loadmat(root / "aflw_train_keypoints.mat")
  pixels = aflw.read_split(root, split="train", release="lmdis")[2]
  assert arrays["gt"].shape == (5, 5, 2)
  np.testing.assert_array_equal(arrays["gt"][..., 0], pixels[..., 1])
  np.testing.assert_array_equal(arrays["hw"][0], [120, 110])


def test_mtfl_trains_on_set_1_only(root):
  """Rows of other sets in its csv are test images."""
  with open(root / "aflw_cropped" / "facedata_cropped.csv") as file:
    rows = list(csv.DictReader(file))
  assert sorted({row["set"] for row in rows}) == ["1", "2"]
  names = aflw.read_split(root, split="train", release="mtfl")[1]
  assert names == [row["crop_file"] for row in rows if row["set"] == "1"]


def test_training_pictures_have_no_points_and_fit_has(root):
  """The same images twice: to learn from, and for the regression."""
  frame = geometry.Frame(16, 20, "imm")
  options = {"release": "lmdis", "cache": True}
  train = aflw.load_aflw(root, frame, split="train", **options)
  fit = aflw.load_aflw(root, frame, split="fit", **options)
  assert train.names == fit.names
  np.testing.assert_array_equal(train.images, fit.images)
  assert train.points is None
  assert fit.points.shape == (5, 5, 2)


def _spoil(root, how):
  match how:
    case "no mat":
      (root / "aflw_train_keypoints.mat").unlink()
      return "lmdis", "has no aflw_train_keypoints.mat"
    case "no mat file":
      (root / "aflw_train_keypoints.mat").write_text("none")
      return "lmdis", "is not a MATLAB file"
    case "other names":
      (root / "aflw_train_images.txt").write_text("a.jpg\n")
      return "lmdis", "for the 1 names of"
    case "lost":
      (root / "output" / "train_00002.jpg").unlink()
      return "lmdis", "lacks 1 of 5 .* train_00002.jpg"
    case "no csv":
      (root / "aflw_cropped" / "facedata_cropped.csv").unlink()
      return "mtfl", "has no aflw_cropped/facedata_cropped.csv"
    case "other csv":
      (root / "aflw_cropped" / "facedata_cropped.csv").write_text("file,x\n")
      return "mtfl", "has no column 'set'"
    case "cut csv":
      path = root / "aflw_cropped" / "facedata_cropped.csv"
      path.write_text(path.read_text().rstrip()[:-30])
      return "mtfl", "instead of .* fields"
    case "short rows":
      path = root / "MTFL" / "testing.txt"
      path.write_text("AFLW\\a.jpg 1 2 3\n")
      return "mtfl", "testing.txt: '1,2,3' is not 10 coordinates"


@pytest.mark.parametrize(
  "how",
  [
    "no mat",
    "no mat file",
    "other names",
    "lost",
    "no csv",
    "other csv",
    "cut csv",
    "short rows",
  ],
)
def test_incomplete_or_wrong_releases_are_named(root, how):
  """The message says which file or count is off."""
  release, named = _spoil(root, how)
  with pytest.raises(UserError, match=named):
    for split in ("train", "test"):
      aflw.load_aflw(
        root,
        geometry.Frame(8, 8, "imm"),
        split=split,
        release=release,
        cache=False,
      )


def test_a_crash_of_the_matlab_reader_is_one_line(root, monkeypatch):
  """SciPy's reader can end its process on a damaged file: not this one."""
  program = "import os\nos.kill(os.getpid(), 11)"
  monkeypatch.setattr(aflw, "_PROGRAM", program)
  with pytest.raises(UserError, match="keypoints.mat .*ended by signal 11"):
    aflw.read_split(root, split="test", release="lmdis")
