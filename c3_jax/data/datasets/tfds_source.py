"""Datasets that tensorflow-datasets has prepared, read example by example.

MAFL, AFLW and PF-PASCAL come from our builders, LSUN and CelebA's training
pictures from TFDS's own `lsun` and `celeb_a`. The files are array_record,
which gives any example at once: prepare with file_format="array_record".
"""

import numpy as np
import tensorflow_datasets as tfds

from c3_jax.data import streaming
from c3_jax.data.datasets import pf_pascal, tfds_builders
from c3_jax.data.scan import scan
from c3_jax.errors import UserError


def _open(builder, split, *images):
  """The examples of a split; `images` stay encoded."""
  skip = {name: tfds.decode.SkipDecoding() for name in images or ["image"]}
  try:
    return builder.as_data_source(split, decoders=skip)
  except Exception as error:  # TFDS raises what it likes, often in paragraphs.
    raise UserError(
      f"{builder.data_path} has no split {split} in array_record; prepare it "
      "there with file_format='array_record' (see docs/data.md)."
    ) from error


def load_tfds(data, split, *, image_size, load_size, crop, cache):
  """Loads one split, as the loader of the original files does.

  Args:
    data: `config.data`; its tfds_dir is what TFDS calls data_dir.
    split: "train", "fit" or "test".
    image_size: side of the model frame in pixels.
    load_size: side of a loaded picture in pixels.
    crop: rule of `arrays.crop_box`.
    cache: keep the decoded pictures in memory.

  Returns:
    ArrayDataset, StreamingDataset or PairDataset; None for LSUN's fit and test.

  Raises:
    UserError: if nothing is prepared there.
  """
  if data.name == "pf_pascal":
    return _load_pairs(data.tfds_dir, split, load_size)
  options = {"load_size": load_size, "crop": crop}
  if data.name == "lsun" or (data.name == "celeba" and split == "train"):
    if split != "train":
      return None
    source, chosen = (_lsun if data.name == "lsun" else _celeba)(data)
    names = [f"{data.name} {i}" for i in chosen]
    points = sizes = None
  else:
    builder = tfds_builders.builder(data.name, data.tfds_dir, data.release)
    source = _open(builder, "test" if split == "test" else "train")
    chosen = range(len(source))
    names, points_of, sizes_of = zip(
      *((row["name"].decode(), row["points"], row["size"]) for row in source)
    )
    points = sizes = None
    if split != "train":
      points, sizes = (np.stack(part) for part in (points_of, sizes_of))

  def read(i):
    return source[chosen[i]]["image"]

  if points is None and not cache:
    return streaming.StreamingDataset(
      names, reader=read, image_size=image_size, **options
    )
  return scan(
    names,
    image_size=image_size,
    pixels=points,
    pixels_size=sizes,
    cache=cache,
    reader=read,
    **options,
  )


def _lsun(data):
  """(source, its indices to use) of a category of LSUN."""
  name = f"lsun/{data.category}"
  builder = tfds.builder(
    name, data_dir=data.tfds_dir, file_format="array_record"
  )
  source = _open(builder, "train")
  return source, range(min(data.limit or len(source), len(source)))


def _celeba(data):
  """(source, its indices to use) of CelebA's training pictures.

  TFDS keeps no file names: MAFL's pictures, which are to be left out, are told
  by their ten coordinates.
  """
  if data.exclude not in ("mafl_test", "mafl"):
    raise UserError(
      f"config.data.exclude={data.exclude} needs the original files: set "
      "config.data.root instead of config.data.tfds_dir, or use mafl_test."
    )
  mafl = tfds_builders.builder("mafl", data.tfds_dir)
  splits = ["test", "train"] if data.exclude == "mafl" else ["test"]
  held_out = {
    tuple(row["points"].astype(int).flat)
    for split in splits
    for row in _open(mafl, split)
  }
  builder = tfds.builder(
    "celeb_a", data_dir=data.tfds_dir, file_format="array_record"
  )
  source = _open(builder, "train")
  order = [
    f"{point}_{axis}"
    for point in ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    for axis in "xy"
  ]
  chosen = [
    i
    for i, row in enumerate(source)
    if tuple(int(row["landmarks"][name]) for name in order) not in held_out
  ]
  return source, chosen


def _load_pairs(folder, split, size):
  """`pf_pascal.load_pf_pascal` of a prepared dataset."""
  builder = tfds_builders.builder("pf_pascal", folder)
  sides = ("source", "target")
  encoded = {}

  def rows(split):
    for row in _open(builder, split, "image_source", "image_target"):
      names = [row[f"name_{side}"].decode() for side in sides]
      encoded.update(zip(names, (row[f"image_{side}"] for side in sides)))
      points = tuple(row[f"points_{side}"] for side in sides)
      yield pf_pascal.Pair(
        *names, int(row["category"]), bool(row["flip"]), points
      )

  seen = []
  if split == "test":
    seen = [*rows("train"), *rows("val")]
    encoded.clear()
  listed = list(rows(pf_pascal.SPLITS[split]))
  names = sorted(encoded)
  return pf_pascal.make_dataset(
    listed,
    names,
    size,
    paths=names,
    reader=lambda i: encoded[names[i]],
    seen=seen,
    where=folder,
  )
