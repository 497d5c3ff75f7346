"""Which files folders and patterns mean."""

import os

import pytest

from c3_jax.data import find
from c3_jax.errors import UserError


@pytest.fixture
def tree(tmp_path, monkeypatch):
  """A folder `pics` with images at three depths, and what is not one."""
  for name in (
    "pics/b.jpg",
    "pics/a.PNG",
    "pics/notes.txt",
    "pics/.hidden.jpg",
    "pics/.cache/x.jpg",
    "pics/one/a.png",
    "pics/one/two/c[1].webp",
    "other/z.jpg",
    "nas/a.jfif",
    "nas/IMG.HEIC",
    "nas/._a.jpg",
    "nas/Thumbs.db",
    "nas/@eaDir/a.jpg/SMALL.jpg",
    "nas/#recycle/old.jpg",
    "nas/__MACOSX/x.jpg",
    "nas/[1]/b.jpg",
    "nas/1/c.jpg",
  ):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
  # A link upwards, which must not be followed for ever.
  os.symlink(tmp_path / "pics", tmp_path / "pics" / "one" / "up")
  monkeypatch.chdir(tmp_path)
  return tmp_path


def test_a_folder_means_its_pictures_at_any_depth(tree):
  """Sorted, by suffix of either case, relative, without hidden ones."""
  want = ["a.PNG", "b.jpg", "one/a.png", "one/two/c[1].webp"]
  for given in ("pics", "pics/", str(tree / "pics")):
    root, names = find.find(given)
    assert names == want
    assert all(os.path.isfile(os.path.join(root, name)) for name in names)


@pytest.mark.parametrize(
  ("pattern", "root", "names"),
  [
    ("pics/*.jpg", "pics", ["b.jpg"]),
    ("pics/*/*.png", "pics", ["one/a.png"]),
    ("*/*.jpg", "", ["other/z.jpg", "pics/b.jpg"]),
    ("pics/on?/a.*", "pics", ["one/a.png"]),
    ("other/**", "other", ["z.jpg"]),
    # Not a pattern where there is such a file.
    ("pics/one/two/c[1].webp", "pics/one/two", ["c[1].webp"]),
    ("pics/b.jpg", "pics", ["b.jpg"]),
  ],
)
def test_a_pattern_is_relative_to_what_precedes_its_wildcard(
  tree, pattern, root, names
):
  """Files only, each once."""
  found = find.find(pattern)
  assert (found[0].rstrip("/"), found[1]) == (root, names)


def test_what_is_passed_over_is_counted(tree, caplog):
  """Other formats, hidden files and folders of storage boxes; said once."""
  with caplog.at_level("INFO", "c3_jax"):
    for _ in range(2):
      names = find.walk(str(tree / "nas"))
  assert names == ["1/c.jpg", "[1]/b.jpg", "a.jfif"]
  (line,) = [record.getMessage() for record in caplog.records]
  assert "nas: 3 images; passed over: " in line
  for part in ("1 .heic", "1 .db", "1 in @eaDir", "1 in #recycle", "1 hidden"):
    assert part in line


@pytest.mark.parametrize(
  ("pattern", "root", "names"),
  [
    ("nas/[1]/*.jpg", "nas/[1]", ["b.jpg"]),
    ("nas/[12]/*.jpg", "nas", ["1/c.jpg"]),
    ("nas/*/*.jpg", "nas", ["1/c.jpg", "[1]/b.jpg"]),
    ("nas/#recycle/*.jpg", "nas/#recycle", ["old.jpg"]),
    ("nas/*/../a.jfif", "nas", ["a.jfif"]),
    ("nas/1/../*.jfif", "nas/1/..", ["a.jfif"]),
    ("other/*/../../nas/1/*.jpg", "", []),
  ],
)
def test_brackets_of_a_folder_that_exists_are_literal(
  tree, pattern, root, names
):
  """The longest part that is a folder is no pattern; names never go up."""
  if not names:
    with pytest.raises(UserError, match="matches no file"):
      find.find(pattern)
    return
  found = find.find(pattern)
  assert (found[0], found[1]) == (root, names)


def test_overlays_of_an_earlier_run_are_no_pictures(tree):
  """What lies in the folder of overlays is not taken; the rest is."""
  (tree / "pics" / "over").mkdir()
  (tree / "pics" / "over" / "b.jpg.png").write_bytes(b"")
  assert "over/b.jpg.png" in find.find("pics")[1]
  assert "over/b.jpg.png" in find.find("pics", "new")[1]
  want = ["a.PNG", "b.jpg", "one/a.png", "one/two/c[1].webp"]
  assert find.find("pics", "pics/over")[1] == want


@pytest.mark.parametrize(
  ("images", "overlay", "match"),
  [
    ("none", "", "--images=none matches no file"),
    ("pics/*.gif", "", "matches no file"),
    ("pics/.cache", "pics/.cache", "is the folder of the images"),
    ("pics", "pics/b.jpg", "--overlay=pics/b.jpg is a file"),
    ("pics", ".", "holds all images"),
  ],
)
def test_mistakes_are_named(tree, images, overlay, match):
  """The flag at fault, and what to do."""
  with pytest.raises(UserError, match=match):
    find.find(images, overlay)


def test_an_empty_folder_is_named(tree):
  """A folder without images says which suffixes count."""
  (tree / "empty").mkdir()
  with pytest.raises(UserError, match="empty has no images: put .jpg"):
    find.find("empty")
