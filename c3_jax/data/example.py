"""Writes a small folder of synthetic faces in the layout of `folder.py`."""

import csv
import pathlib

from PIL import Image

from c3_jax import landmarks
from c3_jax.data import synthetic

SIDE = 64


def write_folder(root, *, train, test, seed=0):
  """Writes images/*.jpg and landmarks.csv.

  Args:
    root: an existing, empty folder.
    train, test: how many annotated faces of each split.
    seed: of the faces.
  """
  images = pathlib.Path(root) / "images"
  images.mkdir()
  columns = [f"{axis}{i}" for i in range(1, 6) for axis in "xy"]
  rows = [["file", "split", *columns]]
  for split, n in (("train", train), ("test", test)):
    faces = synthetic.dataset(
      seed, split=split, n=n, image_size=SIDE, load_size=SIDE, batch=n
    )
    pixels = landmarks.coords_to_pixels(faces["points"], SIDE)
    for i in range(n):
      name = f"{split}_{i:03}.jpg"
      Image.fromarray(faces["images"][i]).save(images / name, quality=95)
      rows.append([name, split, *(f"{value:.2f}" for value in pixels[i].flat)])
  with open(pathlib.Path(root) / "landmarks.csv", "w", newline="") as file:
    csv.writer(file).writerows(rows)
