"""Moves a run from 1 to 4 to 2 CPU devices, and compares it with one on 1.

  python -m benchmarks.devices --out=benchmarks/devices.json

The small run of `benchmarks.kill`, a stage a leg. Its losses must be those of
the undisturbed run but for rounding, which training then amplifies: batches,
draws of the augmentation and averages do not depend on how examples are spread
over devices. Written is the largest relative difference of any metric, by step.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

LEGS = ((1, ()), (4, ("flow",)), (2, ("flow", "cycle")))
PROGRAM = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", int(sys.argv[2]))
from benchmarks.kill import get_config
from c3_jax.training import loop
config = get_config()
for name in {"flow", "cycle"} - set(sys.argv[3:]):
  config.stages[name].steps = 0
loop.train_and_evaluate(config, sys.argv[1], mode="train")
"""


def train(workdir, devices, stages):
  """Trains stage pairs and others on some CPU devices, in a new process."""
  command = [sys.executable, "-c", PROGRAM, str(workdir), str(devices), *stages]
  environment = os.environ | {"JAX_PLATFORMS": "cpu"}
  subprocess.run(command, check=True, env=environment)


def losses(workdir):
  """Reads metrics.jsonl: dict (step, name) -> number."""
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return {
    (record["step"], name): value
    for record in map(json.loads, lines)
    for name, value in record.items()
    if name not in ("step", "stage", "images_per_second")
  }


def main():
  """Trains twice, prints and writes the largest differences."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, required=True)
  out = parser.parse_args().out
  with tempfile.TemporaryDirectory() as folder:
    one, moved = pathlib.Path(folder, "one"), pathlib.Path(folder, "moved")
    train(one, *[1, LEGS[-1][1]])
    for devices, stages in LEGS:
      train(moved, devices, stages)
    expected, found = losses(one), losses(moved)
  assert expected.keys() == found.keys()
  worst = {}
  for (step, name), value in expected.items():
    difference = abs(found[step, name] - value) / max(abs(value), 1e-12)
    devices = LEGS[(step - 1) // 10][0]
    steps = worst.setdefault(f"{devices} device(s)", {})
    steps[str(step)] = max(steps.get(str(step), 0.0), difference)
  out.write_text(json.dumps(worst, indent=1) + "\n")
  for name, steps in worst.items():
    print(name, {step: f"{x:.1e}" for step, x in steps.items()})


if __name__ == "__main__":
  main()
