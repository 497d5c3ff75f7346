"""Writes small datasets of synthetic faces, each in the layout of the real one.

Every writer takes an existing, empty folder, the number of training and of
test images (or pairs), and the seed of the faces.
"""

import csv
import io
import pathlib

import numpy as np
from PIL import Image

from c3_jax import geometry
from c3_jax.data import synthetic
from c3_jax.data.datasets import celeba, lsun

SIDE = 64
_COLUMNS = [f"{axis}{i}" for i in range(1, 6) for axis in "xy"]


def write_folder(root, *, train, test, seed=0):
  """Writes the layout of `folder.py`: images/*.jpg and landmarks.csv."""
  images = pathlib.Path(root) / "images"
  images.mkdir()
  rows = [["file", "split", *_COLUMNS]]
  for split, n in (("train", train), ("test", test)):
    for i, (image, pixels) in enumerate(draw_faces(split, n, seed)):
      name = f"{split}_{i:03}.jpg"
      image.save(images / name, quality=95)
      rows.append([name, split, *(f"{value:.2f}" for value in pixels.flat)])
  _write_csv(pathlib.Path(root) / "landmarks.csv", rows)


def write_celeba(root, *, train, test, seed=0):
  """Writes the layout of `celeba.py`.

  The first half of the training images are MAFL's; of MAFL's test images
  every third lies in CelebA's training partition.
  """
  root = pathlib.Path(root)
  images = root / "img_align_celeba"
  for folder in (images, root / "MAFL"):
    folder.mkdir()
  faces = [
    *draw_faces("train", train, seed, celeba.SIZE),
    *draw_faces("test", test, seed, celeba.SIZE),
  ]
  parts = [0] * train + [i % 3 for i in range(test)]
  names = [f"{i:06}.jpg" for i in range(1, len(faces) + 1)]
  points = [
    str(len(names)),
    "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x "
    "leftmouth_y rightmouth_x rightmouth_y",
  ]
  for name, (image, pixels) in zip(names, faces, strict=True):
    image.save(images / name, quality=95)
    cells = " ".join(f"{round(value):4}" for value in pixels.flat)
    points.append(f"{name} {cells}")
  partition = [f"{name} {part}" for name, part in zip(names, parts)]
  identity = [f"{name} {i // 2 + 1}" for i, name in enumerate(names)]
  for name, lines in {
    "list_landmarks_align_celeba.txt": points,
    "list_eval_partition.txt": partition,
    "identity_CelebA.txt": identity,
    "MAFL/training.txt": names[: train // 2],
    "MAFL/testing.txt": names[train:],
  }.items():
    _write_lines(root / name, lines)


def write_aflw(root, *, train, test, seed=0):
  """Writes both layouts of `aflw.py`."""
  from scipy import io as matlab  # Takes time to import.

  root = pathlib.Path(root)
  for folder in ("output", "aflw_cropped", "MTFL/AFLW"):
    (root / folder).mkdir(parents=True)
  rows = [["image_file", "crop_file", "set", "face_id", *_COLUMNS]]
  testing = []
  for split, n in (("train", train), ("test", test)):
    names, points = [], []
    for i, (image, pixels) in enumerate(draw_faces(split, n, seed, (110, 120))):
      names.append(f"{split}_{i:05}.jpg")
      points.append(pixels)
      image.save(root / "output" / names[-1], quality=95)
    _write_lines(root / f"aflw_{split}_images.txt", names)
    matlab.savemat(
      root / f"aflw_{split}_keypoints.mat",
      {"gt": np.array(points)[..., ::-1], "hw": np.full((n, 2), (120, 110))},
    )
    for i, (image, pixels) in enumerate(draw_faces(split, n, seed, (150, 150))):
      crop = f"crop_{split}_{i:05}.jpg"
      cells = [f"{value + 1:.3f}" for value in pixels.flat]
      kind = 1 if split == "train" else 2
      rows.append([f"image{i:05}.jpg", crop, kind, i, *cells])
      if split == "train":
        image.save(root / "aflw_cropped" / crop, quality=95)
      else:
        image.save(root / "MTFL" / "AFLW" / crop, quality=95)
        cells = " ".join(cells[::2] + cells[1::2])
        testing.append(f" AFLW\\{crop} {cells} 1 2 2 3")
  _write_lines(root / "MTFL" / "testing.txt", testing)
  _write_csv(root / "aflw_cropped" / "facedata_cropped.csv", rows)


def write_pf_pascal(root, *, train, test, seed=0):
  """Writes the layout of `pf_pascal.py`, for numbers of pairs; val as test."""
  root = pathlib.Path(root)
  images = root / "PF-dataset-PASCAL" / "JPEGImages"
  for folder in (images, root / "image_pairs"):
    folder.mkdir(parents=True)
  prefix = "PF-dataset-PASCAL/JPEGImages/"
  header = ["source_image", "target_image", "class"]
  counts = {"train": train, "val": test, "test": test}
  for number, (split, n) in enumerate(counts.items()):
    annotated = split != "train"
    rows = [[*header, *(["XA", "YA", "XB", "YB"] if annotated else ["flip"])]]
    sides = [
      draw_faces(split, n, (seed, number, i), size)
      for i, size in enumerate([(120, 90), (100, 125)])
    ]
    for i, ends in enumerate(zip(*sides)):
      row = []
      for (image, _), side in zip(ends, "ab"):
        name = f"200{number}_{i:05}{side}.jpg"
        image.save(images / name, quality=95)
        row.append(prefix + name)
      row.append(i % 20 + 1)
      if annotated:
        row += [
          ";".join(f"{value + 1:.4f}" for value in pixels[:, axis])
          for _, pixels in ends
          for axis in (0, 1)
        ]
      else:
        row.append(i % 2)
      rows.append(row)
    _write_csv(root / "image_pairs" / f"{split}_pairs.csv", rows)


def write_lsun(root, *, train, test=0, seed=0, lmdb=False):
  """Writes the layout of `lsun.py`, for both categories.

  Args:
    root, train, seed: as above.
    test: nothing is annotated, and nothing is written for it.
    lmdb: write LMDBs, which needs the package of that name; else the folders
      that the official tool exports.
  """
  for category, name in (("car", "car"), ("bedroom", "bedroom_train")):
    folder = pathlib.Path(root) / (f"{name}_lmdb" if lmdb else name)
    encoded, stream = {}, seed + list(lsun.CATEGORIES).index(category)
    faces = draw_faces("train", train, stream, (96, 72))
    for i, (image, _) in enumerate(faces):
      data = io.BytesIO()
      image.save(data, "webp", quality=90)
      encoded[f"{i:06x}{seed:034x}"] = data.getvalue()
    if lmdb:
      _write_lmdb(folder, encoded)
      continue
    for key, data in encoded.items():
      nested = folder.joinpath(*key[:6])
      nested.mkdir(parents=True)
      (nested / f"{key}.webp").write_bytes(data)


def _write_lmdb(folder, encoded):
  import lmdb

  folder.mkdir(parents=True)
  with lmdb.open(str(folder), map_size=2**24 + 2**20 * len(encoded)) as env:
    with env.begin(write=True) as transaction:
      for key, data in encoded.items():
        transaction.put(key.encode(), data)


def draw_faces(split, n, seed, size=(SIDE, SIDE)):
  """Draws n faces: a generator of (PIL image of `size`, points [5, 2] in it).

  The points are pixels, 0 = centre of the first one.
  """
  if not n:
    return
  if isinstance(seed, tuple):
    seed = int(np.random.default_rng(seed).integers(2**31))
  faces = synthetic.dataset(
    seed,
    split="test" if split == "test" else "train",
    n=n,
    image_size=SIDE,
    load_size=SIDE,
    batch=32,
  )
  for pixels, points in zip(faces["images"], faces["points"], strict=True):
    image = Image.fromarray(pixels)
    if size != image.size:
      image = image.resize(size, Image.BICUBIC)
    yield image, geometry.coords_to_pixels(points, np.array(size))


def _write_csv(path, rows):
  with open(path, "w", newline="") as file:
    csv.writer(file).writerows(rows)


def _write_lines(path, lines):
  path.write_text("".join(f"{line}\n" for line in lines))
