"""config.json of a run."""

import json
import pathlib

import jax
import ml_collections
from flax import traverse_util

from c3_jax import settings
from c3_jax.errors import UserError
from c3_jax.runtime import files


def load_config(workdir) -> ml_collections.ConfigDict:
  """Reads the config of a run, locked; its tuples have become lists.

  Keys that came after the version of the run have the default of
  `settings.paper`, which means "as before".

  Raises:
    UserError: no such folder or file, or the file is not of a run.
  """
  path = pathlib.Path(workdir) / "config.json"
  try:
    stored = json.loads(path.read_text())
    return ml_collections.ConfigDict(_complete(stored)).lock()
  except (FileNotFoundError, NotADirectoryError) as error:
    raise UserError(
      f"{path} does not exist: --workdir must be the folder of a run that has "
      "checkpoints to read."
    ) from error
  except (AttributeError, ValueError, TypeError) as error:
    raise UserError(
      f"{path} is not the config of a run ({error}): name another --workdir."
    ) from error


def _complete(stored):
  """Adds the keys that are missing in the config of a run: a dict."""
  model = stored.get("model")
  if not isinstance(model, dict) or "k" not in model:
    return stored  # Not of a run, which its reader says.
  paper = settings.paper(k=model["k"], cycle=False, flow=False)
  return _fill(stored, json.loads(paper.to_json()))


def _fill(given, defaults):
  """Takes from nested dicts of defaults what is not given."""
  if not isinstance(given, dict) or not isinstance(defaults, dict):
    return given
  return defaults | {
    key: _fill(value, defaults.get(key)) for key, value in given.items()
  }


def write_config(config, workdir):
  """Writes config.json: whole, or not at all; process 0 alone."""
  if jax.process_index() == 0:
    files.write_json(
      pathlib.Path(workdir) / "config.json", json.loads(config.to_json())
    )


def flat(config):
  """Flattens a config, or nested dicts of one, to "a.b.c" -> plain value."""
  if isinstance(config, ml_collections.ConfigDict):
    config = json.loads(config.to_json())
  return traverse_util.flatten_dict(config, sep=".", keep_empty_nodes=True)


def under(key, prefixes):
  """Tells whether a flat key is one of the prefixes, or lies below one."""
  return any(f"{key}.".startswith(f"{prefix}.") for prefix in prefixes)
