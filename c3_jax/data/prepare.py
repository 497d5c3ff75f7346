"""Checks a downloaded dataset against what is published; builds it for TFDS.

python -m c3_jax.data.prepare --dataset=celeba --root=DIR [--tfds=DIR]

launch/prepare_data.sh calls it. Nothing is downloaded.
"""

import hashlib
import os
from typing import NamedTuple

from absl import flags

from c3_jax.data.datasets import aflw, celeba, folder, lists, lsun, pf_pascal
from c3_jax.errors import UserError
from c3_jax.runtime import cli, files


def define_flags():
  """Defines the flags of this command."""
  flags.DEFINE_string("dataset", None, "Dataset, as in config.data.")
  cli.define_path("root", None, "Its folder, as in config.data.root.")
  cli.define_path("tfds", "", "Where to build it for TFDS, if at all.")


GET = {
  "celeba": (
    "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html: img_align_celeba.zip "
    "(1.4 GB), list_landmarks_align_celeba.txt, list_eval_partition.txt, "
    "identity_CelebA.txt (non-commercial research; agree there)",
    "https://github.com/zhzhanp/TCDCN-face-alignment, folder MAFL: "
    "training.txt and testing.txt, into DIR/MAFL",
  ),
  "aflw": (
    "https://www.tugraz.at/institute/icg/research/team-bischof/lrs/downloads/"
    "aflw (agreement by e-mail; research only) for the right to use it",
    "release lmdis: the re-crop of https://github.com/YutingZhang/lmdis-rep "
    "(aflw_release-2), unpacked into DIR",
    "release mtfl: MTFL.zip of https://mmlab.ie.cuhk.edu.hk/projects/"
    "TCDCN.html into DIR/MTFL, and aflw_cropped.zip of "
    "https://github.com/jamt9000/DVE into DIR/aflw_cropped",
  ),
  "pf_pascal": (
    "https://www.di.ens.fr/willow/research/proposalflow: "
    "PF-dataset-PASCAL.zip, or "
    "http://host.robots.ox.ac.uk/pascal/VOC/voc2012 (VOCtrainval, 1.9 GB)",
    "https://github.com/ignacio-rocco/ncnet, folder datasets/pf-pascal/"
    "image_pairs: the three csv files, into DIR/image_pairs",
  ),
  "lsun": (
    "https://github.com/fyu/lsun (download.py): bedroom_train_lmdb (43 GB)",
    "http://dl.yf.io/lsun/objects: car.zip; unpack both into DIR",
  ),
}
GET["mafl"] = GET["celeba"]

# md5 as torchvision publishes them, sha256 of the public copies.
CHECKSUMS = {
  "list_landmarks_align_celeba.txt": "cc24ecafdb5b50baae59b03474781f8c",
  "list_eval_partition.txt": "d32c9cbf5e040fd4025c592c306e6668",
  "identity_CelebA.txt": "32bd1bd63d3c78cd57e08160ec5ed1e2",
  "training.txt": (
    "435e0488efcb97dee718118b74b4110d42d9524289238f51692b1d60883ccba6"
  ),
  "testing.txt": (
    "0a93fa3202133333045ce4cef5043a2cb1f4b8858b8e96f3ae7f54becfa07f9e"
  ),
  "train_pairs.csv": (
    "e7604e992744706b0ec0ed9fad240b5e0e45f38c13eaf567af0338ec8a50f40f"
  ),
  "val_pairs.csv": (
    "8e980034c4b953267fb2b3818ad1b6f5e60014e08bc52052cb3ad6d2d1a5b09a"
  ),
  "test_pairs.csv": (
    "1891bfd52cac67898aa5b65a50818e315e5228b956fdda1baad400e6a89c6fe6"
  ),
}


class Check(NamedTuple):
  """One line of the table."""

  what: str
  found: object
  expected: object  # None where nothing is published.


def _checksum(path):
  expected = CHECKSUMS[path.name]
  kind = "md5" if len(expected) == 32 else "sha256"
  found = hashlib.new(kind, files.read_bytes(path)).hexdigest()
  return Check(f"{kind} of {path.name}", found, expected)


def check_celeba(root):
  """Yields the checks of CelebA and MAFL."""
  images = celeba.find_images(root)
  count = sum(name.endswith(".jpg") for name in os.listdir(images))
  yield Check(f"images in {images.name}", count, 202599)
  path, partition = celeba.read_partition(root)
  lists.check_files(images, list(partition), path)
  celeba.check_release(images / next(iter(partition)))
  parts = list(partition.values())
  for part, expected in enumerate((162770, 19867, 19962)):
    yield Check(f"partition {part}", parts.count(part), expected)
  mafl = {}
  for split, expected in (("training", 19000), ("testing", 1000)):
    mafl_path, mafl[split] = celeba.read_mafl(root, split)
    yield Check(f"MAFL {split}", len(mafl[split]), expected)
    yield _checksum(mafl_path)
  points = celeba.read_landmarks(root, list(partition))
  yield Check("annotated images", len(points), 202599)
  identity = celeba.read_identity(root)
  yield Check("people", len(set(identity.values())), 10177)
  published = {"mafl_test": 161962, "mafl": 146501, "identity": None}
  for exclude, expected in published.items():
    names = celeba.training_names(
      partition, mafl["training"], mafl["testing"], exclude, identity
    )
    yield Check(f"train, exclude={exclude}", len(names), expected)
  yield _checksum(path)
  for name in ("list_landmarks_align_celeba.txt", "identity_CelebA.txt"):
    yield _checksum(lists.find(root, name, f"Anno/{name}"))


def aflw_releases(root):
  """Finds the releases of AFLW that are there, at least one."""
  parts = {"lmdis": "output", "mtfl": "MTFL"}
  lists.find(root, *parts.values())
  return [r for r, name in parts.items() if os.path.exists(f"{root}/{name}")]


def check_aflw(root):
  """Yields the checks of the releases of AFLW that are there."""
  for release in aflw_releases(root):
    tested = {"lmdis": 2991, "mtfl": 2995}[release]
    for split, expected in (("train", 10122), ("test", tested)):
      images, names, _, _ = aflw.read_split(root, split=split, release=release)
      lists.check_files(images, names, f"AFLW's {release} lists")
      yield Check(f"{release} {split}", len(names), expected)


def check_pf_pascal(root):
  """Yields the checks of PF-PASCAL."""
  images = pf_pascal.find_images(root)
  rows = {}
  for split, expected in (("train", 2940), ("val", 308), ("test", 299)):
    path, rows[split] = pf_pascal.read_split(root, split)
    names = {name for row in rows[split] for name in row.ends}
    lists.check_files(images, sorted(names), path)
    yield Check(f"{split} pairs", len(rows[split]), expected)
    yield _checksum(path)
  couples = {frozenset(row.ends) for row in rows["train"]}
  yield Check("unordered train pairs", len(couples), 613)
  points = sum(len(row.points[0]) for row in rows["test"])
  yield Check("test points", points, 2414)
  new = pf_pascal.leak_free(rows["test"], rows["train"] + rows["val"])
  for (name, part), expected in zip(new.items(), (169, 38), strict=True):
    yield Check(f"test pairs, {name}", int(part.sum()), expected)


def check_lsun(root):
  """Yields the checks of the categories of LSUN that are there."""
  expected, missing = {"car": 5520756, "bedroom": 3033042}, []
  for category in lsun.CATEGORIES:
    try:
      source = lsun.find_source(root, category)
    except UserError as error:
      missing.append(error)
      continue
    if (source / "data.mdb").exists():
      n = len(lsun.Lmdb(source).keys)
    else:
      n = len(folder.list_images(source)[1])
    yield Check(f"images of {category}", n, expected[category])
  if len(missing) == len(lsun.CATEGORIES):
    raise missing[0]


CHECKS = {
  "celeba": check_celeba,
  "mafl": check_celeba,
  "aflw": check_aflw,
  "pf_pascal": check_pf_pascal,
  "lsun": check_lsun,
}


def program():
  """Prints where to get the dataset, then the table; 1 if a row differs."""
  name = flags.FLAGS.dataset
  if name not in CHECKS:
    raise UserError(f"--dataset={name}: use one of {', '.join(CHECKS)}.")
  print("From:", *GET[name], sep="\n  ")
  differs = 0
  for what, found, expected in CHECKS[name](flags.FLAGS.root):
    verdict = "-" if expected is None else "ok"
    if expected not in (None, found):
      verdict = f"DIFFERS (expected {expected})"
      differs += 1
    print(f"{what:32} {found} {verdict}")
  if flags.FLAGS.tfds:
    from c3_jax.data.datasets import tfds_builders

    releases = aflw_releases(flags.FLAGS.root) if name == "aflw" else [""]
    for release in releases:
      tfds_builders.build(name, flags.FLAGS.root, flags.FLAGS.tfds, release)
  if differs:
    return cli.fail(
      f"{differs} value(s) differ from the published ones.", status=1
    )
  print(
    f"Complete: --config.data.name={name} --config.data.root={flags.FLAGS.root}"
  )
  return 0


if __name__ == "__main__":
  cli.main(program, define_flags, required=["dataset", "root"])
