"""The command that repeats a run, made from its config alone."""

import itertools
import shlex

from c3_jax.runs import flat, under
from c3_jax.settings import find

VARIANTS = ("", "cpu", "test")
# What says how to go on, not what to train.
FREE = ("accept_changes", "eval.step", "eval.name")


def command(config, workdir):
  """Makes a command line, as a list of words for a shell.

  Args:
    config: of the run, nested dicts.
    workdir: its folder.

  Returns:
    ["python -m c3_jax train", "--config=..", ..]: the config that comes with
    the program and differs least, then what differs.
  """
  wanted = {k: v for k, v in flatten(config).items() if not under(k, FREE)}
  name, base = nearest(wanted, config)
  words = ["python -m c3_jax train", f"--config={name}"]
  for key, value in wanted.items():
    if key in base and base[key] != value:
      words.append(f"--config.{key}={shlex.quote(written(value))}")
  return [*words, f"--workdir={shlex.quote(str(workdir))}"]


def flatten(config):
  """Flattens nested dicts or a ConfigDict: "a.b" -> plain value."""
  # Empty dicts hold no key that could differ.
  return {key: value for key, value in flat(config).items() if value != {}}


def nearest(wanted, config):
  """Finds the config that comes along and has most values wanted.

  Returns:
    (its name as of --config=, its flat values).
  """
  found = []
  k, cells = f"k={config['model']['k']}", ("cycle=1,flow=1",)
  cells += ("cycle=1,flow=0", "cycle=0,flow=1", "cycle=0,flow=0", "")
  for name, variant, cell in itertools.product(find.names(), VARIANTS, cells):
    try:
      text = f"{name}:{','.join(filter(None, [variant, k, cell]))}"
      base = flatten(find.load(text))
    except ValueError:
      continue  # It has no such variant.
    differing = sum(base.get(key) != value for key, value in wanted.items())
    found.append((differing, len(found), text, base))
  _, _, text, base = min(found, key=lambda each: each[:2])
  return _short(text, base), base


def _short(text, base):
  """Leaves out the arguments of a config that change nothing."""
  name, _, arguments = text.partition(":")
  parts = arguments.split(",")
  for part in list(parts):
    rest = [each for each in parts if each != part]
    try:
      if flatten(find.load(f"{name}:{','.join(rest)}")) == base:
        parts = rest
    except ValueError:
      continue
  return ":".join(filter(None, [name, ",".join(parts)]))


def written(value):
  """Writes a value as flags take it: lists as tuples."""
  if isinstance(value, list):
    return repr(tuple(value)).replace(" ", "")
  return str(value)
