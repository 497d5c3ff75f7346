"""Variants of a configuration on the annotated TRAINING images of a folder.

python -m benchmarks.variants --root=DIR --out=FILE.json --name=no_match \
  stages.pairs.weights.match=0.0

The regression is fitted on nine tenths of the training rows and measured on
the last tenth, so that variants are chosen without a look at the test images.
Each KEY=VALUE changes the config; FILE.json keeps a row a variant and seed.
"""

import argparse
import functools
import json
import operator
import pathlib
import tempfile
import time

import ml_collections
from absl import logging as absl_logging

from c3_jax import evaluation
from c3_jax.data.in_memory import ArrayDataset
from c3_jax.data.load import Splits, load_splits
from c3_jax.evaluation import conventions
from c3_jax.models import initial
from c3_jax.runs import load_trained
from c3_jax.runtime import cli, compilation, files, parallel
from c3_jax.settings import find
from c3_jax.training import loop
from c3_jax.training.experiment import Experiment


def set_up():
  """Prepares a study: programs are kept, and progress goes to stderr."""
  compilation.choose_convolutions()
  compilation.enable()
  absl_logging.set_verbosity(absl_logging.WARNING)
  cli.log_to_stderr()


def without_test(splits):
  """Makes `Splits` whose fit and test images are both training rows."""
  fit, cut = splits.fit, conventions.first(len(splits.fit))
  parts = [
    ArrayDataset(
      fit.images[rows],
      fit.points[rows],
      fit.names[rows],
      image_size=fit.image_size,
    )
    for rows in (slice(cut), slice(cut, None))
  ]
  return Splits(splits.train, *parts)


def number_or_word(text):
  """Reads an entry of a tuple: a number where it is one."""
  try:
    return float(text)
  except ValueError:
    return text


def get_config(args, seed):
  """Reads the config of a variant, with its changes."""
  config = find.load(args.config).unlock()
  config.update_from_flattened_dict(
    {
      "seed": seed,
      "data.root": args.root,
      "data.load_size": args.load_size,
      "eval.perturb": True,
      "eval.few_shot": (),
    }
  )
  for change in args.changes:
    key, _, value = change.partition("=")
    before = functools.reduce(operator.getitem, key.split("."), config)
    if isinstance(before, tuple | list):
      value = tuple(number_or_word(part) for part in value.split(","))
    elif not isinstance(before, str):
      value = type(before)(json.loads(value.lower()))
    config.update_from_flattened_dict({key: value})
  return config.lock()


def run(config: ml_collections.ConfigDict, workdir, *, hidden=True):
  """Trains and measures a variant: what a row of the file says.

  `hidden` keeps the test images away.
  """
  start = time.monotonic()
  splits = load_splits(config)
  made = Experiment.of(
    config, workdir, without_test(splits) if hidden else splits
  )
  with loop.start(made) as finished:
    if not finished:
      raise SystemExit("Stopped: no row is written.")
    trained = time.monotonic() - start
  run = load_trained(workdir)
  variables = run.variables, initial.untrained(config, run.model)
  report = evaluation.evaluate(
    evaluation.Subject(
      made.workdir,
      made.evaluator,
      run.step,
      *map(parallel.replicate, variables),
    )
  )
  return {
    "seconds": round(trained),
    "step": run.step,
    "error": report["error"]["intercept"],
    "perturbed": report["perturbed"]["error"]["intercept"],
    "mean_shape": report["baseline"]["mean_shape"],
    "carried": report["transfer"],
  }


def main():
  """Parses the arguments, runs the seeds, adds their rows to the file."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--root", required=True)
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--name", required=True)
  parser.add_argument("--config", default="folder:cpu")
  parser.add_argument("--load_size", type=int, default=60)
  parser.add_argument("--seeds", type=int, nargs="+", default=[0])
  parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
  args = parser.parse_intermixed_args()
  set_up()
  for seed in args.seeds:
    with tempfile.TemporaryDirectory() as folder:
      found = run(get_config(args, seed), pathlib.Path(folder))
    row = {"name": args.name, "changes": args.changes, "seed": seed} | found
    rows = json.loads(args.out.read_text()) if args.out.exists() else []
    files.write_json(args.out, [*rows, row])
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
  main()
