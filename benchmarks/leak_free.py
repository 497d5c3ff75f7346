"""Lists PF-PASCAL's test pairs that no training or validation list has.

  python -m benchmarks.leak_free --root=DIR --out=docs/pf_pascal_leak_free.csv

A third of the public test pairs are training pairs. Writes the others, a third
of them without any image of the other lists.
"""

import argparse
import csv

from c3_jax.data.datasets import pf_pascal


def write(test, seen, path):
  """Writes the new test pairs as names: a csv, one row a pair.

  Args:
    test, seen: see `pf_pascal.leak_free`.
    path: file to write; its column image_disjoint is 0 or 1.
  """
  new = pf_pascal.leak_free(test, seen)
  with open(path, "w", newline="") as file:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["source_image", "target_image", "image_disjoint"])
    for row, pair, image in zip(test, *new.values(), strict=True):
      if pair:
        writer.writerow([row.source, row.target, int(image)])


def main():
  """Reads the lists and writes the new pairs."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--root", required=True, help="Folder of the lists.")
  parser.add_argument("--out", required=True, help="The csv file to write.")
  options = parser.parse_args()
  train, val, test = (
    pf_pascal.read_split(options.root, split)[1]
    for split in ("train", "val", "test")
  )
  write(test, train + val, options.out)


if __name__ == "__main__":
  main()
