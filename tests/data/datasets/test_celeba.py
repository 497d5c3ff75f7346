"""Tests of CelebA and MAFL: the rules of the splits, and what is refused."""

import pathlib

import numpy as np
import pytest
from PIL import Image

from c3_jax import geometry
from c3_jax.data import fake
from c3_jax.data.datasets import celeba, lists
from c3_jax.errors import UserError
from c3_jax.evaluation import conventions
from tests.reference.resizing import resized

FRAME = geometry.Frame(32, 40, "imm")


def _true_partition():
  """CelebA's partition file: 162,770, then 19,867, then 19,962 images."""
  counts = (162770, 19867, 19962)
  parts = np.repeat([0, 1, 2], counts)
  return {f"{i:06}.jpg": int(part) for i, part in enumerate(parts, 1)}


def test_published_counts_from_the_real_lists(public_data, tmp_path):
  """19,000 and 1,000 of MAFL leave 161,962 or 146,501 images of CelebA."""
  partition = _true_partition()
  (tmp_path / "list_eval_partition.txt").write_text(
    "".join(f"{name} {part}\n" for name, part in partition.items())
  )
  (tmp_path / "MAFL").symlink_to(public_data / "mafl_lists")
  path, read = celeba.read_partition(tmp_path)
  assert path == tmp_path / "list_eval_partition.txt"
  assert read == partition
  assert len(read) == 202599
  train = celeba.read_mafl(tmp_path, "training")[1]
  test = celeba.read_mafl(tmp_path, "testing")[1]
  assert (len(set(train)), len(set(test))) == (19000, 1000)
  assert not set(train) & set(test)
  counts = {
    exclude: len(celeba.training_names(read, train, test, exclude))
    for exclude in ("mafl_test", "mafl")
  }
  assert counts == {"mafl_test": 161962, "mafl": 146501}


def test_the_fit_split_begins_with_imms_images(
  public_data, tmp_path, monkeypatch
):
  """IMM leaves out the last tenth in CelebA's order; counts by partition."""
  partition = _true_partition()
  names = list(partition)
  (tmp_path / "MAFL").symlink_to(public_data / "mafl_lists")
  (tmp_path / "img_align_celeba").mkdir()
  points = [f"{name} {' 0' * 10}" for name in names]
  (tmp_path / "list_landmarks_align_celeba.txt").write_text(
    "\n".join([str(len(names)), "columns", *points])
  )
  # Without the images: what would be decoded.
  monkeypatch.setattr(celeba.lists, "check_files", lambda *args: None)
  monkeypatch.setattr(celeba, "scan", lambda paths, *args, names, **kw: names)
  fit = celeba.load_celeba(
    tmp_path, FRAME, split="fit", exclude="mafl_test", cache=False
  )
  members = set(celeba.read_mafl(tmp_path, "training")[1])
  assert fit == [name for name in names if name in members]
  cut = conventions.first(len(fit))
  for part, counts in (
    (fit[:cut], [15461, 1639, 0]),
    (fit[cut:], [0, 171, 1729]),
  ):
    found = [partition[name] for name in part]
    assert np.bincount(found, minlength=3).tolist() == counts


def test_identity_leaves_out_every_picture_of_a_test_person():
  """A loop over all pairs of images agrees, and it is a smaller set."""
  rng = np.random.default_rng(0)
  names = [f"{i:03}" for i in range(200)]
  partition = {name: int(rng.integers(3)) for name in names}
  identity = {name: str(rng.integers(60)) for name in names}
  train, test = names[:40], names[40:55]
  found = celeba.training_names(partition, train, test, "identity", identity)
  expected = [
    name
    for name in names
    if partition[name] == 0
    and all(identity[name] != identity[other] for other in test)
  ]
  assert found == expected
  plain = celeba.training_names(partition, train, test, "mafl_test")
  assert set(found) < set(plain)


@pytest.mark.parametrize("layout", ["flat", "nested", "kaggle"])
def test_known_layouts_come_back_point_for_point(dots, tmp_path, layout):
  """The images and lists as drawn: flat, in Img/, Anno/ and Eval/, or .csv."""
  fake.write_celeba(tmp_path, train=8, test=6)
  drawn = {}
  for split, n, first in (("train", 8, 1), ("test", 6, 9)):
    faces = fake.draw_faces(split, n, 0, celeba.SIZE)
    drawn |= {f"{first + i:06}.jpg": p for i, (_, p) in enumerate(faces)}
  if layout == "kaggle":
    (tmp_path / "img_align_celeba").rename(tmp_path / "images")
    (tmp_path / "img_align_celeba").mkdir()
    (tmp_path / "images").rename(tmp_path / "img_align_celeba/img_align_celeba")
    for name, below in ("eval_partition", 0), ("landmarks_align_celeba", 2):
      path = tmp_path / f"list_{name}.txt"
      rows = path.read_text().splitlines()[below:]
      text = "\n".join(["image_id,..", *(",".join(x.split()) for x in rows)])
      path.with_suffix(".csv").write_text(text)
      path.unlink()
  if layout == "nested":
    for folder, name in {
      "Img": "img_align_celeba",
      "Anno": "list_landmarks_align_celeba.txt",
      "Eval": "list_eval_partition.txt",
    }.items():
      (tmp_path / folder).mkdir()
      (tmp_path / name).rename(tmp_path / folder / name)
  splits = {
    split: celeba.load_celeba(
      tmp_path, FRAME, split=split, exclude="mafl_test", cache=True
    )
    for split in ("train", "fit", "test")
  }
  names = sorted(drawn)
  assert splits["train"].names == names[:8]
  assert splits["fit"].names == names[:4]
  assert splits["test"].names == names[8:]
  for split in ("fit", "test"):
    pixels = np.array([drawn[name] for name in splits[split].names])
    # IMM: both sides of 178 x 218 scaled to 160, of which 128 are seen.
    expected = ((pixels + 0.5) * 160 / np.array(celeba.SIZE) - 16) / 64 - 1
    np.testing.assert_allclose(splits[split].points, expected, atol=1e-6)


@pytest.mark.slow
def test_dve_crop_is_dves(dots, tmp_path):
  """Its 96 px: rows 30 to 208, resized to 136, and 20 px off each side."""
  fake.write_celeba(tmp_path, train=2, test=2)
  data = celeba.load_celeba(
    tmp_path,
    geometry.Frame(96, 136, "dve"),
    split="test",
    exclude="mafl",
    cache=True,
  )
  pixels = np.array([p for _, p in fake.draw_faces("test", 2, 0, celeba.SIZE)])
  expected = (pixels - [0, 30] + 0.5) * 136 / 178 - 20
  np.testing.assert_allclose((data.points + 1) * 48, expected, atol=1e-4)
  image = Image.open(tmp_path / "img_align_celeba" / data.names[0])
  oracle = resized(np.asarray(image)[30:208], 136)
  assert np.abs(data.images[0] - oracle).max() <= 1


def test_streaming_finds_broken_pictures_as_they_come(dots, tmp_path):
  """162,000 images are not decoded in advance; fit and test are."""
  fake.write_celeba(tmp_path, train=4, test=2)
  (tmp_path / "img_align_celeba" / "000001.jpg").write_bytes(b"")
  options = {"cache": False, "exclude": "mafl_test"}
  train = celeba.load_celeba(tmp_path, FRAME, split="train", **options)
  fit = celeba.load_celeba(tmp_path, FRAME, split="fit", **options)
  assert (len(train), len(fit)) == (4, 1)
  batch = next(train.batches(4, seed=0))
  images = dict(zip(batch["index"].tolist(), batch["image"], strict=True))
  np.testing.assert_array_equal(images[0], images[1])
  assert not np.array_equal(images[1], images[2])


def test_half_size_copies_load_as_celeba(public_data, tmp_path):
  """celeba10k: real images under the real names, points on the eyes."""
  images = sorted((public_data / "celeba10k" / "images").iterdir())[:60]
  folder = tmp_path / "img_align_celeba"
  folder.mkdir()
  for path in images:
    (folder / path.name).symlink_to(path)
  rows = (public_data / "celeba10k" / "landmarks.csv").read_text().split()[1:61]
  points = {}
  for row in rows:
    name, _, _, *cells = row.split(",")
    # Undoes what its README says was done to CelebA's numbers.
    points[name] = np.rint(2 * (np.array(cells, float) + 0.25)).astype(int)
  header = "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y ..."
  lines = [
    str(len(points)),
    header,
    *(f"{name} {' '.join(map(str, p))}" for name, p in points.items()),
  ]
  names = [path.name for path in images]
  (tmp_path / "MAFL").mkdir()
  for name, content in {
    "list_landmarks_align_celeba.txt": lines,
    "list_eval_partition.txt": [f"{name} 0" for name in names],
    "MAFL/training.txt": names[:40],
    "MAFL/testing.txt": names[40:],
  }.items():
    (tmp_path / name).write_text("\n".join(content) + "\n")
  options = {"cache": True, "exclude": "mafl_test"}
  train = celeba.load_celeba(tmp_path, FRAME, split="train", **options)
  test = celeba.load_celeba(tmp_path, FRAME, split="test", **options)
  assert (len(train), len(test)) == (40, 20)
  # The alignment puts the eyes there, in pixels of 178 x 218.
  eyes = test.points[:, :2].mean(0) * 128 / 160
  expected = (np.array([[69.5, 111], [108, 111]]) + 0.5) * 2 / celeba.SIZE - 1
  np.testing.assert_allclose(eyes, expected, atol=0.02)


def _spoil(root, how):
  """Makes one mistake in a good folder: the message."""
  partition = root / "list_eval_partition.txt"
  landmarks = root / "list_landmarks_align_celeba.txt"
  image = root / "img_align_celeba" / "000001.jpg"
  text = {path: path.read_text() for path in (partition, landmarks)}
  match how:
    case "no partition":
      partition.unlink()
      return "has no list_eval_partition.txt or Eval/"
    case "no mafl":
      (root / "MAFL" / "testing.txt").unlink()
      return "has no MAFL/testing.txt or testing.txt"
    case "no images":
      (root / "img_align_celeba").rename(root / "img")
      return "has no img_align_celeba or Img/img_align_celeba"
    case "lost image":
      image.unlink()
      return "lacks 1 of 4 images of .*, 000001.jpg the first"
    case "wild":
      Image.new("RGB", (409, 687)).save(image)
      return "000001.jpg has 409 x 687 pixels"
    case "short landmarks":
      landmarks.write_text(text[landmarks].rsplit("\n", 2)[0])
      return "does not have as many rows"
    case "other landmarks":
      landmarks.write_text(text[landmarks].replace("000001.jpg", "100001.jpg"))
      return "has no line for 000001.jpg"
    case "a word":
      partition.write_text(text[partition].replace("1.jpg 0", "1.jpg zero"))
      return "the line '000001.jpg zero'"
    case "twice":
      partition.write_text(text[partition] + "000001.jpg 0\n")
      return "lists 000001.jpg twice"


@pytest.mark.parametrize(
  "how",
  [
    "no partition",
    "no mafl",
    "no images",
    "lost image",
    "wild",
    "short landmarks",
    "other landmarks",
    "a word",
    "twice",
  ],
)
def test_incomplete_or_wrong_releases_are_named(dots, tmp_path, how):
  """The message says which file or count is off."""
  fake.write_celeba(tmp_path, train=4, test=2)
  named = _spoil(tmp_path, how)
  with pytest.raises(UserError, match=named):
    for split in ("train", "fit"):
      celeba.load_celeba(
        tmp_path, FRAME, split=split, exclude="mafl_test", cache=False
      )


def test_identity_without_its_file_or_line_is_named(dots, tmp_path):
  """exclude=identity says what it lacks."""
  fake.write_celeba(tmp_path, train=4, test=2)
  path = tmp_path / "identity_CelebA.txt"
  path.write_text(path.read_text().split("\n", 1)[1])
  options = {"split": "train", "exclude": "identity", "cache": True}
  with pytest.raises(UserError, match="no line for 000001.jpg"):
    celeba.load_celeba(tmp_path, FRAME, **options)
  path.unlink()
  with pytest.raises(UserError, match="has no identity_CelebA.txt"):
    celeba.load_celeba(tmp_path, FRAME, **options)


@pytest.mark.parametrize("root", ["none", "file"])
def test_no_folder_is_named(tmp_path, root):
  """A root that is missing or a file."""
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match=f"{root} (does not exist|is not)"):
    lists.find(pathlib.Path(tmp_path) / root, "a.txt")
