"""COCO keypoints: a JSON file of images, their objects and named points.

x and y of a keypoint are 0-indexed pixels, so 0 is the centre of the first one,
as in landmarks.csv; a box is measured from the image's outer corner, half a
pixel further out. Visibility is 0 where a point is missing, 1 where it is
hidden or unsure, 2 where it is seen.
"""

import posixpath
import zlib
from typing import NamedTuple

import numpy as np

from c3_jax.errors import UserError
from c3_jax.runtime import files, json_files

# The confidence from which a landmark counts as seen.
SEEN = 0.25
_TEST_SHARE = 5  # One image of so many, where a file says nothing of splits.
_WRONG = "is no COCO file of keypoints"
_REMEDY = "name one with data.landmarks, or a csv file."
_FORM = {
  "images": [{"id": (int, str), "file_name": str}],
  "annotations": [{"image_id": (int, str)}],
  "categories": [{"id": (int, str)}],
}


class Annotated(NamedTuple):
  """One image of a COCO file.

  Attributes:
    file: its name as in the file, with forward slashes.
    split: "train" or "test".
    points: float64 [P, 2] in pixels, 0 = centre of the first one; NaN where one
      is missing, or None without an object.
    size: (width, height) that the points were measured on, or None.
  """

  file: str
  split: str
  points: np.ndarray | None
  size: tuple | None


def read(path):
  """Reads the images of a COCO file: list of `Annotated`, in its order.

  An image says its own split, in a key of that name; else about every fifth is
  for testing, chosen by its name alone. Crowds and objects without keypoints
  are passed over.

  Raises:
    UserError: names the file and what is wrong in it.
  """
  # COCO's own has 240 MB.
  content = json_files.read(
    path, _FORM, wrong=_WRONG, remedy=_REMEDY, largest=files.LARGEST
  )
  try:
    images = _by_id(content["images"])
    objects = _objects(content, images)
    return [
      _annotated(image, objects.get(number)) for number, image in images.items()
    ]
  except ValueError as error:
    raise UserError(f"{path}: {error}.") from error


def _by_id(images):
  """Gives {id: image}, each image with a name of its own."""
  found, names = {}, set()
  for image in images:
    name = image["file_name"] = _plain(image["file_name"])
    if image["id"] in found or name in names:
      raise ValueError(f"image {image['id']}, {name}, is listed twice")
    found[image["id"]] = image
    names.add(name)
  if not found:
    raise ValueError("it lists no images; export it again with images")
  return found


def _plain(name):
  return posixpath.normpath(name.replace("\\", "/"))


def _objects(content, images):
  """Finds the points of images: {id of an image: [P, 2]}."""
  names = {
    category["id"]: category["keypoints"] for category in _named(content)
  }
  found, of_category = {}, set()
  for each in content["annotations"]:
    if each.get("iscrowd") or not each.get("keypoints"):
      continue
    number, category = each["image_id"], each.get("category_id")
    json_files.check(category, (int, str, None), "category_id")
    if number not in images:
      raise ValueError(f"an object is of image {number}, which is not listed")
    file = images[number]["file_name"]
    if category not in names:
      raise ValueError(
        f"the object of {file} is of category {category!r}, which names no "
        "keypoints"
      )
    points = _points(each["keypoints"], len(names[category]), file)
    if np.isnan(points).all():
      continue
    if number in found:
      raise ValueError(
        f"{file} has several objects with keypoints; keep one object an image, "
        "or crop an image to each"
      )
    found[number] = points
    of_category.add(category)
  if not found:
    raise ValueError("no object in it has keypoints; export it with keypoints")
  if len(of_category) > 1:
    raise ValueError(
      f"its objects are of {len(of_category)} categories; keep those of one"
    )
  return found


def _named(content):
  """Lists the categories that name keypoints."""
  named = [c for c in content["categories"] if c.get("keypoints")]
  for category in named:
    json_files.check(category["keypoints"], [str], "categories.keypoints")
  return named


def _points(numbers, count, file):
  """Checks x, y, visibility of `count` points: [count, 2], NaN if missing."""
  json_files.check(numbers, [float], f"keypoints of {file}")
  if len(numbers) != 3 * count:
    raise ValueError(
      f"{file} has {len(numbers)} numbers in keypoints, not x, y and "
      f"visibility of {count} points"
    )
  x, y, visibility = np.reshape(np.asarray(numbers, np.float64), (-1, 3)).T
  points = np.stack([x, y], -1)
  points[visibility <= 0] = np.nan
  return points


def _annotated(image, points):
  split = image.get("split")
  if split is None:
    # Frames of a clip are CLIP#NUMBER, and stay together.
    clip = image["file_name"].partition("#")[0]
    by_name = zlib.crc32(clip.encode(errors="surrogateescape"))
    split = "train" if by_name % _TEST_SHARE else "test"
  if split not in ("train", "test"):
    raise ValueError(
      f"split {split!r} of {image['file_name']} must be train or test"
    )
  size = image.get("width"), image.get("height")
  if None in size:
    return Annotated(image["file_name"], split, points, None)
  json_files.check(list(size), [int], f"the size of {image['file_name']}")
  if min(size) < 1:
    raise ValueError(f"{image['file_name']} has a side of no pixels")
  return Annotated(image["file_name"], split, points, size)


class Document:
  """A COCO file in the making: one object with K keypoints an image.

  Attributes:
    INFO: what the files begin with.
  """

  INFO = {"description": "Landmarks found by c3_jax", "version": "1"}

  def __init__(self, names):
    """Begins with no images; `names` are those of the K keypoints."""
    category = {
      "id": 1,
      "name": "object",
      "supercategory": "object",
      "keypoints": list(names),
      "skeleton": [],
    }
    self._content = {
      "info": self.INFO,
      "licenses": [],
      "images": [],
      "annotations": [],
      "categories": [category],
    }

  def add(self, name, size, points, confidence, **more):
    """Adds an image of size (width, height).

    Args:
      name: of its file.
      size: (width, height) in pixels.
      points: [K, 2] in pixels, 0 = centre of the first one.
      confidence: [K]; from `SEEN` on a point is visible (2), else unsure (1).
      **more: further keys of the image.
    """
    number, size = len(self._content["images"]) + 1, [int(x) for x in size]
    self._content["images"].append(
      {
        "id": number,
        "file_name": name,
        "width": size[0],
        "height": size[1],
        **more,
      }
    )
    # Around the whole pixels of the points, inside the image.
    low = np.clip(points.min(0), 0, np.subtract(size, 1))
    high = np.clip(points.max(0) + 1, low + 1, size)
    box = np.round([*low, *(high - low)], 3).tolist()
    visible = np.where(np.asarray(confidence) >= SEEN, 2, 1)
    self._content["annotations"].append(
      {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "keypoints": [
          x
          for (a, b), v in zip(np.round(points, 3).tolist(), visible.tolist())
          for x in (a, b, v)
        ],
        "num_keypoints": len(points),
        "bbox": box,
        "area": round(box[2] * box[3], 3),
        "iscrowd": 0,
        "segmentation": [],
        "confidence": np.round(confidence, 4).tolist(),
      }
    )

  def content(self):
    """Gives the file as plain Python, for JSON."""
    return self._content
