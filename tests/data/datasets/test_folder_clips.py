"""Clips and COCO files in a folder of images."""

import json
import os

import cv2
import numpy as np
import pytest
from PIL import Image

from c3_jax import geometry
from c3_jax.data import coco
from c3_jax.data.datasets import folder
from c3_jax.errors import UserError

FRAME = geometry.Frame(16, 20)


def _clip(path, levels, size=(64, 48)):
  """Writes a video whose frames have these grey levels."""
  path.parent.mkdir(parents=True, exist_ok=True)
  fourcc = cv2.VideoWriter_fourcc(*"mp4v")
  writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, 25.0, size)
  for level in levels:
    writer.write(np.full((*size[::-1], 3), level, np.uint8))
  writer.release()


@pytest.fixture
def root(tmp_path):
  """Two images of levels 0 and 250, and two clips of 5 frames."""
  for name, level in (("a.png", 0), ("z.png", 250)):
    (tmp_path / "images").mkdir(exist_ok=True)
    image = Image.new("L", (30, 20), level)
    image.save(tmp_path / "images" / name)
  _clip(tmp_path / "images" / "m.mp4", range(20, 120, 20))
  _clip(tmp_path / "images" / "deep" / "n.mp4", range(130, 230, 20))
  return tmp_path


def _load(root, split, **options):
  return folder.load_folder(root, FRAME, split=split, **options)


def _levels(data):
  (batch,) = data.eval_batches(len(data))
  return batch["image"].mean((1, 2, 3))


def test_every_nth_frame_is_an_image(root):
  """After the images, in order; the name says the frame."""
  data = _load(root, "train", every=2)
  assert data.names == [
    *("a.png", "z.png"),
    *(f"deep/n.mp4#{i}" for i in (0, 2, 4)),
    *(f"m.mp4#{i}" for i in (0, 2, 4)),
  ]
  want = [0, 250, 130, 170, 210, 20, 60, 100]
  np.testing.assert_allclose(_levels(data), want, atol=4)
  assert len(_load(root, "train")) == 4
  extra = _load(root, "train", every=4, extra_root=root)
  assert len(extra) == 6


def _rows(root, *rows):
  text = "\n".join(["file,frame,split,x1,y1", *rows])
  (root / "landmarks.csv").write_text(text + "\n")


def test_a_clip_of_a_test_frame_is_never_trained_on(root):
  """Nor is a link to it; its frames are measured with their points."""
  _rows(root, "m.mp4,3,test,5,6", "m.mp4,1,test,7,8", "a.png,,train,1,2")
  os.symlink("m.mp4", root / "images" / "o.mp4")
  data = _load(root, "train", every=1)
  assert data.names == ["a.png", "z.png"] + [
    f"deep/n.mp4#{i}" for i in range(5)
  ]
  test = _load(root, "test")
  assert test.names == ["m.mp4#1", "m.mp4#3"]
  np.testing.assert_allclose(_levels(test), [40, 80], atol=4)
  pixels = FRAME.coords_to_file(test.points, (64, 48))
  np.testing.assert_allclose(pixels, [[[7, 8]], [[5, 6]]], atol=1e-4)
  assert _load(root, "fit").names == ["a.png"]


@pytest.mark.parametrize(
  ("rows", "match"),
  [
    (["m.mp4,1,test,1,2", "m.mp4,2,train,1,2"], "line 3: frames of m.mp4 .*"),
    (["m.mp4,,test,1,2"], "line 2: m.mp4: give the number of the frame"),
    (["a.png,3,test,1,2"], "line 2: a.png: give the number of the frame"),
    (["m.mp4,-1,test,1,2"], "line 2: '-1' in column 'frame'"),
    (["m.mp4,1.5,test,1,2"], "line 2: '1.5' in column 'frame'"),
    ([f"m.mp4,{'9' * 5000},test,1,2"], "in column 'frame'"),
    (["m.mp4,1,test,1,2"] * 2, "line 3: m.mp4#1 is listed already in line 2"),
    (["m.mp4,99,test,1,2"], "m.mp4#99 cannot be decoded"),
  ],
)
def test_a_mistake_in_the_rows_of_a_clip_is_named(root, rows, match):
  """The line, the file and what to do."""
  _rows(root, *rows)
  with pytest.raises(UserError, match=match):
    _load(root, "test")


def test_a_broken_clip_or_key_is_named(root):
  """As are clips without a cache, which would decode them again and again."""
  for options in ({"every": 0}, {"cache": False}):
    with pytest.raises(UserError, match=f"config.data.{[*options][0]}="):
      _load(root, "train", **options)
  (root / "images" / "bad.mp4").write_bytes(b"no video")
  with pytest.raises(UserError, match="bad.mp4 cannot be read"):
    _load(root, "train")


def _coco(root, *objects, name="x.json"):
  """Writes a COCO file: (file name, size, split, keypoints) an object."""
  content = {
    "images": [
      {"id": i, "file_name": file, "width": w, "height": h, "split": split}
      for i, (file, (w, h), split, _) in enumerate(objects)
    ],
    "categories": [{"id": 0, "name": "f", "keypoints": ["p", "q"]}],
    "annotations": [
      {"id": i, "image_id": i, "category_id": 0, "keypoints": keypoints}
      for i, (_, _, _, keypoints) in enumerate(objects)
    ],
  }
  (root / name).write_text(json.dumps(content))


def test_points_of_a_coco_file_are_those_of_a_csv(root):
  """Exactly; names may have folders in front, and images another scale."""
  _coco(
    root,
    ("data\\upload/a.png", (30, 20), "train", [1, 2, 2, 3.5, 4, 1]),
    ("z.png", (60, 40), "train", [1, 2, 2, 3, 4, 2]),
    ("m.mp4#3", (64, 48), "test", [5, 6, 2, 7, 8, 2]),
  )
  lines = ["file,frame,split,x1,y1,x2,y2", "a.png,,train,1,2,3.5,4"]
  # A pixel's centre is half a pixel from its corner at both scales.
  lines += ["z.png,,train,0.25,0.75,1.25,1.75", "m.mp4,3,test,5,6,7,8"]
  (root / "landmarks.csv").write_text("\n".join(lines))
  for split in ("train", "fit", "test"):
    want = _load(root, split)
    found = _load(root, split, landmarks="x.json")
    assert found.names == want.names
    if split != "train":
      np.testing.assert_allclose(found.points, want.points, atol=1e-6)


def test_a_missing_point_is_nan(root):
  """The other points of its image serve."""
  _coco(
    root,
    ("a.png", (30, 20), "test", [1, 2, 2, 3, 4, 2]),
    ("z.png", (60, 40), "test", [11, 12, 2, 0, 0, 0]),
  )
  data = _load(root, "test", landmarks="x.json")
  np.testing.assert_array_equal(
    np.isnan(data.points).any(-1), [[False, False], [False, True]]
  )


@pytest.mark.parametrize(
  ("file", "size", "match"),
  [
    ("z.png", (20, 30), "z.png is 20 x 30 there, 30 x 20 as it is stored"),
    ("none.png", (30, 20), "none.png is not among the images"),
    ("m.mp4", (64, 48), "m.mp4: give the number"),
  ],
)
def test_a_coco_file_of_other_images_is_refused(root, file, size, match):
  """With the name of the file and of the image."""
  _coco(root, (file, size, "test", [1, 2, 2, 3, 4, 2]))
  with pytest.raises(UserError, match=f"x.json: .*{match}"):
    _load(root, "test", landmarks="x.json")


def test_what_predict_writes_is_read(root):
  """Its names of frames and its sizes are those of the folder."""
  document, want = coco.Document(["l1"]), np.array([[3.25, 4.5]])
  document.add("m.mp4#2", (64, 48), want, [1.0])
  (root / "x.json").write_text(json.dumps(document.content()))
  (data,) = filter(
    None, (_load(root, s, landmarks="x.json") for s in ("fit", "test"))
  )
  assert data.names == ["m.mp4#2"]
  found = FRAME.coords_to_file(data.points[0], (64, 48))
  np.testing.assert_allclose(found, want, atol=1e-4)
