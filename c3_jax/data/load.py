"""Loads the dataset that `config.data` names."""

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ml_collections import ConfigDict

from c3_jax.data import fake, in_memory, published, synthetic
from c3_jax.data.contract import Dataset
from c3_jax.data.datasets import (
  load_aflw,
  load_celeba,
  load_folder,
  load_lsun,
  load_packed,
  load_pf_pascal,
)
from c3_jax.errors import UserError

SPLITS = ("train", "fit", "test")


@dataclass(frozen=True)
class Splits:
  """The three views of a dataset.

  Attributes:
    train: all images to learn from, without points.
    fit: annotated training images for the regression, or None. Of PF-PASCAL
      the validation pairs, which select checkpoints.
    test: annotated test images, or None.
  """

  train: Dataset
  fit: Dataset | None
  test: Dataset | None


def load_splits(config: ConfigDict) -> Splits:
  """Loads the splits of the dataset that `config.data` names.

  Raises:
    UserError: unknown name, or the data is missing or wrong.
  """
  with _root(config.data) as root:
    return Splits(**{split: _load(config, root, split) for split in SPLITS})


def load_split(config: ConfigDict, split: str) -> Dataset | None:
  """Loads "train", "fit" or "test" alone, as `load_splits` does."""
  with _root(config.data) as root:
    return _load(config, root, split)


def _synthetic(root, frame, *, split, seed, **counts):
  n = counts[f"n_{split}"]
  size = {"image_size": frame.image_size, "load_size": frame.load_size}
  return in_memory.ArrayDataset(
    synthetic.Faces(seed, split=split, n=n, **size),
    synthetic.posed(seed, split=split, n=n)[1],
    image_size=frame.image_size,
  )


def _packed(root, frame, *, split, packed):
  if packed[split]:
    return load_packed(packed[split], frame)
  if split == "train":
    raise UserError(
      "config.data.packed.train is empty: give a file of c3_jax.pack with "
      "--config.data.packed.train=FILE."
    )
  return None


class _Source(NamedTuple):
  """How a dataset is loaded.

  Attributes:
    load: function of (root, frame, split=, **options).
    options: the keys of `config.data` that it takes.
    example: writes example files into a folder; None: needs no folder.
    tfds: whether `tfds_source` reads it, too.
  """

  load: Callable
  options: tuple = ()
  example: Callable | None = None
  tfds: bool = False


_CELEBA = _Source(
  load_celeba, ("name", "exclude", "cache"), fake.write_celeba, tfds=True
)
_SOURCES = {
  "synthetic": _Source(_synthetic, ("seed", "n_train", "n_fit", "n_test")),
  "folder": _Source(
    load_folder,
    ("landmarks", "extra_root", "every", "cache"),
    fake.write_folder,
  ),
  "packed": _Source(_packed, ("packed",)),
  "celeba": _CELEBA,
  "mafl": _CELEBA,
  "aflw": _Source(load_aflw, ("release", "cache"), fake.write_aflw, tfds=True),
  "pf_pascal": _Source(load_pf_pascal, (), fake.write_pf_pascal, tfds=True),
  "lsun": _Source(
    load_lsun, ("category", "limit", "cache"), fake.write_lsun, tfds=True
  ),
}


@contextlib.contextmanager
def _root(data):
  """Gives the folder of the dataset, or one of example files for the block."""
  if data.name not in _SOURCES:
    *names, last = _SOURCES
    raise UserError(
      f"config.data.name is {data.name!r}: use {', '.join(names)} or {last}."
    )
  write = _SOURCES[data.name].example
  if data.root or data.tfds_dir or write is None:
    yield data.root
  elif data.example:
    with tempfile.TemporaryDirectory() as root:
      write(root, train=data.example, test=data.example // 2)
      yield root
  else:
    raise UserError(
      "config.data.root is empty: give the folder of your images with "
      "--config.data.root=DIR."
    )


def _load(config, root, split):
  """Loads one split of the dataset in `root`."""
  data, source = config.data, _SOURCES[config.data.name]
  if data.name == "pf_pascal" and data.image_size != data.load_size:
    raise UserError(
      f"config.data.load_size={data.load_size} differs from "
      f"config.data.image_size={data.image_size}: pairs of images are seen "
      "whole, set both to the same."
    )
  frame = published.frame_of(config)
  # Example files are gone before anything is streamed.
  cache = data.cache or not (data.root or data.tfds_dir)
  if data.tfds_dir and source.tfds:
    # Not at the top: it imports TensorFlow.
    from c3_jax.data.datasets import tfds_source

    dataset = tfds_source.load_tfds(data, frame, split=split, cache=cache)
  else:
    options = {name: data[name] for name in source.options}
    if "cache" in options:
      options["cache"] = cache
    dataset = source.load(root, frame, split=split, **options)
  if dataset is not None and data.name != "packed":
    dataset.protocol = published.protocol(data, frame)
  return dataset
