"""What the loop costs beside the compiled step.

  python -m benchmarks.overhead --out=benchmarks/overhead.json

The step of stage `pairs` of a small network on the CPU, 1,000 times: bare, on
batches that lie on the device; and in `loop.train`, with data from memory, the
log every 100 steps and a checkpoint at the end. Both run the same compiled
program, in turn; the time that saving blocks is stated for itself. Nothing is
annotated, so nothing is evaluated.
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
from c3_jax.training import build, loop, steps
from configs import synthetic


def get_config(args):
  """The synthetic faces without annotations: one stage, no diagnostics."""
  config = synthetic.get_config("test" if args.small else "").unlock()
  config.log_every, config.checkpoint_every = 100, args.steps
  config.eval.diagnostics.images = 0
  config.data.n_train = 1024
  config.stages.pairs.steps = args.steps
  for name in ("flow", "cycle"):
    config.stages[name].update({"steps": 0, "epochs": 0.0})
  return config


class Timed:
  """Calls a function and adds up the seconds; the first call starts a clock."""

  def __init__(self, function):
    self._function = function
    self.seconds, self.start = 0.0, None

  def __call__(self, *args, **kwargs):
    now = time.monotonic()
    self.start = self.start or now
    result = self._function(*args, **kwargs)
    self.seconds += time.monotonic() - now
    return result


def bare(step, state, frozen, batches):
  """Seconds of the compiled step alone."""
  start = time.monotonic()
  for batch in batches:
    state, values = step(state, frozen, batch)
  jax.block_until_ready((state, values))
  return time.monotonic() - start


def looped(config, setup, stages, splits, evaluator, step, state, workdir):
  """(seconds without saving, seconds of saving) of the loop, once compiled."""
  first = Timed(step)
  with Checkpoints(workdir) as checkpoints:
    save = Timed(checkpoints.save)
    checkpoints.save = save
    pmap_step = parallel.pmap_step
    parallel.pmap_step = lambda function: first
    loop.train(
      config,
      workdir,
      setup,
      stages,
      splits.train,
      evaluator,
      checkpoints,
      state,
    )
    end = time.monotonic()
    parallel.pmap_step = pmap_step
  return end - first.start - save.seconds, save.seconds


def main():
  """Parses the arguments, measures in turn, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--steps", type=int, default=1000)
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--small", action="store_true", help="the :test network")
  args = parser.parse_args()
  config = get_config(args)
  setup = build.setup(config)
  splits = dataclasses.replace(build.load_splits(config), fit=None, test=None)
  evaluator = Evaluator(config, setup.model, splits)
  stages = build.stages(config, len(splits.train))
  state = build.enter(build.initial_state(config, setup.model), stages[0])
  state = jax.device_get(state)
  frozen = parallel.replicate(build.frozen(config, setup.vgg))
  step = parallel.pmap_step(
    functools.partial(steps.train_step, setup, stages[0])
  )
  stream = splits.train.batches(config.batch_size, seed=0)
  few = [parallel.shard({"image": next(stream)["image"]}) for _ in range(64)]
  batches = list(itertools.islice(itertools.cycle(few), args.steps))
  bare(step, parallel.replicate(state), frozen, few[:3])
  rows = []
  for _ in range(args.rounds):
    row = {"bare": bare(step, parallel.replicate(state), frozen, batches)}
    with tempfile.TemporaryDirectory() as folder:
      row["loop"], row["save"] = looped(
        config,
        setup,
        stages,
        splits,
        evaluator,
        step,
        state,
        pathlib.Path(folder),
      )
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
