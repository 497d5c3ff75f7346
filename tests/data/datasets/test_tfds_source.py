"""Round trips through tensorflow-datasets: our builders, and TFDS's own."""

import numpy as np
import pytest
import tensorflow_datasets as tfds

from c3_jax import settings
from c3_jax.data import fake, load
from c3_jax.data.datasets import celeba, tfds_builders
from c3_jax.errors import UserError


def _config(**data):
  config = settings.paper(k=10, cycle=1, flow=1)
  config.data.update({"image_size": 32, "load_size": 40, "crop": "imm"} | data)
  return config


def _prepare(name, tmp_path, **options):
  root, folder = tmp_path / "root", tmp_path / "tfds"
  root.mkdir()
  write = {
    "mafl": fake.write_celeba,
    "aflw": fake.write_aflw,
    "pf_pascal": fake.write_pf_pascal,
  }
  write[name](root, train=4, test=3)
  tfds.disable_progress_bar()
  tfds_builders.build(name, str(root), str(folder), **options)
  return str(root), str(folder)


@pytest.mark.parametrize(
  "name, options",
  [("mafl", {}), ("aflw", {"release": "lmdis"}), ("pf_pascal", {})],
)
def test_prepared_data_is_the_original_data(dots, tmp_path, name, options):
  """Every image and point, by its name, of every split."""
  root, folder = _prepare(name, tmp_path, **options)
  size = {"image_size": 40} if name == "pf_pascal" else {}
  for split in load.SPLITS:
    theirs, ours = (
      load.load_split(_config(name=name, **place, **options, **size), split)
      for place in ({"root": root}, {"tfds_dir": folder})
    )
    assert len(ours) == len(theirs)
    rows = [
      {
        tuple(row[key].tobytes() for key in sorted(row) if key != "index")
        for batch in data.eval_batches(1)
        for row in [batch]
      }
      for data in (theirs, ours)
    ]
    assert rows[0] == rows[1]
    assert sorted(ours.names) == sorted(theirs.names)


def test_celeb_a_trains_without_mafls_pictures(dots, tmp_path, monkeypatch):
  """TFDS's own keeps no names; the points tell what to leave out."""
  _, folder = _prepare("mafl", tmp_path)
  root = tmp_path / "root"
  names = sorted(path.name for path in (root / "img_align_celeba").iterdir())
  points = celeba.read_landmarks(root, names).astype(int)
  header = (root / "list_landmarks_align_celeba.txt").read_text().split()[1:11]
  examples = [
    {
      "image": (root / "img_align_celeba" / name).read_bytes(),
      "landmarks": dict(zip(header, point.ravel(), strict=True)),
    }
    for name, point in zip(names, points, strict=True)
  ]

  class CelebA:
    data_path = "celeb_a"

    def as_data_source(self, split, decoders):
      assert (split, list(decoders)) == ("train", ["image"])
      return examples

  monkeypatch.setattr(tfds, "builder", lambda *args, **kwargs: CelebA())
  for exclude, n in (("mafl_test", 4), ("mafl", 2)):
    config = _config(name="celeba", tfds_dir=folder, exclude=exclude)
    ours = load.load_split(config, "train")
    with config.unlocked():
      config.data.update({"tfds_dir": "", "root": str(root)})
    theirs = load.load_split(config, "train")
    assert len(ours) == n
    np.testing.assert_array_equal(ours.images, theirs.images)
  with pytest.raises(UserError, match="exclude=identity needs the original"):
    load.load_split(
      _config(name="celeba", tfds_dir=folder, exclude="identity"), "train"
    )


def test_what_is_not_prepared_is_named(tmp_path):
  """An empty folder, of our builders and of TFDS's own."""
  for data in ({"name": "aflw"}, {"name": "lsun"}):
    with pytest.raises(UserError, match="has no split train in array_record"):
      load.load_split(_config(tfds_dir=str(tmp_path), **data), "train")
