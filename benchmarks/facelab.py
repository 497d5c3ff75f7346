"""Alignment between different people, by flow and by landmarks.

  python -m benchmarks.facelab --workdir=RUN --root=DIR [--out=FILE]

DIR is a folder dataset whose test images show one person each and have many
points (Face Research Lab London: 42 people, 189 points). Each test image is
paired with the next five in the order of their names. The network of the run is
measured as it was trained and beside it untrained; it need not have seen such
images. Points that leave the network's frame in some image are left out.
Prints a Markdown table and writes the numbers.
"""

import argparse
import json
import pathlib
import sys

import numpy as np

from c3_jax.data import frame_of, in_memory
from c3_jax.data.datasets import folder
from c3_jax.errors import UserError
from c3_jax.evaluation.pairs import alignment, consistency, transfer
from c3_jax.evaluation.pairs.evaluator import PairEvaluator
from c3_jax.runs import load_trained
from c3_jax.runtime import parallel
from c3_jax.training.state import initial_state


def pairs_of(dataset, shifts):
  """Images 2m and 2m + 1 are i and i + s of `dataset`, for each shift s.

  Args:
    dataset: `ArrayDataset` with points.
    shifts: ints from 1 to the number of images less one.

  Returns:
    An `ArrayDataset` of len(dataset) * len(shifts) pairs.
  """
  n = len(dataset)
  first = np.arange(n)
  index = np.concatenate(
    [np.stack([first, (first + shift) % n], 1).ravel() for shift in shifts]
  )
  inside = (np.abs(dataset.points) <= 1).all((0, 2))
  return in_memory.ArrayDataset(
    dataset.images[index],
    dataset.points[index][:, inside],
    image_size=dataset.image_size,
  )


def measure(each, variables, *, image_size, normaliser):
  """PCK, carried points and consistency of one network.

  Args:
    each: `PairEvaluator` of the pairs.
    variables: params and batch_stats.
    image_size: side of the model frame in pixels.
    normaliser: two indices of points, the eyes.

  Returns:
    A dict of numbers.
  """
  values = each.collect(variables, ["alignment", "transfer", "consistency"])
  return {
    **alignment.measure(values["alignment"]),
    "distance": transfer.measure(
      values["transfer"], image_size=image_size, normaliser=normaliser
    ),
    "consistency": consistency.measure(values["consistency"]),
  }


def run(workdir, root, landmarks, shifts):
  """Measures the network of a run, trained and untrained: a dict."""
  trained = load_trained(workdir)
  config = trained.config
  size = config.data.image_size
  dataset = folder.load_folder(
    root, frame_of(config), split="test", landmarks=landmarks
  )
  if dataset is None:
    raise UserError(f"{root}/{landmarks} has no rows of split test.")
  if not 0 < max(shifts) < len(dataset):
    raise UserError(
      f"--shifts={shifts} for {len(dataset)} images: use 1 to "
      f"{len(dataset) - 1}."
    )
  pairs = pairs_of(dataset, shifts)
  each = PairEvaluator(config, trained.model, pairs)
  start = initial_state(config, trained.model)
  networks = {
    "trained": trained.variables,
    "untrained": start.variables,
  }
  return {
    "k": config.model.k,
    "image_size": size,
    "step": trained.step,
    "people": len(dataset),
  } | {
    name: measure(
      each,
      parallel.replicate(variables),
      image_size=size,
      normaliser=(0, 1),
    )
    for name, variables in networks.items()
  }


def table(result):
  """The numbers as a Markdown table."""
  trained, untrained = result["trained"], result["untrained"]
  points = trained["points"] // trained["pairs"]
  lines = [
    f"{result['people']} people, {trained['pairs']} pairs, {points} points; "
    f"{result['image_size']} px, K = {result['k']}, step {result['step']}",
    "",
    "| % | flow | landmarks | combined | left in place | flow, untrained "
    "| landmarks, untrained |",
    "|---|---|---|---|---|---|---|",
  ]
  for key in alignment.KEYS:
    cells = [trained["readings"][r][key] for r in alignment.READINGS]
    cells += [untrained["readings"][r][key] for r in ("flow", "landmarks")]
    lines.append(_row(f"PCK {key}", cells))
  cells = [
    trained["distance"]["flow"],
    trained["distance"]["landmarks"],
    None,
    trained["distance"]["identity"],
    untrained["distance"]["flow"],
    untrained["distance"]["landmarks"],
  ]
  lines.append(_row("distance / eye distance", cells))
  for name, part in (("trained", trained), ("untrained", untrained)):
    found = part["consistency"]
    lines += [
      "",
      f"Landmarks, {name}, in % of the image side: carried by flow to those "
      f"detected {found['flow']:.2f}, left in place "
      f"{found['left_in_place']:.2f}, apart from each other "
      f"{found['spread']:.2f}.",
    ]
  return "\n".join(lines)


def _row(name, cells):
  numbers = ("" if cell is None else f"{cell:.1f}" for cell in cells)
  return f"| {name} | {' | '.join(numbers)} |"


def main():
  """Parses the arguments, measures, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--workdir", type=pathlib.Path, required=True)
  parser.add_argument("--root", type=pathlib.Path, required=True)
  parser.add_argument("--landmarks", default="landmarks189.csv")
  parser.add_argument("--shifts", type=int, nargs="+", default=[1, 2, 3, 4, 5])
  parser.add_argument("--out", type=pathlib.Path)
  args = parser.parse_args()
  try:
    result = run(args.workdir, args.root, args.landmarks, args.shifts)
  except UserError as error:
    sys.exit(f"facelab: {error}")
  print(table(result))
  if args.out:
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
  main()
