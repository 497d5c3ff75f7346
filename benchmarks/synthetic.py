"""Synthetic faces over seeds: what the network learns, and what cycle adds.

  python -m benchmarks.synthetic --out=benchmarks/synthetic.json

For each seed: stages pairs and flow; from there the stage cycle, and, as a
control, as many further steps of L_pairs. Prints a Markdown table and writes
the numbers. A run that was interrupted goes on where it was.

With --bare without what this project adds to the paper for small networks:
L_warp, L_apart and recolouring. Then also the stage cycle with the paper's
weights (L_cycle, L_inv and L_equiv of 1, no L_pairs), with and without the
flow. The network and all else stay those of the configuration.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys

CONFIG = "configs/synthetic.py:stages=pairs+flow+cycle"
THIRD = "--config.stages.cycle.weights"
# The quickstart of version 0.1.0.
FIRST = (
  "--config.stages.pairs.steps=2500",
  "--config.stages.pairs.drops=(0.8,)",
  "--config.stages.pairs.weights.match=0.0",
  f"{THIRD}.match=0.0",
  "--config.augment.mask=border",
  "--config.average=0.0",
  "--config.objective.flow_reach=0",
  "--config.objective.flow_temperature=0.02",
)
# Name -> config and options of what follows stages pairs and flow.
CELLS = {
  "more_pairs": (f"{CONFIG},cycle=0,flow=0",),
  "cycle": (CONFIG,),
}
BARE_CELLS = {
  "paper_cycle": (CONFIG, f"{THIRD}.pairs=0.0", f"{THIRD}.equiv=0.0"),
  "paper_cycle_flow": (CONFIG, f"{THIRD}.pairs=0.0", f"{THIRD}.equiv=1.0"),
}
BARE = (
  "--config.augment.recolour=0.0",
  *(
    f"--config.stages.{stage}.weights.{term}=0.0"
    for stage in ("pairs", "cycle")
    for term in ("warp", "apart")
  ),
)


def run(config, seed, workdir, *options):
  """One run of `c3_jax.main`: its report."""
  subprocess.run(
    [
      *(sys.executable, "-m", "c3_jax.main", f"--config={config}"),
      *(f"--config.seed={seed}", f"--config.data.seed={seed}"),
      *(f"--workdir={workdir}", *FIRST, *options),
    ],
    check=True,
  )
  return json.loads((workdir / "eval" / "synthetic.json").read_text())


def measure(seed, folder, cells, *options):
  """All runs of one seed with these options: a dict of errors, in %."""
  first = folder / f"seed{seed}_pairs"
  report = run(CONFIG, seed, first, "--config.stages.cycle.steps=0", *options)
  row = {"seed": seed} | report["baseline"]
  row["pairs"] = report["error"]["intercept"]
  for name, (config, *weights) in cells.items():
    workdir = folder / f"seed{seed}_{name}"
    if not workdir.exists():
      shutil.copytree(first, workdir)
    report = run(config, seed, workdir, *options, *weights)
    row[name] = report["error"]["intercept"]
    row[f"{name}_no_intercept"] = report["error"]["no_intercept"]
  return row


def main():
  """Parses the arguments, runs all seeds, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--bare", action="store_true")
  parser.add_argument("--workdirs", type=pathlib.Path)
  parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
  args = parser.parse_args()
  name = "synthetic_bare" if args.bare else "synthetic"
  folder = args.workdirs or pathlib.Path("runs") / name
  folder.mkdir(parents=True, exist_ok=True)
  options, cells = (BARE, CELLS | BARE_CELLS) if args.bare else ((), CELLS)
  rows = []
  for seed in args.seeds:
    rows.append(measure(seed, folder, cells, *options))
    args.out.write_text(json.dumps(rows, indent=1) + "\n")
  columns = ("mean_shape", "untrained", "pairs", *cells)
  print("| seed |", " | ".join(columns), "|")
  print("|---" * (1 + len(columns)) + "|")
  for row in rows:
    values = " | ".join(f"{row[column]:.2f}" for column in columns)
    print(f"| {row['seed']} | {values} |")


if __name__ == "__main__":
  main()
