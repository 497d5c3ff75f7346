"""Stage `cycle` against as many further steps of stage `pairs`, over seeds.

python -m benchmarks.cycle --root=LFW --out=benchmarks/cycle_lfw.json
python -m benchmarks.cycle --out=benchmarks/cycle_synthetic.json

For each seed one run of stage `pairs`; from its end every variant of what may
follow, with a fresh optimiser and equally many steps. Regressions are fitted on
nine tenths of the annotated training rows and measured on the last tenth; with
--test, for what was chosen, on the test images instead. Rows that FILE has are
kept, so that an interrupted study goes on.
"""

import argparse
import json
import pathlib

from benchmarks import variants
from c3_jax.runtime import files
from c3_jax.settings import find

# Of the stage that follows: its terms' weights, and other changes.
KEPT = {"warp": 1.0, "apart": 0.5, "match": 0.25}
BOTH = KEPT | {"pairs": 1.0, "cycle": 1.0, "inv": 1.0}
VARIANTS = {
  "pairs": ({**KEPT, "pairs": 1.0}, {}),
  "paper": ({"cycle": 1.0, "inv": 1.0, "equiv": 1.0}, {}),
  "paper + kept": (KEPT | {"cycle": 1.0, "inv": 1.0, "equiv": 1.0}, {}),
  "both": (BOTH, {}),
  "both, equiv .05": (BOTH | {"equiv": 0.05}, {}),
  "both, equiv .3": (BOTH | {"equiv": 0.3}, {}),
  "both, equiv .3, checked": (
    BOTH | {"equiv": 0.3},
    {"objective.flow_check": 1.0},
  ),
  "both, cycle .3": (BOTH | {"cycle": 0.3}, {}),
  "both, inv 10": (BOTH | {"inv": 10.0}, {}),
  "both, no inv": (BOTH | {"inv": 0.0}, {}),
  "both, apart .1": (BOTH | {"apart": 0.1}, {}),
  "pairs, apart .1": ({**KEPT, "pairs": 1.0, "apart": 0.1}, {}),
  "both, no stop-gradient": (BOTH, {"objective.stop_gradient": False}),
  "both, no match": (BOTH | {"match": 0.0}, {}),
}
LANDMARKS = ("backbone", "appearance", "pose", "decoder")


def base(args, seed):
  """Makes the config of the stage `pairs` that all variants of a seed share."""
  config = find.load("folder:cpu" if args.root else "synthetic").unlock()
  changes = {
    "seed": seed,
    "augment.mask": args.mask,
    "eval.perturb": True,
    "eval.few_shot": (),
    "stages.pairs.steps": args.before,
    "stages.pairs.drops": (),
    "average": 0.995,
  }
  if args.root:
    changes |= {"data.root": args.root, "data.load_size": args.load_size}
  else:
    changes["data.seed"] = seed
  config.update_from_flattened_dict(changes)
  return config


def following(args, seed, name, workdir):
  """Makes the config of a variant, which starts from the end of `pairs`."""
  config = base(args, seed)
  weights, changes = VARIANTS[name]
  stage = config.stages.cycle
  stage.weights.update({term: 0.0 for term in stage.weights} | weights)
  moved = (*LANDMARKS, "flow") if stage.weights.match else LANDMARKS
  stage.update({"steps": args.steps, "epochs": 0.0, "train": moved})
  changes = changes | {
    "stages.pairs.steps": 0,
    "init.workdir": str(workdir),
    "init.step": args.before,
  }
  config.update_from_flattened_dict(changes)
  return config


def study(args, seed):
  """Runs what FILE lacks of a seed."""
  rows = json.loads(args.out.read_text()) if args.out.exists() else []
  done = {(row["seed"], row["name"]) for row in rows}
  first = args.workdirs / f"seed{seed}"
  for name in ("before", *args.variants):
    if (seed, name) in done:
      continue
    if name == "before":
      config, workdir = base(args, seed), first
    else:
      config = following(args, seed, name, first)
      workdir = args.workdirs / f"seed{seed}_{name}".replace(" ", "_")
    found = variants.run(config.lock(), workdir, hidden=not args.test)
    rows.append({"seed": seed, "name": name} | found)
    files.write_json(args.out, rows)
    print(json.dumps(rows[-1]), flush=True)


def main():
  """Parses the arguments and runs the study."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--root", help="a folder of images; else synthetic faces")
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument(
    "--workdirs", type=pathlib.Path, default=pathlib.Path("runs/cycle")
  )
  parser.add_argument("--load_size", type=int, default=60)
  parser.add_argument("--mask", default="imm")
  parser.add_argument("--before", type=int, default=4000)
  parser.add_argument("--steps", type=int, default=1000)
  parser.add_argument("--seeds", type=int, nargs="+", default=[0])
  parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
  parser.add_argument("--test", action="store_true")
  args = parser.parse_args()
  variants.set_up()
  for seed in args.seeds:
    study(args, seed)


if __name__ == "__main__":
  main()
