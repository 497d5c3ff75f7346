"""Loads the dataset that `config.data` names."""

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from c3_jax import geometry
from c3_jax.data import fake, in_memory, synthetic
from c3_jax.data.datasets import aflw, celeba, folder, lsun, packed, pf_pascal
from c3_jax.data.protocols import Dataset
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


def load_splits(config) -> Splits:
  """Loads the dataset that `config.data` names.

  Args:
    config: `config.data` is used.

  Returns:
    `Splits`.

  Raises:
    UserError: unknown name, or the data is missing or wrong.
  """
  with _root(config.data) as root:
    return Splits(**{split: _load(config, root, split) for split in SPLITS})


def load_split(config, split) -> Dataset | None:
  """Loads "train", "fit" or "test" alone, as `load_splits` does."""
  with _root(config.data) as root:
    return _load(config, root, split)


def _synthetic(data, root, frame, *, split, cache):
  n = {"train": data.n_train, "fit": data.n_fit, "test": data.n_test}[split]
  size = {"image_size": frame.image_size, "load_size": frame.load_size}
  return in_memory.ArrayDataset(
    synthetic.Faces(data.seed, split=split, n=n, **size),
    synthetic.points(data.seed, split=split, n=n),
    image_size=frame.image_size,
  )


def _folder(data, root, frame, *, split, cache):
  return folder.load_folder(
    root,
    frame,
    split=split,
    landmarks=data.landmarks,
    extra_root=data.extra_root or None,
    cache=cache,
  )


def _packed(data, root, frame, *, split, cache):
  path = data.packed[split]
  if path:
    return packed.load_packed(path, frame)
  if split == "train":
    raise UserError(
      "config.data.packed.train is empty: give a file of c3_jax.pack with "
      "--config.data.packed.train=FILE."
    )
  return None


def _celeba(data, root, frame, *, split, cache):
  return celeba.load_celeba(
    root,
    frame,
    split=split,
    exclude=data.exclude,
    cache=cache,
    train=data.name,
  )


def _aflw(data, root, frame, *, split, cache):
  return aflw.load_aflw(
    root, frame, split=split, release=data.release, cache=cache
  )


def _pf_pascal(data, root, frame, *, split, cache):
  return pf_pascal.load_pf_pascal(root, frame, split=split)


def _lsun(data, root, frame, *, split, cache):
  if split != "train":
    return None
  return lsun.load_lsun(
    root, frame, category=data.category, cache=cache, limit=data.limit
  )


class _Source(NamedTuple):
  """How a dataset is loaded.

  Attributes:
    load: function of (config.data, root, frame, split=, cache=).
    example: writes example files into a folder; None: needs no folder.
    tfds: whether `tfds_source` reads it, too.
  """

  load: Callable
  example: Callable | None = None
  tfds: bool = False


_SOURCES = {
  "synthetic": _Source(_synthetic),
  "folder": _Source(_folder, fake.write_folder),
  "packed": _Source(_packed),
  "celeba": _Source(_celeba, fake.write_celeba, True),
  "mafl": _Source(_celeba, fake.write_celeba, True),
  "aflw": _Source(_aflw, fake.write_aflw, True),
  "pf_pascal": _Source(_pf_pascal, fake.write_pf_pascal, True),
  "lsun": _Source(_lsun, fake.write_lsun, True),
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
  frame = geometry.Frame.of(config)
  # Example files are gone before anything is streamed.
  cache = data.cache or not (data.root or data.tfds_dir)
  if data.tfds_dir and source.tfds:
    # Not at the top: it imports TensorFlow.
    from c3_jax.data.datasets import tfds_source

    return tfds_source.load_tfds(data, frame, split=split, cache=cache)
  return source.load(data, root, frame, split=split, cache=cache)
