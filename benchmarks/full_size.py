"""Runs a few steps of each stage of the paper's network at full size.

  python -m benchmarks.full_size --out=benchmarks/full_size.json

ResNet-50 at output stride 8, 128 px, K = 30, eight images of noise: one process
a stage, for its peak of memory; --remat and --dtype say what these change.
Prints a Markdown table.
"""

import argparse
import functools
import json
import multiprocessing
import pathlib
import resource
import time

import jax
import numpy as np

from c3_jax.models import initial
from c3_jax.runtime import parallel
from c3_jax.training import setup as setup_lib
from c3_jax.training import steps
from c3_jax.training.state import enter, initial_state
from configs import celeba


def measure(stage_name, options):
  """Measures a few steps of a stage: a dict of numbers."""
  config = celeba.get_config(f"k={options['k']}").unlock()
  config.batch_size = options["batch"]
  config.model.dtype = options["dtype"]
  config.remat = options["remat"]
  setup = setup_lib.Setup.of(config)
  (stage,) = (s for s in setup_lib.stages(config, 1000) if s.name == stage_name)
  state = enter(initial_state(config, setup.model), stage)
  state = state.replace(step=np.int32(stage.start))
  frozen = initial.perceptual(config, setup.vgg)
  parameters = sum(x.size for x in jax.tree.leaves(state.params))
  devices = jax.local_devices()[:1]
  state, frozen = (
    parallel.replicate(jax.device_get(x), devices=devices)
    for x in (state, frozen)
  )
  side = config.data.load_size
  noise = np.random.default_rng(0).integers(
    0, 256, (options["batch"], side, side, 3), np.uint8
  )
  batch = parallel.shard({"image": noise}, devices=devices)
  step = parallel.pmap_step(
    functools.partial(steps.train_step, setup, stage), devices=devices
  )
  start = time.monotonic()
  lowered = step.lower(state, frozen, batch)
  compiled = lowered.compile()
  row = {
    "stage": stage_name,
    "parameters": parameters,
    "compile_seconds": time.monotonic() - start,
    "gflop_per_image": lowered.cost_analysis()["flops"]
    / options["batch"]
    / 1e9,
    "temporary_gib": compiled.memory_analysis().temp_size_in_bytes / 2**30,
  }
  losses, seconds = [], []
  for _ in range(options["steps"]):
    start = time.monotonic()
    state, values = compiled(state, frozen, batch)
    losses.append(float(values["loss"]))
    seconds.append(time.monotonic() - start)
  arrays = jax.device_get(jax.tree.leaves((state, values)))
  row["finite"] = bool(all(np.isfinite(x).all() for x in arrays))
  row |= {"loss": losses, "seconds": seconds}
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return row | {"peak_resident_gib": peak / 2**20}


def main():
  """Parses the arguments, measures each stage, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--stages", nargs="+", default=["pairs", "flow", "cycle"])
  parser.add_argument("--batch", type=int, default=8)
  parser.add_argument("--steps", type=int, default=2)
  parser.add_argument("--k", type=int, default=30)
  parser.add_argument("--dtype", default="float32")
  parser.add_argument("--remat", action="store_true")
  args = parser.parse_args()
  options = {
    name: getattr(args, name)
    for name in ("batch", "steps", "k", "dtype", "remat")
  }
  rows = []
  print("| stage | finite | loss | GFLOP/image | temporary | peak resident |")
  print("|---|---|---|---|---|---|")
  for name in args.stages:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
      row = pool.apply(measure, (name, options))
    rows.append(row)
    args.out.write_text(json.dumps({"options": options, "rows": rows}) + "\n")
    losses = ", ".join(f"{loss:.4f}" for loss in row["loss"])
    numbers = [
      f"{row['gflop_per_image']:.1f}",
      f"{row['temporary_gib']:.2f} GiB",
      f"{row['peak_resident_gib']:.2f} GiB",
    ]
    cells = [name, str(row["finite"]), losses, *numbers]
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
  main()
