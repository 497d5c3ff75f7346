"""Ways to read the flow of a run, on annotated TRAINING images of a folder.

python -m benchmarks.flow_reading --workdirs RUN .. --root=DIR --out=FILE.json

Points are carried between the last tenth of the annotated training rows, as
`transfer` of a report does between test images, for each `flow_temperature`,
`flow_reach` and `flow_smooth`. Nothing is trained, and no test image is seen.
"""

import argparse
import itertools
import json
import pathlib

import numpy as np

from benchmarks import variants
from c3_jax.data.load import load_splits
from c3_jax.evaluation.evaluator import normaliser
from c3_jax.evaluation.pairs import matching, transfer
from c3_jax.models import correspondence
from c3_jax.runs import load_trained
from c3_jax.runtime import files, parallel

TEMPERATURES = (0.05, 0.1, 0.2, 0.3)
REACHES = (1, 2)
SIGMAS = (0.0, 0.5, 0.7, 0.85, 1.0)


def read(run, root):
  """Yields a row for each way to read the flow of a run."""
  config = run.config.copy_and_resolve_references().unlock()
  config.data.root = root
  size, held = (
    config.data.image_size,
    variants.without_test(load_splits(config)),
  )
  batches = list(
    matching.matched(
      matching.match_function(run.model, size),
      parallel.replicate(run.variables),
      matching.Neighbours(held.test, size),
      parallel.whole_batch(20),
    )
  )
  for temperature, reach, sigma in itertools.product(
    TEMPERATURES, REACHES, SIGMAS
  ):
    match = correspondence.Matcher(
      temperature=temperature, reach=reach, smooth=sigma
    )
    parts = [transfer.collect(batch, match) for batch in batches]
    values = {key: np.concatenate([x[key] for x in parts]) for key in parts[0]}
    found = transfer.measure(
      values, image_size=size, normaliser=normaliser(config)
    )
    yield {
      "temperature": temperature,
      "reach": reach,
      "smooth": sigma,
      "flow": round(found["flow"], 2),
      "agreeing": round(found["agreeing"]["flow"], 2),
    }


def main():
  """Parses the arguments and writes the file, a run after another."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--workdirs", nargs="+", required=True)
  parser.add_argument("--root", required=True)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  args = parser.parse_args()
  variants.set_up()
  rows = []
  for workdir in args.workdirs:
    name = pathlib.Path(workdir).name
    for row in read(load_trained(workdir), args.root):
      rows.append({"run": name} | row)
      print(json.dumps(rows[-1]), flush=True)
    files.write_json(args.out, rows)


if __name__ == "__main__":
  main()
