"""Times the train step of this checkout against that of another one.

  git worktree add /tmp/before REVISION
  python -m benchmarks.against /tmp/before [--stages=pairs,cycle] \
    [--config=folder:cpu,stages=pairs+flow+cycle] [--vgg=DIR] [--size=32] \
    [--cpu=0] [--out=FILE]

Each checkout compiles the step in a process of its own; then both take turns,
on one processor. Times are processor seconds, so that what else runs matters
less; the ratio is taken within each round. `--vgg` names ported weights of a
VGG16, taken at width 1. The first loss of both must agree: a config that
changed in between is no comparison.
"""

import argparse
import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

LOAD = 5 / 4  # Side of the loaded images by that of the frame.


def compiled_step(options):
  """Compiles a step: a function without arguments that gives its loss."""
  import jax
  import numpy as np

  from c3_jax.models import initial
  from c3_jax.runtime import parallel
  from c3_jax.settings import find
  from c3_jax.training import steps
  from c3_jax.training.setup import Setup, stages
  from c3_jax.training.state import enter, initial_state

  config = find.load(options.config).copy_and_resolve_references()
  with config.unlocked():
    if options.size:
      config.data.image_size = options.size
      config.data.load_size = round(LOAD * options.size)
    if options.vgg:
      config.weights.vgg, config.perceptual.width = options.vgg, 1.0
  setup, n = Setup.of(config), config.batch_size
  (stage,) = (s for s in stages(config, n) if s.name == options.stages)
  frozen = parallel.replicate(initial.perceptual(config, setup.vgg))
  state = enter(initial_state(config, setup.model), stage)
  shape = (n, *[config.data.load_size] * 2, 3)
  images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
  arguments = frozen, parallel.shard({"image": images})
  step = functools.partial(steps.train_step, setup, stage)
  step = parallel.parallel_step(step, kind=config.parallel)
  state = parallel.replicate(state)
  program = step.lower(state, *arguments).compile()

  def advance():
    nonlocal state
    state, metrics = program(state, *arguments)
    return float(jax.block_until_ready(metrics)["loss"])

  return advance


def worker(options):
  """Answers lines from stdin: so many steps, then the seconds of one."""
  from c3_jax.runtime import compilation

  os.sched_setaffinity(0, {options.cpu})
  compilation.choose_convolutions()
  compilation.enable()
  advance = compiled_step(options)
  print(advance(), flush=True)
  for line in sys.stdin:
    start, n = time.process_time(), int(line)
    for _ in range(n):
      advance()
    print((time.process_time() - start) / n, flush=True)


def start(checkout, stage, arguments):
  """Starts the worker of a checkout: (process, its first loss)."""
  process = subprocess.Popen(
    [sys.executable, __file__, "--worker", *arguments, f"--stages={stage}"],
    cwd=checkout,
    env=os.environ | {"PYTHONPATH": str(checkout), "JAX_PLATFORMS": "cpu"},
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
    text=True,
  )
  return process, float(process.stdout.readline())


def compare(checkouts, stage, arguments, *, rounds, steps):
  """Times a stage's step in both checkouts: a dict of numbers."""
  workers, losses = zip(*(start(x, stage, arguments) for x in checkouts))
  if abs(losses[0] - losses[1]) > 1e-5 * abs(losses[0]):
    raise SystemExit(
      f"{stage}: the first losses are {losses}: compare checkouts that compute "
      "the same from the same config."
    )

  def measure(process):
    print(steps, file=process.stdin, flush=True)
    return float(process.stdout.readline())

  seconds = []
  for turn in range(rounds):
    order = (0, 1) if turn % 2 else (1, 0)
    took = {i: measure(workers[i]) for i in order}
    seconds.append((took[0], took[1]))
  for process in workers:
    process.stdin.close()
    process.wait()
  ratios = [before / after for before, after in seconds]
  return {
    "before_ms": 1e3 * statistics.median(before for before, _ in seconds),
    "after_ms": 1e3 * statistics.median(after for _, after in seconds),
    "speed_up": statistics.median(ratios),
    "range": [min(ratios), max(ratios)],
  }


def main():
  """Compares, prints a line a stage, writes the file."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("before", nargs="?", type=pathlib.Path)
  parser.add_argument("--config", default="folder:cpu,stages=pairs+flow+cycle")
  parser.add_argument("--stages", default="pairs,cycle")
  parser.add_argument("--vgg", default="")
  parser.add_argument("--size", type=int, default=0)
  parser.add_argument("--cpu", type=int, default=0)
  parser.add_argument("--rounds", type=int, default=9)
  parser.add_argument("--steps", type=int, default=5)
  parser.add_argument("--out", type=pathlib.Path)
  parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.worker:
    worker(options)
    return
  here = pathlib.Path(__file__).resolve().parents[1]
  arguments = [
    f"--{name}={getattr(options, name)}"
    for name in ("config", "vgg", "size", "cpu")
  ]
  result = {}
  for stage in options.stages.split(","):
    result[stage] = found = compare(
      (options.before.resolve(), here),
      stage,
      arguments,
      rounds=options.rounds,
      steps=options.steps,
    )
    print(
      f"{stage}: {found['before_ms']:.1f} ms before, {found['after_ms']:.1f} "
      f"after, {found['speed_up']:.2f} times as fast"
    )
  if options.out:
    options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
  main()
