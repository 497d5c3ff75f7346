"""COCO keypoint files: what is read, what is refused, what is written."""

import copy
import json

import numpy as np
import pytest

from c3_jax.data import coco
from c3_jax.errors import UserError


def _content():
  """A file as the format's description has it, of another tool."""
  return {
    "info": {"year": 2020},
    "images": [
      {"id": 7, "file_name": "b/x.png", "width": 40, "height": 30},
      {"id": 3, "file_name": "a.png", "width": 20, "height": 20},
      {"id": 9, "file_name": "none.png"},
    ],
    "categories": [
      {"id": 4, "name": "box"},
      {"id": 5, "name": "face", "keypoints": ["eye", "nose"], "skeleton": []},
    ],
    "annotations": [
      {
        "id": 1,
        "image_id": 3,
        "category_id": 5,
        "keypoints": [1, 2, 2, 3.25, 4, 1],
      },
      {
        "id": 2,
        "image_id": 7,
        "category_id": 5,
        "keypoints": [5, 6, 2, 0, 0, 0],
      },
      {"id": 3, "image_id": 7, "category_id": 4, "bbox": [0, 0, 1, 1]},
      {
        "id": 4,
        "image_id": 7,
        "category_id": 5,
        "iscrowd": 1,
        "keypoints": [5, 6, 2, 7, 8, 2],
      },
    ],
  }


def _read(tmp_path, content):
  path = tmp_path / "given.json"
  text = content if isinstance(content, str) else json.dumps(content)
  path.write_text(text)
  return coco.read(path)


def test_points_are_those_of_the_objects(tmp_path):
  """Missing points are NaN; boxes and crowds are no objects with points."""
  first, second, third = _read(tmp_path, _content())
  assert (first.file, first.size) == ("b/x.png", (40, 30))
  np.testing.assert_array_equal(first.points, [[5, 6], [np.nan] * 2])
  np.testing.assert_array_equal(second.points, [[1, 2], [3.25, 4]])
  assert third == ("none.png", third.split, None, None)


def test_split_is_of_the_key_or_of_the_name_alone(tmp_path):
  """A file without splits has about a fifth for testing, whatever its order."""
  content = _content()
  content["images"][0]["split"] = "test"
  content["images"][1]["split"] = "train"
  assert [x.split for x in _read(tmp_path, content)][:2] == ["test", "train"]
  content = _content()
  content["images"] = [
    {"id": i, "file_name": f"{i:04}.jpg"} for i in range(1000)
  ]
  splits = {x.file: x.split for x in _read(tmp_path, content)}
  content["images"].reverse()
  assert splits == {x.file: x.split for x in _read(tmp_path, content)}
  assert 150 < sum(split == "test" for split in splits.values()) < 250


def _changed(*path, value):
  content = copy.deepcopy(_content())
  *groups, last = path
  node = content
  for key in groups:
    node = node[key]
  node[last] = value
  return content


_POINTS = [1, 2, 2, 3, 4, 2]
_TWICE = {"image_id": 3, "category_id": 5, "keypoints": _POINTS}


@pytest.mark.parametrize(
  ("content", "match"),
  [
    ("", "is not JSON"),
    ("[]", "table"),
    ("{}", "'images'"),
    (_changed("images", value=[]), "no images"),
    (_changed("annotations", value=[]), "no object .* keypoints"),
    (_changed("categories", 1, "keypoints", value=[]), "names no keypoints"),
    (_changed("categories", 1, "keypoints", value="eye"), "keypoints"),
    (_changed("images", 0, "id", value=3), "listed twice"),
    (_changed("images", 0, "file_name", value="./a.png"), "listed twice"),
    (_changed("images", 0, "file_name", value=1), "file_name"),
    (_changed("images", 0, "width", value=0), "b/x.png has a side"),
    (_changed("images", 0, "width", value="40"), "size of b/x.png"),
    (_changed("images", 0, "split", value="val"), "split 'val'"),
    (_changed("annotations", 0, "image_id", value=99), "99, which is not"),
    (_changed("annotations", 0, "keypoints", value=[1, 2]), "2 numbers"),
    (_changed("annotations", 0, "category_id", value=[5]), "category_id"),
    (
      _changed("annotations", 0, "keypoints", value=[1, 2, 2, 3, None, 2]),
      "keypoints of a.png",
    ),
    (_changed("annotations", 2, value=_TWICE), "a.png has several objects"),
    (json.dumps(_content()).replace("3.25", "NaN"), "NaN"),
    (json.dumps(_content()).replace("3.25", "1e999"), "1e999"),
  ],
)
def test_a_mistake_is_one_line_that_names_the_file(tmp_path, content, match):
  """Empty, broken and ambiguous files are refused."""
  with pytest.raises(UserError, match=f"given.json.*{match}") as error:
    _read(tmp_path, content)
  assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
  """As one that is a folder."""
  for path in (tmp_path / "no.json", tmp_path):
    with pytest.raises(UserError, match=str(path)):
      coco.read(path)


def test_what_is_written_is_read_again(tmp_path):
  """Points to 0.001 px; the box holds them, from the image's outer corner."""
  rng = np.random.default_rng(0)
  document, want = coco.Document(["l1", "l2", "l3"]), []
  for i in range(5):
    want.append(rng.uniform(0, 29, (3, 2)))
    document.add(f"{i}.png", (40, 30), want[-1], [0.9, 0.25, 0.1], frame=i)
  content = document.content()
  found = _read(tmp_path, content)
  for each, points in zip(found, want, strict=True):
    assert each.size == (40, 30)
    np.testing.assert_allclose(each.points, points, atol=6e-4)
  for each, points in zip(content["annotations"], want, strict=True):
    assert each["keypoints"][2::3] == [2, 2, 1]
    left, top, width, height = each["bbox"]
    low, high = [left, top], [left + width, top + height]
    np.testing.assert_allclose(low, points.min(0), atol=1e-3)
    np.testing.assert_allclose(high, points.max(0) + 1, atol=1e-3)
  assert [image["frame"] for image in content["images"]] == list(range(5))
