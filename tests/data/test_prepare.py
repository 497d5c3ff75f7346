"""Tests of the checks of a downloaded dataset, and of its script."""

import os
import pathlib
import subprocess
import sys

import pytest

from c3_jax.data import fake, prepare
from c3_jax.errors import UserError
from tests.conftest import ROOT


def _checks(name, root):
  return {check.what: check for check in prepare.CHECKS[name](root)}


def test_pf_pascal_is_complete_with_the_public_lists(public_data, tmp_path):
  """Every count and checksum is the published one."""
  (tmp_path / "image_pairs").symlink_to(public_data / "pf_pascal_lists")
  images = tmp_path / "JPEGImages"
  images.mkdir()
  for path in (tmp_path / "image_pairs").glob("t*_pairs.csv"):
    for row in prepare.pf_pascal.read_pairs(path):
      (images / row.source).touch()
      (images / row.target).touch()
  rows = prepare.pf_pascal.read_split(tmp_path, "val")[1]
  for row in rows:
    (images / row.source).touch()
    (images / row.target).touch()
  checks = _checks("pf_pascal", tmp_path)
  assert len(checks) == 10
  for check in checks.values():
    assert check.found == check.expected


def test_small_copies_differ_in_what_they_lack(dots, tmp_path):
  """Counts of example data, beside what the real data would have."""
  for name, write, expected in (
    (
      "celeba",
      fake.write_celeba,
      {
        "images in img_align_celeba": (7, 202599),
        "partition 0": (5, 162770),
        "MAFL training": (2, 19000),
        "people": (4, 10177),
        "train, exclude=mafl_test": (4, 161962),
        "train, exclude=mafl": (2, 146501),
      },
    ),
    (
      "aflw",
      fake.write_aflw,
      {
        "lmdis train": (4, 10122),
        "lmdis test": (3, 2991),
        "mtfl train": (4, 10122),
        "mtfl test": (3, 2995),
      },
    ),
    (
      "lsun",
      fake.write_lsun,
      {
        "images of car": (4, 5520756),
        "images of bedroom": (4, 3033042),
      },
    ),
  ):
    root = tmp_path / name
    root.mkdir()
    write(root, train=4, test=3)
    checks = _checks(name, root)
    for what, counts in expected.items():
      assert (checks[what].found, checks[what].expected) == counts
  identity = _checks("celeba", tmp_path / "celeba")["train, exclude=identity"]
  assert identity.expected is None
  assert identity.found <= 4


@pytest.mark.parametrize("name", prepare.CHECKS)
def test_an_empty_folder_is_named(tmp_path, name):
  """Of every dataset, the first thing that is missing."""
  with pytest.raises(UserError, match=f"{tmp_path} has no "):
    list(prepare.CHECKS[name](tmp_path))
  assert all(" " in line for line in prepare.GET[name])


@pytest.mark.slow
def test_the_script_counts_builds_and_says_what_differs(dots, tmp_path):
  """As the user calls it: the table, the files for TFDS, exit status 1."""
  root = tmp_path / "root"
  root.mkdir()
  fake.write_celeba(root, train=4, test=3)
  done = subprocess.run(
    [
      *("bash", str(ROOT / "launch" / "prepare_data.sh"), "mafl"),
      *(str(root), str(tmp_path / "tfds")),
    ],
    env=os.environ
    | {"PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"},
    capture_output=True,
    text=True,
  )
  assert done.returncode == 1, done.stderr
  lines = done.stdout.splitlines()
  assert lines[0] == "From:"
  (row,) = [line for line in lines if line.startswith("partition 0")]
  assert row.split() == [
    "partition",
    "0",
    "5",
    "DIFFERS",
    "(expected",
    "162770)",
  ]
  assert done.stderr.splitlines()[-1].endswith(
    "differ from the published ones."
  )
  assert list((tmp_path / "tfds" / "c3_mafl" / "1.0.0").glob("*array_record*"))


@pytest.mark.slow
@pytest.mark.parametrize(
  "arguments, named",
  [(["celeba"], "usage"), (["faces", "."], "--dataset=faces: use one of")],
)
def test_wrong_arguments_are_named(arguments, named):
  """Exit status 2, and one line."""
  done = subprocess.run(
    ["bash", str(ROOT / "launch" / "prepare_data.sh"), *arguments],
    env=os.environ
    | {"PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"},
    capture_output=True,
    text=True,
  )
  assert (done.returncode, done.stdout) == (2, "")
  (line,) = done.stderr.splitlines()
  assert named in line
