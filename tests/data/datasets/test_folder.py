"""Tests of the folder dataset on folders the tests write themselves."""

import os

import numpy as np
import pytest
from PIL import Image

from c3_jax import geometry
from c3_jax.data.datasets import folder
from c3_jax.errors import UserError

_HEADER = "file,split,identity,x1,y1,x2,y2"


def _draw(path, level, size=(30, 20)):
  """Writes an image of one grey level, by which it is known again."""
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.new("RGB", size, (level,) * 3).save(path)


def _folder(root, rows, *, header=_HEADER):
  """Six images of levels 0, 40, ... 200, and a csv with these rows."""
  names = ["a.jpg", "b.JPEG", "deep/d.PNG", "deep/er/c.png", "e.Jpg", "z.png"]
  for i, name in enumerate(names):
    _draw(root / "images" / name, 40 * i)
  if rows is not None:
    (root / "landmarks.csv").write_text("\n".join([header, *rows]) + "\n")
  return names


_ROWS = [
  "z.png,train,p1,1,2,3,4",
  "deep/d.PNG,test,,5,6,7,8",
  "a.jpg,train,p2,9,10,11,12.5",
  "b.JPEG,test,p3,13,14,15,16",
]


def _load(root, split, **kwargs):
  frame = geometry.Frame(16, 20)
  return folder.load_folder(root, frame, split=split, **kwargs)


def _levels(data):
  """Grey levels of the images, in steps of 40."""
  (batch,) = data.eval_batches(len(data))
  return np.rint(batch["image"].mean((1, 2, 3)) / 40).astype(int).tolist()


@pytest.mark.parametrize("cache", [True, False])
def test_splits_hold_the_right_pictures_and_points(tmp_path, cache):
  """Each split has its own files, sorted, with its own rows' points."""
  names = _folder(tmp_path, _ROWS)
  train = _load(tmp_path, "train", cache=cache)
  fit = _load(tmp_path, "fit", cache=cache)
  test = _load(tmp_path, "test", cache=cache)
  for data, expected in ((train, [0, 3, 4, 5]), (fit, [0, 5]), (test, [1, 2])):
    assert data.names == [names[i] for i in expected]
    assert _levels(data) == expected
  assert train.points is None
  for data, pixels in (
    (fit, [[[9, 10], [11, 12.5]], [[1, 2], [3, 4]]]),
    (test, [[[13, 14], [15, 16]], [[5, 6], [7, 8]]]),
  ):
    np.testing.assert_allclose(
      geometry.Frame(16, 20).coords_to_file(data.points, (30, 20)),
      pixels,
      atol=1e-5,
    )


def test_no_test_file_is_ever_trained_on(tmp_path):
  """However a test image is spelt, linked or added again, train lacks it."""
  root, extra = tmp_path / "root", tmp_path / "extra"
  _folder(
    root, ["./deep//d.PNG,test,,5,6,7,8", "deep\\er\\c.png, TEST ,,5,6,7,8"]
  )
  os.symlink("deep/d.PNG", root / "images" / "link.png")
  _draw(extra / "images" / "own.png", 240)
  os.symlink(root / "images" / "deep", extra / "images" / "linked")
  data = _load(root, "train", extra_root=extra)
  assert _levels(data) == [0, 1, 4, 5, 6]
  assert data.names[-1] == "extra/own.png"
  assert _levels(_load(root, "train", extra_root=root)) == [0, 1, 4, 5]


def test_extra_root_joins_train_without_its_test_rows(tmp_path):
  """Extra images come after the root's, less the extra csv's test rows."""
  root, extra = tmp_path / "root", tmp_path / "more"
  _folder(root, _ROWS)
  for level, name in ((200, "p.png"), (120, "q.png"), (160, "r.png")):
    _draw(extra / "images" / name, level)
  (extra / "landmarks.csv").write_text(
    "file,split,x1,y1\nq.png,test,1,1\nr.png,train,1,1\n"
  )
  data = _load(root, "train", extra_root=extra)
  assert _levels(data) == [0, 3, 4, 5, 5, 4]
  assert data.names[-2:] == ["more/p.png", "more/r.png"]
  assert len(_load(root, "fit", extra_root=extra)) == 2


def test_without_csv_everything_trains(tmp_path):
  """Without annotations, train is every image, and fit and test are None."""
  names = _folder(tmp_path, None)
  assert _load(tmp_path, "train").names == names
  assert _load(tmp_path, "fit") is None
  assert _load(tmp_path, "test") is None


def test_split_without_rows_is_none(tmp_path):
  """A csv that annotates only training images leaves test as None."""
  _folder(tmp_path, _ROWS[:1])
  assert len(_load(tmp_path, "fit")) == 1
  assert _load(tmp_path, "test") is None


def test_pictures_directly_in_root(tmp_path):
  """A folder without images/ is its own images folder."""
  _draw(tmp_path / "a.png", 40)
  _draw(tmp_path / "sub" / "b.jpg", 80)
  (tmp_path / "landmarks.csv").write_text(
    "file,split,x1,y1\nsub/b.jpg,test,1,2\n"
  )
  assert _load(tmp_path, "train").names == ["a.png"]
  assert _load(tmp_path, "test").names == ["sub/b.jpg"]


def test_hidden_and_other_files_are_passed_over(tmp_path):
  """Dot files, dot folders and other suffixes are no images; loops end."""
  names = _folder(tmp_path, None)
  images = tmp_path / "images"
  (images / "._a.jpg").write_bytes(b"mac")
  _draw(images / ".cache" / "t.png", 0)
  (images / "notes.txt").write_text("hello")
  os.symlink(images, images / "deep" / "loop")
  assert folder.list_images(tmp_path) == (images, names)


def test_unlabelled_rows_may_be_empty(tmp_path):
  """Rows of split unlabeled need no points, and train like unlisted ones."""
  names = _folder(
    tmp_path,
    ["a.jpg,unlabeled,,,,,", "b.JPEG,unlabelled", "z.png,test,,1,2,3,4"],
  )
  assert _load(tmp_path, "train").names == names[:-1]
  assert _load(tmp_path, "fit") is None


def test_columns_in_any_order_and_excel_marks(tmp_path):
  """Columns are found by name, with a byte-order mark, quotes and blanks."""
  path = tmp_path / "l.csv"
  path.write_bytes(
    b'\xef\xbb\xbfy1, x2,split,mafl,x1,file,y2\r\n2, 3,train,,1,"a,b.jpg",4\r\n'
    b"\r\n,,,,,,\r\n"
  )
  (row,) = folder.read_landmarks(path)
  assert (row.name, row.split, row.where) == (
    "a,b.jpg",
    "train",
    f"{path} line 2",
  )
  np.testing.assert_array_equal(row.pixels, [[1, 2], [3, 4]])


def test_another_csv_by_name(tmp_path):
  """`landmarks` names another csv, which then must exist."""
  _folder(tmp_path, _ROWS)
  (tmp_path / "dense.csv").write_text("file,split,x1,y1\na.jpg,test,1,2\n")
  assert _load(tmp_path, "test", landmarks="dense.csv").names == ["a.jpg"]
  with pytest.raises(UserError, match="none.csv"):
    _load(tmp_path, "train", landmarks="none.csv")


@pytest.mark.parametrize(
  "header, rows, parts",
  [
    ("split,x1,y1", ["train,1,2"], ["no column 'file'"]),
    ("file,x1,y1", ["a.jpg,1,2"], ["no column 'split'"]),
    ("file,split", ["a.jpg,train"], ["no column 'x1'"]),
    ("file,split,x1,y1,x2", ["a.jpg,train,1,2,3"], ["no column 'y2'"]),
    ("file,split,x0,y0", ["a.jpg,train,1,2"], ["no column 'x1'"]),
    ("file,split,x0,y0,x1,y1", ["a.jpg,train,1,2,3,4"], ["no column 'x2'"]),
    ("file,split,x1,y1,x3,y3", ["a.jpg,train,1,2,3,4"], ["no column 'x2'"]),
    ("file,split,x1,y1,x1", ["a.jpg,train,1,2,3"], ["more than one", "'x1'"]),
    ("file;split;x1;y1", ["a.jpg;train;1;2"], ["no column 'file'", "commas"]),
    ("", [], ["no column 'file'"]),
    (_HEADER, ["a.jpg,train,,1,left,3,4"], ["line 2", "'y1'", "'left'"]),
    (_HEADER, ["a.jpg,train,,1,2,3,nan"], ["line 2", "'y2' one is empty"]),
    (_HEADER, ["a.jpg,train,,1,2,,4"], ["line 2", "'x2' and 'y2'"]),
    (_HEADER, ["a.jpg,train,,1,2,3,inf"], ["line 2", "'y2'", "'inf'"]),
    (_HEADER, ["a.jpg,test,,,,,"], ["line 2", "has no point"]),
    (_HEADER, ["a.jpg,train,,1,2,3,4,5"], ["line 2", "8 cells", "7 columns"]),
    (_HEADER, [",train,,1,2,3,4"], ["line 2", "'file' is empty"]),
    (_HEADER, ["a.jpg,val,,1,2,3,4"], ["line 2", "'val'", "train, test"]),
    (_HEADER, [_ROWS[0], "no.jpg,test,,1,2,3,4"], ["line 3", "no.jpg"]),
    (
      _HEADER,
      ["a.jpg,train,,1,2,3,4", "./a.jpg,test,,1,2,3,4"],
      ["line 3", "a.jpg", "line 2"],
    ),
  ],
)
def test_mistakes_in_the_csv(tmp_path, header, rows, parts):
  """Each mistake gives one line with the file, the place and the remedy."""
  _folder(tmp_path, rows, header=header)
  for split in ("train", "fit", "test"):
    with pytest.raises(UserError) as error:
      _load(tmp_path, split)
    message = str(error.value)
    assert "landmarks.csv" in message and "\n" not in message
    for part in parts:
      assert part in message


def test_csv_that_is_no_csv(tmp_path):
  """Bytes that are not UTF-8, or a folder in its place, name the csv."""
  _folder(tmp_path, None)
  path = tmp_path / "landmarks.csv"
  path.write_bytes("file,split,x1,y1\nü.jpg,train,1,2\n".encode("latin-1"))
  with pytest.raises(UserError, match=r"landmarks.csv is not .*UTF-8"):
    _load(tmp_path, "train")
  path.unlink()
  path.mkdir()
  with pytest.raises(UserError, match="landmarks.csv cannot be read"):
    _load(tmp_path, "train")


def test_mistakes_in_the_folder(tmp_path):
  """A missing, wrong or empty folder is named."""
  with pytest.raises(UserError, match="nowhere does not exist"):
    _load(tmp_path / "nowhere", "train")
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="file is not a folder"):
    _load(tmp_path / "file", "train")
  (tmp_path / "empty" / "images").mkdir(parents=True)
  with pytest.raises(UserError, match=r"empty/images has no images"):
    _load(tmp_path / "empty", "train")
  _folder(tmp_path / "good", _ROWS)
  with pytest.raises(UserError, match="nowhere does not exist"):
    _load(tmp_path / "good", "train", extra_root=tmp_path / "nowhere")


def test_nothing_left_to_train_on(tmp_path):
  """A folder whose images are all test images says so."""
  _draw(tmp_path / "images" / "a.png", 40)
  (tmp_path / "landmarks.csv").write_text("file,split,x1,y1\na.png,test,1,2\n")
  with pytest.raises(UserError, match="no training images"):
    _load(tmp_path, "train")


def test_rows_serve_with_the_points_they_have(tmp_path, caplog):
  """Empty cells, NaN, 0,0, -1,-1 and places far outside are missing points."""
  rows = [
    "a.jpg,train,,1,2,3,4",
    "b.JPEG,train,,1,2,,",
    "deep/d.PNG,train,,nan,NaN,3,4",
    "deep/er/c.png,train,,1,2,-1,-1",
    "e.Jpg,train,,0,0,3,4",
    "z.png,train,,1,2,4000,3000",
  ]
  _folder(tmp_path, rows)
  data = _load(tmp_path, "fit")
  missing = [[], [1], [0], [1], [0], [1]]
  found = geometry.Frame(16, 20).coords_to_file(data.points, (30, 20))
  for points, gone in zip(found, missing, strict=True):
    expected = np.array([[1.0, 2], [3, 4]])
    expected[gone] = np.nan
    np.testing.assert_allclose(points, expected, atol=1e-5)
  assert (
    "5 of 12 annotated points are missing, 1 of them outside" in caplog.text
  )
  data.save(tmp_path / "x.npz")
  again = type(data).load(tmp_path / "x.npz")
  np.testing.assert_array_equal(again.points, data.points)


def test_points_of_another_scale_are_refused(tmp_path):
  """Where most points lie outside, they are of other images."""
  _folder(tmp_path, ["a.jpg,train,,100,200,300,400", "b.JPEG,train,,1,2,3,40"])
  with pytest.raises(UserError, match="most annotated points .*a.jpg the fir"):
    _load(tmp_path, "fit")


def test_many_columns_take_no_quadratic_time(tmp_path):
  """100,000 columns are read in seconds."""
  names = [f"{axis}{i + 1}" for i in range(50_000) for axis in "xy"]
  path = tmp_path / "x.csv"
  path.write_text(
    f"file,split,{','.join(names)}\na.jpg,train{',1' * 100_000}\n"
  )
  (row,) = folder.read_landmarks(path)
  assert row.pixels.shape == (50_000, 2)
