"""Comparison of runs: which differ only in their seed, and their names."""

import json
import pathlib

from c3_jax.errors import UserError
from c3_jax.runs import reports
from c3_jax.runs.config import flat, under

# What may differ between the runs of one row.
IGNORED = (
  "seed",
  "log_every",
  "checkpoint_every",
  "eval",
  "accept_changes",
  # Of the synthetic faces; the images are then others of the same kind.
  "data.seed",
)


def settings(config):
  """Flattens a config to what tells one row of a table from another.

  `init.workdir` is replaced by the settings of the run it points to: in a sweep
  each seed begins with the networks of a run of its own, and two such runs are
  the same but for their seed. Where that folder is gone, its name has to do.

  Returns:
    {"a.b": value}, without what `IGNORED` names.
  """
  result = {k: v for k, v in flat(config).items() if not under(k, IGNORED)}
  if (before := _start(config)) is not None:
    result["init.workdir"] = settings(before)
  return result


def _start(config):
  """Reads the config of the run that a run began with; None without it."""
  start = config.get("init", {}).get("workdir")
  found = start and (pathlib.Path(start) / "config.json").is_file()
  return reports.config_of(start) if found else None


def length(config, stage):
  """Gives the steps or epochs of a stage."""
  return config["stages"][stage]["epochs"] or config["stages"][stage]["steps"]


def cell(config):
  """Finds the cell (cycle, flow) of Table 2; None for another third stage.

  L_pairs with L_cycle makes no other cell.
  """
  if not length(config, "cycle"):
    return None
  weights = config["stages"]["cycle"]["weights"]
  cycle, flow = weights["cycle"] > 0, weights["equiv"] > 0
  if not (cycle or weights["pairs"]) or (weights["inv"] > 0) != cycle:
    return None
  return cycle, flow


def method(config):
  """Names the row of Table 1 that a run is: C3, Cond. (IMM), or None.

  What known warps teach beside L_pairs is neither.
  """
  if cell(config) == (True, True):
    return "C3"
  pairs = length(config, "pairs") and not length(config, "cycle")
  weights = config["stages"]["pairs"]["weights"]
  taught = weights["match"] or weights["chain"]
  return "Cond." if pairs and not taught else None


def moved(config, part):
  """Tells whether a part of the network, such as "pose", was ever trained.

  That may have been in the run that this one began with.
  """
  before = _start(config)
  return any(
    length(config, name) and part in stage["train"]
    for name, stage in config["stages"].items()
  ) or (before is not None and moved(before, part))


def grouped(runs):
  """Groups runs that differ only in their seed: list of lists of runs.

  Raises:
    UserError: two runs of a group have the same seed.
  """
  groups = {}
  for run in runs:
    key = json.dumps(settings(run.config), sort_keys=True)
    groups.setdefault(key, []).append(run)
  for group in groups.values():
    seeds = {}
    for workdir, config, _ in group:
      if config["seed"] in seeds:
        raise UserError(
          f"{workdir} and {seeds[config['seed']]} are the same run with the "
          "same seed: name one of them."
        )
      seeds[config["seed"]] = workdir
  return list(groups.values())


def names(groups):
  """Names each group: its K, its cell, and what else sets it apart."""
  keys = [settings(group[0].config) for group in groups]
  known = ("model.k", "stages.cycle.weights.")
  differing = [
    key
    for key in keys[0]
    if all(key in each for each in keys)
    and len({json.dumps(each[key]) for each in keys}) > 1
    and not key.startswith(known)
  ]
  # Long lists would hide the numbers.
  shown, hidden = differing[:4], len(differing[4:])
  result = []
  for group in groups:
    config = group[0].config
    words = [f"K = {config['model']['k']}", _third_stage(config)]
    words += [f"{key}={flat(config)[key]}" for key in shown]
    words += [f"and {hidden} more keys"] if hidden else []
    result.append(", ".join(words))
  return result


def _third_stage(config):
  if not length(config, "cycle"):
    return "no third stage"
  if which := cell(config):
    return f"cycle {mark(which[0])}, flow {mark(which[1])}"
  weights = config["stages"]["cycle"]["weights"]
  terms = [f"{w:g} {name}" for name, w in weights.items() if w]
  return "third stage " + " + ".join(terms)


def mark(on):
  """Writes a truth value for a cell of a table."""
  return "yes" if on else "no"
