"""From `config.data` to the three views of a dataset."""

import contextlib
import tempfile
from dataclasses import dataclass

from c3_jax.data import Dataset, fake, in_memory, synthetic
from c3_jax.data.datasets import aflw, celeba, folder, lsun, packed, pf_pascal
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
  """Reads the dataset that `config.data` names.

  Args:
    config: `config.data` is used.

  Returns:
    `Splits` of datasets with `batches` and `eval_batches`.

  Raises:
    UserError: unknown name, or the data is missing or wrong.
  """
  with _root(config.data) as root:
    return Splits(
      **{split: _load(config.data, root, split) for split in SPLITS}
    )


def load_split(config, split):
  """One of "train", "fit" and "test", as in `load_splits`."""
  with _root(config.data) as root:
    return _load(config.data, root, split)


@contextlib.contextmanager
def _root(data):
  """The folder of the dataset; of example files, until the end of the block."""
  write = {
    "folder": fake.write_folder,
    "celeba": fake.write_celeba,
    "mafl": fake.write_celeba,
    "aflw": fake.write_aflw,
    "pf_pascal": fake.write_pf_pascal,
    "lsun": fake.write_lsun,
  }
  if data.root or data.tfds_dir or data.name not in write:
    yield data.root
  elif data.example:
    with tempfile.TemporaryDirectory() as root:
      write[data.name](root, train=data.example, test=data.example // 2)
      yield root
  else:
    raise UserError(
      "config.data.root is empty: give the folder of your pictures with "
      "--config.data.root=DIR."
    )


def _load(data, root, split):
  """One split of the dataset in `root`."""
  size = {"image_size": data.image_size, "load_size": data.load_size}
  # Example files are gone before anything is streamed.
  kept = data.root or data.tfds_dir
  files = {"cache": data.cache or not kept, "crop": data.crop}
  if data.name == "pf_pascal" and data.image_size != data.load_size:
    raise UserError(
      f"config.data.load_size={data.load_size} differs from "
      f"config.data.image_size={data.image_size}: pairs of pictures are seen "
      "whole, set both to the same."
    )
  if data.tfds_dir and data.name in (
    "celeba",
    "mafl",
    "aflw",
    "pf_pascal",
    "lsun",
  ):
    # Not at the top: it imports TensorFlow.
    from c3_jax.data.datasets import tfds_source

    return tfds_source.load_tfds(data, split, **size, **files)
  match data.name:
    case "synthetic":
      n = {"train": data.n_train, "fit": data.n_fit, "test": data.n_test}[split]
      return in_memory.ArrayDataset(
        synthetic.Faces(data.seed, split=split, n=n, **size),
        synthetic.points(data.seed, split=split, n=n),
        image_size=data.image_size,
      )
    case "packed":
      return _load_packed(data, split, size)
    case "folder":
      return folder.load_folder(
        root,
        split=split,
        landmarks=data.landmarks,
        extra_root=data.extra_root or None,
        **size,
        **files,
      )
    case "celeba" | "mafl":
      return celeba.load_celeba(
        root,
        split=split,
        exclude=data.exclude,
        train=data.name,
        **size,
        **files,
      )
    case "aflw":
      return aflw.load_aflw(
        root, split=split, release=data.release, **size, **files
      )
    case "lsun":
      if split != "train":
        return None
      return lsun.load_lsun(
        root, category=data.category, limit=data.limit, **size, **files
      )
    case "pf_pascal":
      return pf_pascal.load_pf_pascal(root, split=split, size=data.load_size)
  raise UserError(
    f"config.data.name is {data.name!r}: use synthetic, folder, packed, "
    "celeba, mafl, aflw, pf_pascal or lsun."
  )


def _load_packed(data, split, size):
  path = data.packed[split]
  if path:
    return packed.load_packed(path, **size)
  if split == "train":
    raise UserError(
      "config.data.packed.train is empty: give a file of c3_jax.pack with "
      "--config.data.packed.train=FILE."
    )
  return None
