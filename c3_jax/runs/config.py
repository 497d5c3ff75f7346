"""config.json of a run."""

import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any

import ml_collections
from ml_collections import ConfigDict

from c3_jax import settings
from c3_jax.errors import UserError
from c3_jax.runtime import files, json_files


def load_config(workdir: str | os.PathLike) -> ml_collections.ConfigDict:
  """Reads the config of a run, locked; its tuples have become lists.

  Keys that came after the version of the run have the default of
  `settings.paper`, which means "as before".

  Raises:
    UserError: no such folder or file, or the file is not of a run.
  """
  path = pathlib.Path(workdir) / "config.json"
  if not path.exists():
    raise UserError(
      f"{path} does not exist: --workdir must be the folder of a run that has "
      "checkpoints to read."
    )
  wrong, remedy = "is not the config of a run", "name another --workdir."
  stored = json_files.read(path, wrong=wrong, remedy=remedy)
  # The number of landmarks has no default; who makes the model misses it.
  paper = settings.paper(k=1, cycle=False, flow=False)
  del paper.model["k"]
  paper = json.loads(paper.to_json())
  try:
    _check_like(stored, paper, "")
    if stored.get("data", {}).get("name") == "aflw":
      # Before there were protocols, crop and load_size said what was seen.
      stored["data"].setdefault("protocol", "custom")
    return ml_collections.ConfigDict(_fill(stored, paper)).lock()
  except (AttributeError, ValueError, TypeError) as error:
    raise UserError(f"{path} {wrong} ({error}): {remedy}") from error


def _fill(given, defaults):
  """Takes from nested dicts of defaults what is not given."""
  if not isinstance(given, dict) or not isinstance(defaults, dict):
    return given
  return defaults | {
    key: _fill(value, defaults.get(key)) for key, value in given.items()
  }


def _check_like(value, default, name):
  """Checks the kinds of values by those of the defaults, where both are there.

  Raises:
    ValueError: names the key.
  """
  if isinstance(default, dict):
    json_files.check(value, dict, name)
    for key in value.keys() & default.keys():
      _check_like(value[key], default[key], f"{name}.{key}".lstrip("."))
  elif isinstance(default, bool):
    json_files.check(value, bool, name)
  elif isinstance(default, int | float):
    json_files.check(value, float, name)
  else:
    # A normaliser is two numbers, or a word.
    json_files.check(value, (str, list), name)


def write_config(config: ConfigDict, workdir: str | os.PathLike) -> None:
  """Writes config.json: whole, or not at all; process 0 alone."""
  import jax  # Not at the top: to compare runs needs none of it.

  if jax.process_index() == 0:
    files.write_json(
      pathlib.Path(workdir) / "config.json", json.loads(config.to_json())
    )


def flat(config: ConfigDict | dict) -> dict[str, Any]:
  """Flattens a config, or nested dicts of one, to "a.b.c" -> plain value."""
  if isinstance(config, ml_collections.ConfigDict):
    config = json.loads(config.to_json())
  items: dict[str, Any] = {}
  for key, value in config.items():
    if isinstance(value, dict):
      items |= {f"{key}.{below}": x for below, x in flat(value).items()}
    else:
      items[key] = value
  return items


def under(key: str, prefixes: Iterable[str]) -> bool:
  """Tells whether a flat key is one of the prefixes, or lies below one."""
  return any(f"{key}.".startswith(f"{prefix}.") for prefix in prefixes)
