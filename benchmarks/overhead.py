"""Measures what the loop costs in addition to the compiled step.

  python -m benchmarks.overhead --out=benchmarks/overhead.json

The step of stage `pairs` of a small network on the CPU, 1,000 times: bare, on
batches that lie on the device; and in `loop.train`, with data from memory, the
log every 100 steps and a checkpoint at the end. Both run the same program, in
turn, timed once it is compiled; the time that saving blocks is stated
separately. Nothing is annotated, so nothing is evaluated.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import pathlib
import statistics
import tempfile
import time

import jax

from c3_jax.evaluation.evaluator import Evaluator
from c3_jax.runs.checkpoints import Checkpoints
from c3_jax.runtime import parallel
from c3_jax.training import loop, resume, steps
from c3_jax.training.experiment import Experiment
from c3_jax.training.state import enter, initial_state
from configs import synthetic


def get_config(args):
  """Makes the config: synthetic faces, one stage, no diagnostics."""
  config = synthetic.get_config("test" if args.small else "").unlock()
  config.log_every, config.checkpoint_every = 100, args.steps + 1
  config.eval.diagnostics.images = 0
  config.data.n_train = 1024
  # The first step of the loop holds its compilation.
  config.stages.pairs.steps = args.steps + 1
  for name in ("flow", "cycle"):
    config.stages[name].update({"steps": 0, "epochs": 0.0})
  return config


class TimedCheckpoints(Checkpoints):
  """Adds up the seconds that saving blocks."""

  seconds = 0.0

  def save(self, *args, **kwargs):
    start = time.monotonic()
    super().save(*args, **kwargs)
    self.seconds += time.monotonic() - start


def bare(step, state, frozen, batches):
  """Times the compiled step alone, in seconds."""
  start = time.monotonic()
  for batch in batches:
    state, values = step(state, frozen, batch)
  jax.block_until_ready((state, values))
  return time.monotonic() - start


def looped(experiment, state):
  """Times the loop after its first step: seconds without saving, of saving."""
  started = []

  def hook(step, values):
    if not started:
      jax.block_until_ready(values)
      started.append(time.monotonic())

  with TimedCheckpoints(experiment.workdir) as checkpoints:
    loop.train(experiment, checkpoints, resume.Start(state), hooks=[hook])
    end = time.monotonic()
  return end - started[0] - checkpoints.seconds, checkpoints.seconds


def main():
  """Parses the arguments, measures in turn, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--steps", type=int, default=1000)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--small", action="store_true", help="the :test network")
  args = parser.parse_args()
  config = get_config(args)
  experiment = Experiment.of(config, "")
  splits = dataclasses.replace(experiment.splits, fit=None, test=None)
  evaluator = Evaluator(config, experiment.model, splits)
  stage = experiment.stages[0]
  state = enter(initial_state(config, experiment.model), stage)
  state = jax.device_get(state)
  frozen = parallel.replicate(experiment.frozen)
  step = parallel.pmap_step(
    functools.partial(steps.train_step, experiment.setup, stage)
  )
  stream = splits.train.batches(config.batch_size, seed=0)
  few = [parallel.shard({"image": next(stream)["image"]}) for _ in range(64)]
  batches = list(itertools.islice(itertools.cycle(few), args.steps))
  bare(step, parallel.replicate(state), frozen, few[:3])
  rows = []
  for _ in range(args.rounds):
    row = {"bare": bare(step, parallel.replicate(state), frozen, batches)}
    with tempfile.TemporaryDirectory() as folder:
      one = dataclasses.replace(
        experiment,
        workdir=pathlib.Path(folder),
        splits=splits,
        evaluator=evaluator,
      )
      row["loop"], row["save"] = looped(one, state)
    row["overhead"] = row["loop"] / row["bare"] - 1
    rows.append(row)
    print(
      f"bare {row['bare']:.2f} s, loop {row['loop']:.2f} s "
      f"({100 * row['overhead']:+.2f} %), saving {row['save']:.2f} s",
      flush=True,
    )
  median = statistics.median(row["overhead"] for row in rows)
  print(f"median overhead {100 * median:.2f} % of {args.steps} steps")
  summary = {"steps": args.steps, "median": median, "rows": rows}
  args.out.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
  main()
