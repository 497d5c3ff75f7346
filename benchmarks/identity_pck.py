"""PCK of leaving points in place, on the public PF-PASCAL test list.

  python -m benchmarks.identity_pck --lists=DIR

DIR holds NC-Net's test_pairs.csv, val_pairs.csv and train_pairs.csv. The lists
do not tell the sizes of the images, whose longer side is 300 pixels: here
each counts as 300 x 225, 225 x 300 or, where its points need it, 300 x 300. An
evaluation on the images themselves (alignment.readings.identity in
eval/pf_pascal.json) has their true sizes.
"""

import argparse
import pathlib

import numpy as np

from c3_jax.data import pairs
from c3_jax.data.datasets import pf_pascal
from c3_jax.evaluation.pairs import alignment
from c3_jax.models import correspondence


def guess_sizes(rows):
  """File name -> (width, height), the smallest of three that hold its points.

  Args:
    rows: list of `pf_pascal.Pair` with points.
  """
  reach = {}
  for row in rows:
    for name, points in zip((row.source, row.target), row.points):
      reach[name] = np.maximum(reach.get(name, 0), points.max(0))
  shapes = ((300, 225), (225, 300), (300, 300))
  return {
    name: next(shape for shape in shapes if (points <= np.add(shape, 1)).all())
    for name, points in reach.items()
  }


def batch_of(rows, sizes):
  """What `alignment.collect` takes, with scores that match nothing."""
  n = len(rows)
  points, visible = pairs.pad([row.points for row in rows])
  ends = np.array([[sizes[r.source], sizes[r.target]] for r in rows])
  # Of 1-based pixels: the edges of the image are -1 and 1.
  points = (2 * points - 1) / ends[:, :, None] - 1
  return {
    "points_source": points[:, 0],
    "points_target": points[:, 1],
    "visible": visible,
    "size_source": ends[:, 0],
    "size_target": ends[:, 1],
    "landmarks_source": np.zeros((n, 1, 2)),
    "landmarks_target": np.zeros((n, 1, 2)),
    "scores": np.zeros((n, 2, 2, 2, 2)),
    "category": np.array([row.category for row in rows]),
    "index": np.arange(n),
  }


def main():
  """Prints a Markdown table of the whole list and the leak-free ones."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--lists", type=pathlib.Path, required=True)
  args = parser.parse_args()
  splits = ("test", "val", "train")
  test, val, train = (
    pf_pascal.read_split(args.lists, split)[1] for split in splits
  )
  values = alignment.collect(
    batch_of(test, guess_sizes(test)), correspondence.Matcher()
  )
  lists = pf_pascal.leak_free(test, [*train, *val])
  report = alignment.measure(values, lists=lists)
  parts = {"test list": report} | report["lists"]
  print("| list | pairs |", " | ".join(alignment.KEYS), "|")
  print("|---" * (2 + len(alignment.KEYS)) + "|")
  for name, part in parts.items():
    found = part["readings"]["identity"]
    cells = " | ".join(f"{found[key]:.1f}" for key in alignment.KEYS)
    print(f"| {name} | {part['pairs']} | {cells} |")


if __name__ == "__main__":
  main()
