"""Reads a COCO file of predict with the tools of others, and theirs with ours.

  python -m venv READERS
  READERS/bin/pip install pycocotools supervision sleap-io datumaro \
    label-studio-sdk
  READERS/bin/python -m benchmarks.coco_readers --coco=landmarks.json \
    --images=DIR --out=FILE

`landmarks.json` is of `c3_jax.predict --images=DIR`. Each tool loads it and,
where it can, writes it again; the largest distance of a point, in pixels,
between both is printed. Only JSON and NumPy are used beside the tools.
"""

import argparse
import importlib.metadata
import json
import pathlib
import tempfile

import numpy as np


def points_of(content):
  """Gives {file name: [K, 2]} of a COCO file."""
  names = {image["id"]: image["file_name"] for image in content["images"]}
  return {
    names[each["image_id"]]: np.reshape(each["keypoints"], (-1, 3))[:, :2]
    for each in content["annotations"]
  }


def boxes_of(content):
  """Gives {file name: [2, 2]}, two corners of the box, of a COCO file."""
  names = {image["id"]: image["file_name"] for image in content["images"]}
  return {
    names[each["image_id"]]: np.reshape(each["bbox"], (2, 2)).cumsum(0)
    for each in content["annotations"]
  }


def with_pycocotools(path, images, folder):
  """Loads the objects of each image by its index."""
  from pycocotools.coco import COCO

  data = COCO(str(path))
  content = {
    "images": data.loadImgs(data.getImgIds()),
    "annotations": data.loadAnns(data.getAnnIds()),
  }
  return points_of(content), None


def with_supervision(path, images, folder):
  """Loads the boxes: it reads no keypoints of COCO files."""
  import supervision

  data = supervision.DetectionDataset.from_coco(str(images), str(path))
  found = {
    pathlib.Path(name).relative_to(images).as_posix(): boxes.xyxy.reshape(2, 2)
    for name, boxes in data.annotations.items()
  }
  return found, None


def with_sleap_io(path, images, folder):
  """Loads labels and saves them as COCO."""
  import sleap_io

  labels = sleap_io.load_coco(str(path), dataset_root=str(images))
  found = {}
  for frame in labels:
    (instance,) = frame.instances
    name = frame.video.filename
    name = name[frame.frame_idx] if isinstance(name, list) else name
    found[pathlib.Path(name).relative_to(images).as_posix()] = instance.numpy()
  written = folder / "sleap.json"
  sleap_io.save_coco(labels, str(written))
  return found, written


def with_datumaro(path, images, folder):
  """Imports a data set and exports it."""
  import datumaro

  root = folder / "coco"
  (root / "annotations").mkdir(parents=True)
  (root / "images").mkdir()
  (root / "images" / "default").symlink_to(images.resolve())
  target = root / "annotations" / "person_keypoints_default.json"
  target.write_text(path.read_text())
  data = datumaro.Dataset.import_from(str(root), "coco_person_keypoints")
  found = {}
  for item in data:
    (points,) = (
      a for a in item.annotations if a.type == datumaro.AnnotationType.points
    )
    name = pathlib.Path(item.media.path).name
    found[name] = np.reshape(points.points, (-1, 2))
  data.export(str(folder / "out"), "coco_person_keypoints", save_media=False)
  (written,) = (folder / "out" / "annotations").glob("*.json")
  return found, written


def with_label_studio(path, images, folder):
  """Converts to tasks of Label Studio, whose points are in % of the sides."""
  from label_studio_sdk.converter.imports import coco

  coco.convert_coco_to_ls(str(path), str(folder / "tasks.json"))
  found = {}
  for task in json.loads((folder / "tasks.json").read_text()):
    (made,) = task["annotations"]
    found[task["data"]["image"].rpartition("=")[2]] = np.array(
      [
        (
          each["value"]["x"] * each["original_width"] / 100,
          each["value"]["y"] * each["original_height"] / 100,
        )
        for each in made["result"]
        if each["type"] == "keypointlabels"
      ]
    )
  return found, None


READERS = {
  "pycocotools": with_pycocotools,
  "supervision": with_supervision,
  "sleap-io": with_sleap_io,
  "datumaro": with_datumaro,
  "label-studio-sdk": with_label_studio,
}


def moved(found, want):
  """Gives the largest distance of a point in pixels; all images are there."""
  base = lambda points: {pathlib.Path(k).name: v for k, v in points.items()}  # noqa: E731
  found, want = base(found), base(want)
  assert found.keys() == want.keys(), (sorted(found)[:3], sorted(want)[:3])
  return float(
    max(np.linalg.norm(found[k] - want[k], axis=-1).max() for k in want)
  )


def main():
  """Prints the result of each tool and writes them to --out."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--coco", required=True, type=pathlib.Path)
  parser.add_argument("--images", required=True, type=pathlib.Path)
  parser.add_argument("--out", required=True, type=pathlib.Path)
  arguments = parser.parse_args()
  content = json.loads(arguments.coco.read_text())
  result = {"images": len(content["images"]), "readers": {}}
  for name, read in READERS.items():
    # Of supervision the corners of boxes, of the others the points.
    want = (boxes_of if name == "supervision" else points_of)(content)
    with tempfile.TemporaryDirectory() as folder:
      folder = pathlib.Path(folder)
      found, written = read(arguments.coco, arguments.images, folder)
      line = {
        "version": importlib.metadata.version(name),
        "moved_reading": moved(found, want),
      }
      if written is not None:
        again = points_of(json.loads(written.read_text()))
        line["moved_written_again"] = moved(again, want)
    result["readers"][name] = line
  text = json.dumps(result, indent=1)
  print(text)
  arguments.out.write_text(text + "\n")


if __name__ == "__main__":
  main()
