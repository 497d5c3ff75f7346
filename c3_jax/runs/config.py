"""config.json of a run."""

import json
import pathlib

import jax
import ml_collections
from flax import traverse_util

from c3_jax.errors import UserError
from c3_jax.runtime import files


def load_config(workdir) -> ml_collections.ConfigDict:
  """Reads the config of a run, locked; its tuples have become lists.

  Raises:
    UserError: no such folder or file, or the file is not of a run.
  """
  path = pathlib.Path(workdir) / "config.json"
  try:
    return ml_collections.ConfigDict(json.loads(path.read_text())).lock()
  except (FileNotFoundError, NotADirectoryError) as error:
    raise UserError(
      f"{path} does not exist: --workdir must be the folder of a run that has "
      "checkpoints to read."
    ) from error
  except (AttributeError, ValueError, TypeError) as error:
    raise UserError(
      f"{path} is not the config of a run ({error}): name another --workdir."
    ) from error


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
