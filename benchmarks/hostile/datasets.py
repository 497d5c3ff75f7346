"""Sound files of datasets, and what reads them."""

import json

import numpy as np
from PIL import Image

from benchmarks.hostile.mutate import (
  mutate_arrays,
  mutate_bytes,
  mutate_encoding,
  mutate_json,
  mutate_text,
)


class Case:
  """Sound files of a kind in a folder, and how they are changed and read.

  Attributes:
    paths: of the files; one of them is changed at a time.
    mutate: function (bytes, rng) -> bytes.
    read: function (folder, path) -> arrays to look at.
  """

  def __init__(self, paths, mutate, read):
    self.paths, self.mutate, self.read = paths, mutate, read


def images(root):
  """Image files of all formats and many modes."""
  from c3_jax import geometry
  from c3_jax.data import image_files

  colours = np.random.default_rng(0).integers(0, 256, (24, 31, 3), np.uint8)
  image = Image.fromarray(colours)
  grey = Image.fromarray(colours[..., 0].astype(np.uint16) * 16)
  for suffix in ("jpg", "png", "webp", "bmp", "gif", "tif"):
    image.save(root / f"rgb.{suffix}")
  for mode in ("1", "L", "P", "LA", "RGBA"):
    image.convert(mode).save(root / f"{mode}.png")
  image.convert("CMYK").save(root / "cmyk.jpg")
  image.convert("F").save(root / "float.tif")
  grey.save(root / "12.png")
  grey.save(root / "12.tif", compression="tiff_lzw")
  frame = geometry.Frame(16, 16)

  def read(_, path):
    return [image_files.load(path, frame)[0], image_files.size_of(path)]

  return Case(sorted(root.iterdir()), mutate_bytes, read)


def csv_files(root):
  """Tables of landmarks of a folder of images."""
  from c3_jax.data import fake
  from c3_jax.data.datasets import folder

  fake.write_folder(root, train=6, test=2)

  def read(_, path):
    rows = folder.read_landmarks(path)
    return [row.pixels for row in rows if row.pixels is not None]

  return Case([root / "landmarks.csv"], mutate_text, read)


def encoded_files(root):
  """The same tables, in other encodings, and one with frames of clips."""
  case = csv_files(root)
  header, *lines = case.paths[0].read_text().splitlines()
  rows = [f"{line},{i}" for i, line in enumerate(lines)]
  clips = root / "clips.csv"
  clips.write_text("\n".join([f"{header},frame", *rows]) + "\n")
  return Case([*case.paths, clips], mutate_encoding, case.read)


def coco_files(root):
  """COCO keypoints of a folder of images, with all that such files have."""
  from c3_jax import geometry
  from c3_jax.data import fake
  from c3_jax.data.datasets import folder

  fake.write_folder(root, train=4, test=2)
  rows = folder.read_landmarks(root / "landmarks.csv")
  content = {
    "info": {"description": "faces"},
    "licenses": [],
    "images": [],
    "annotations": [],
    "categories": [
      {"id": 1, "name": "face", "keypoints": list("abcde"), "skeleton": []},
      {"id": 2, "name": "hand"},
    ],
  }
  for i, row in enumerate(row for row in rows if row.pixels is not None):
    image = {"id": i, "file_name": row.file, "split": row.split}
    if i % 2:
      with Image.open(root / "images" / row.file) as file:
        image |= {"width": file.width, "height": file.height}
    content["images"].append(image)
    points = np.c_[row.pixels, np.full(len(row.pixels), 2)]
    content["annotations"].append(
      {
        "id": i,
        "image_id": i,
        "category_id": 1,
        "keypoints": points.ravel().tolist(),
        "num_keypoints": len(points),
        "bbox": [1, 2, 30, 40],
        "iscrowd": 0,
      }
    )
  path = root / "points.json"
  path.write_text(json.dumps(content))

  def read(root, path):
    found = []
    for split in ("fit", "test"):
      frame = geometry.Frame(16, 16)
      data = folder.load_folder(root, frame, split=split, landmarks=path.name)
      if data is not None:
        found.append(data.points)
    return found

  return Case([path], mutate_json, read)


def clip_files(root):
  """Videos of several containers, and images of several pages."""
  import cv2

  from c3_jax import geometry
  from c3_jax.data import video

  rng = np.random.default_rng(0)
  frames = rng.integers(0, 256, (12, 9, 12, 3), np.uint8)
  frames = frames.repeat(4, 1).repeat(4, 2)
  for name, code in (("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "mp4v")):
    code = cv2.VideoWriter_fourcc(*code)
    writer = cv2.VideoWriter(
      str(root / name), cv2.CAP_FFMPEG, code, 10, (48, 36)
    )
    for frame in frames:
      writer.write(frame)
    writer.release()
  pages = [Image.fromarray(frame) for frame in frames[:4]]
  for name in ("a.gif", "a.tif"):
    pages[0].save(root / name, save_all=True, append_images=pages[1:])
  frame = geometry.Frame(16, 16)

  def read(_, path):
    path, found = str(path), []
    found += [np.array([video.rate(path), video.length(path)], float)]
    if not video.is_clip(path):
      return found
    for batch, frames in video.read_all([path], frame, 8):
      if batch.errors:
        raise batch.errors[0]
      seconds = [s for _, s in frames or () if s is not None]
      found += [batch.images, np.array(seconds)]
    return found

  return Case(sorted(root.iterdir()), mutate_bytes, read)


def mat_files(root):
  """The MATLAB files of AFLW."""
  from c3_jax.data import fake
  from c3_jax.data.datasets import aflw

  fake.write_aflw(root, train=4, test=2)

  def read(root, path):
    split = "train" if "train" in path.name else "test"
    return list(aflw.read_split(root, split=split, release="lmdis")[2:])

  return Case(sorted(root.rglob("*.mat")), mutate_bytes, read)


def lmdb_files(root):
  """The databases of LSUN."""
  from c3_jax.data import fake
  from c3_jax.data.datasets import lsun

  fake.write_lsun(root, train=6, lmdb=True)

  def read(_, path):
    database = lsun.Lmdb(path.parent)
    for i in range(len(database.keys)):
      database.read(i)
    return []

  return Case(sorted(root.rglob("data.mdb")), mutate_bytes, read)


def packed_files(root):
  """Packed images, with points."""
  from c3_jax import geometry
  from c3_jax.data import in_memory
  from c3_jax.data.datasets import load_packed

  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (4, 8, 8, 3), np.uint8)
  dataset = in_memory.ArrayDataset(pixels, rng.normal(size=(4, 5, 2)))
  dataset.save(root / "a.npz")

  def read(_, path):
    data = load_packed(path, geometry.Frame(8, 8))
    batch = next(data.eval_batches(4))
    return [*batch.values(), data.seen]

  return Case([root / "a.npz"], mutate_arrays, read)


def pair_files(root):
  """Packed pairs of images."""
  from c3_jax import geometry
  from c3_jax.data import fake
  from c3_jax.data.datasets import load_packed, load_pf_pascal

  frame = geometry.Frame(8, 8)
  fake.write_pf_pascal(root, train=4, test=4)
  load_pf_pascal(root, frame, split="test").save(root / "a.npz")

  def read(_, path):
    data = load_packed(path, frame)
    return list(next(data.eval_batches(2)).values())

  return Case([root / "a.npz"], mutate_arrays, read)


def list_files(root):
  """The lists of CelebA, MAFL, AFLW and PF-PASCAL."""
  from c3_jax.data import fake
  from c3_jax.data.datasets import aflw, celeba, pf_pascal

  for name in ("celeba", "aflw", "pf"):
    (root / name).mkdir()
  fake.write_celeba(root / "celeba", train=6, test=4)
  fake.write_aflw(root / "aflw", train=4, test=4)
  fake.write_pf_pascal(root / "pf", train=4, test=4)
  paths = [
    path
    for path in sorted(root.rglob("*"))
    if path.suffix in (".txt", ".csv") and path.stat().st_size
  ]

  def read(folder, path):
    if "celeba" in path.parts:
      _, partition = celeba.read_partition(folder / "celeba")
      for split in ("training", "testing"):
        celeba.read_mafl(folder / "celeba", split)
      celeba.read_identity(folder / "celeba")
      return [celeba.read_landmarks(folder / "celeba", list(partition))]
    if "pf" in path.parts:
      rows = [
        pf_pascal.read_split(folder / "pf", s)[1] for s in ("val", "test")
      ]
      return [points for part in rows for row in part for points in row.points]
    found = []
    for split in ("train", "test"):
      _, _, *rest = aflw.read_split(
        folder / "aflw", split=split, release="mtfl"
      )
      found += rest
    return found

  return Case(paths, mutate_text, read)
