"""TFDS builders of MAFL, AFLW and PF-PASCAL: TFDS has none.

They read the original layouts through the readers beside this file, keep the
encoded files and their names, and write array_record, which gives any example
at once and is read without TensorFlow.
"""

import numpy as np
import tensorflow_datasets as tfds

from c3_jax.data.datasets import aflw, celeba, lists, pf_pascal
from c3_jax.errors import UserError


class _Builder(tfds.core.GeneratorBasedBuilder):
  """Reads files that the user has downloaded: the base of the three."""

  VERSION = tfds.core.Version("1.0.0")
  MANUAL_DOWNLOAD_INSTRUCTIONS = "Put the original files there: docs/data.md."
  SPLITS = ("train", "test")

  def _info(self):
    features = tfds.features.FeaturesDict(self._features())
    return self.dataset_info_from_configs(features=features)

  def _split_generators(self, dl_manager):
    root = dl_manager.manual_dir
    return {
      split: self._generate_examples(root, split) for split in self.SPLITS
    }


class _Faces(_Builder):
  """Images with five points.

  Features: image; name; points, (x, y) in pixels with 0 at the centre of the
  first one, of an image of size (width, height).
  """

  def _features(self):
    return {
      "image": tfds.features.Image(),
      "name": tfds.features.Text(),
      "points": tfds.features.Tensor(shape=(5, 2), dtype=np.float64),
      "size": tfds.features.Tensor(shape=(2,), dtype=np.int64),
    }

  def _generate_examples(self, root, split):
    images, names, pixels, sizes = self._read(root, split)
    lists.check_files(images, names, self.name)
    sizes = np.broadcast_to(sizes, (len(names), 2))
    for name, *found in zip(names, pixels, sizes, strict=True):
      example = dict(zip(("points", "size"), found))
      yield name, example | {"image": images / name, "name": name}


class C3Mafl(_Faces):
  """MAFL: 19,000 training and 1,000 test images of CelebA."""

  def _read(self, root, split):
    names = celeba.read_mafl(root, f"{split}ing")[1]
    points = celeba.read_landmarks(root, names)
    return celeba.find_images(root), names, points, celeba.SIZE


class C3Aflw(_Faces):
  """AFLW with five points, in both releases that papers use."""

  BUILDER_CONFIGS = [
    tfds.core.BuilderConfig(name=release) for release in aflw.RELEASES
  ]

  def _read(self, root, split):
    return aflw.read_split(root, split=split, release=self.builder_config.name)


class C3PfPascal(_Builder):
  """PF-PASCAL: listed pairs; points count from 1, as in the lists."""

  SPLITS = ("train", "val", "test")

  def _features(self):
    features = {"category": np.int64, "flip": np.bool_}
    for side in pf_pascal.SIDES:
      features |= {
        f"image_{side}": tfds.features.Image(),
        f"name_{side}": tfds.features.Text(),
        f"points_{side}": tfds.features.Tensor(
          shape=(None, 2), dtype=np.float64
        ),
      }
    return features

  def _generate_examples(self, root, split):
    images = pf_pascal.find_images(root)
    for i, row in enumerate(pf_pascal.read_split(root, split)[1]):
      example = {"category": row.category, "flip": row.flip}
      for side, name, points in zip(pf_pascal.SIDES, row.ends, row.points):
        example |= {
          f"image_{side}": images / name,
          f"name_{side}": name,
          f"points_{side}": points,
        }
      yield i, example


def builder(dataset, folder, release="lmdis"):
  """Makes the builder of "mafl", "aflw" or "pf_pascal" in data_dir `folder`."""
  options = {"data_dir": folder, "file_format": "array_record"}
  match dataset:
    case "mafl" | "celeba":
      return C3Mafl(**options)
    case "aflw":
      return C3Aflw(config=release, **options)
    case "pf_pascal":
      return C3PfPascal(**options)
  raise UserError(f"there is no builder of {dataset}: TFDS has its own.")


def build(dataset, root, folder, release="lmdis"):
  """Writes the original files in `root` for TFDS; returns the builder."""
  made = builder(dataset, folder, release)
  made.download_and_prepare(
    download_config=tfds.download.DownloadConfig(manual_dir=str(root))
  )
  return made
