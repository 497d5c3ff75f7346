"""Datasets that tensorflow-datasets has prepared, read example by example.

MAFL, AFLW and PF-PASCAL come from our builders, LSUN and CelebA's training
images from TFDS's own `lsun` and `celeb_a`. The files are array_record,
which gives any example at once: prepare with file_format="array_record".
"""

import threading

import tensorflow_datasets as tfds

from c3_jax.data import tf_data  # noqa: F401  Hides the GPUs from TensorFlow.
from c3_jax.data.datasets import pf_pascal, tfds_builders
from c3_jax.data.scan import scan
from c3_jax.errors import UserError


def _open(builder, split, *images):
  """Opens the examples of a split; `images` stay encoded."""
  skip = {name: tfds.decode.SkipDecoding() for name in images or ["image"]}
  try:
    return builder.as_data_source(split, decoders=skip)
  except Exception as error:  # TFDS raises what it likes, often in paragraphs.
    raise UserError(
      f"{builder.data_path} has no split {split} in array_record; prepare it "
      "there with file_format='array_record' (see docs/data.md)."
    ) from error


def load_tfds(data, frame, *, split, cache):
  """Loads one split of `config.data`, as the loader of its original files does.

  Its tfds_dir is what TFDS calls data_dir.

  Raises:
    UserError: if nothing is prepared there.
  """
  if data.name == "pf_pascal":
    return _load_pairs(data.tfds_dir, frame, split)
  if data.name == "lsun" or (data.name == "celeba" and split == "train"):
    if split != "train":
      return None
    source, chosen = (_lsun if data.name == "lsun" else _celeba)(data)
    names = [f"{data.name} {i}" for i in chosen]
    points = sizes = None
  else:
    builder = tfds_builders.builder(data.name, data.tfds_dir, data.release)
    source = _open(builder, "test" if split == "test" else "train")
    rows = [
      (row["name"].decode(), row["points"], row["size"]) for row in source
    ]
    chosen = range(len(rows))
    if data.name != "aflw" and split == "fit":
      # As in `celeba.load_celeba`.
      chosen = sorted(chosen, key=lambda i: rows[i][0])
    names, points, sizes = zip(*(rows[i] for i in chosen))
    if split == "train":
      points = sizes = None

  # TFDS does not say that its sources are thread-safe.
  reading = threading.Lock()

  def read(i):
    with reading:
      return source[chosen[i]]["image"]

  return scan(
    names,
    frame,
    pixels=points,
    pixels_size=sizes,
    cache=cache,
    late=points is None,
    reader=read,
    tf_data=True,
  )


def _lsun(data):
  """Opens a category of LSUN: (source, its indices to use)."""
  name = f"lsun/{data.category}"
  builder = tfds.builder(
    name, data_dir=data.tfds_dir, file_format="array_record"
  )
  source = _open(builder, "train")
  return source, range(min(data.limit or len(source), len(source)))


def _celeba(data):
  """Opens CelebA's training images: (source, its indices to use).

  TFDS keeps no file names: MAFL images to leave out are recognised by their
  ten coordinates.
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


def _load_pairs(folder, frame, split):
  """Loads a split of a prepared dataset as `pf_pascal.load_pf_pascal` does."""
  builder = tfds_builders.builder("pf_pascal", folder)
  sides = pf_pascal.SIDES
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
    frame,
    paths=names,
    reader=lambda i: encoded[names[i]],
    seen=seen,
    where=folder,
  )
