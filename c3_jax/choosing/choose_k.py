"""Command line: recommends a number of landmarks, by short runs of several.

c3-jax choose-k --config=folder:cpu --config.data.root=DIR \
  --ks=5,10,20,30 --workdir=runs/choose_k

Each K is trained in WORKDIR/kN for a share of its steps; the same command goes
on where it was interrupted and keeps what is finished. docs/choose_k.md has the
rule.
"""

import logging
import pathlib

from absl import flags

from c3_jax.choosing import rule, trials
from c3_jax.errors import UserError
from c3_jax.runs import Lock, log
from c3_jax.runtime import cli, files, json_files

logger = logging.getLogger(__name__)


def define_flags():
  """Defines the flags of this command."""
  cli.define_config()
  cli.define_path("workdir", None, "Folder of all the runs.")
  flags.DEFINE_list("ks", ["5", "10", "20", "30"], "Numbers of landmarks.")
  flags.DEFINE_float("share", 0.25, "Of stage pairs, how much is trained.")


def program():
  """Runs `choose`; a trial that diverges is one line, and exit status 1."""
  try:
    choose(flags.FLAGS)
  except log.Diverged as error:
    return cli.fail(error, status=1)
  return 0


def choose(values):
  """Trains what is missing, prints the table and the recommendation."""
  folder = pathlib.Path(values.workdir)
  configs = {
    k: trials.shortened(values.config, k, values.share)
    for k in numbers(values.ks)
  }
  folder.mkdir(parents=True, exist_ok=True)
  # Two of these would write one choose_k.json.
  with Lock(folder):
    found, path = {}, folder / "choose_k.json"
    before = read(path)
    for k, config in configs.items():
      found[k] = trials.kept(config, folder / f"k{k}", before)
      if found[k] is None:
        logger.info("K = %d:", k)
        found[k] = trials.run(config, folder / f"k{k}")
      if found[k] is None:
        print("Stopped: the same command goes on.")
        return
      write(path, [*filter(None, found.values())])
    chosen, why = write(path, [*found.values()])
    # Not at the top: it imports Matplotlib.
    from c3_jax.choosing import plot

    plot.draw(folder / "choose_k.png", list(found.values()), chosen)
  print(rule.table(list(found.values()), chosen))
  print(f"\nRecommended: K = {chosen}. {why}")
  print(f"plot: {folder / 'choose_k.png'}")


def numbers(texts):
  """Reads --ks: a sorted list of different numbers.

  Raises:
    UserError: there are fewer than two, or one is no number.
  """
  if not all(text.strip().isdecimal() and len(text) < 9 for text in texts):
    raise UserError(
      f"--ks={','.join(texts)}: give whole numbers, with commas, as 5,10,20."
    )
  found = sorted({int(text) for text in texts})
  if len(found) < 2:
    raise UserError(f"--ks={','.join(texts)}: give two or more to choose from.")
  return found


FORM = {
  "k": int,
  "steps": int,
  "consistency": float,
  "faults": int,
  "reconstruction": float,
  "error": (float, None),
  "settings": str,
}


def read(path):
  """Reads the trials of choose_k.json: list of `Trial`, empty without one.

  Raises:
    UserError: the file is damaged.
  """
  if not path.exists():
    return []
  found = json_files.read(
    path,
    {"trials": [FORM]},
    wrong="is damaged",
    remedy="move it away; the runs stay.",
  )
  return [
    trials.Trial(**{name: each[name] for name in FORM})
    for each in found["trials"]
  ]


def write(path, found):
  """Writes choose_k.json: (recommended K, why)."""
  chosen, why = rule.recommend(found)
  files.write_json(
    path,
    {
      "recommended": chosen,
      "why": why,
      "trials": [each._asdict() for each in found],
    },
  )
  return chosen, why


if __name__ == "__main__":
  cli.main(program, define_flags, required=["config", "workdir"])
