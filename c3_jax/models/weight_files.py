"""Files of ported weights: DIR/NETWORK.safetensors.

They hold our variables under their paths ("params/conv1/kernel"), float32, in
Flax's layouts. The header and, for people, DIR/NETWORK.json say the source.
"""

import contextlib
import pathlib

import flax.traverse_util
import numpy as np
import safetensors
import safetensors.numpy

from c3_jax.errors import UserError
from c3_jax.runtime import files
from c3_jax.runtime.output import begins


def outputs(folder, network):
  """Lists what `save` writes: dict path -> function whether it wrote a file."""
  target = pathlib.Path(folder) / f"{network}.safetensors"
  about = rb'"source_sha256": ?"[0-9a-f]{64}"'
  return {
    target: lambda path: begins(
      path, rb'.{8}\{"__metadata__":.{,9999}' + about
    ),
    target.with_suffix(".json"): lambda path: begins(
      path, rb".{,9999}" + about
    ),
  }


def save(variables, about, folder, network):
  """Writes folder/NETWORK.safetensors and .json, each whole or not at all.

  Args:
    variables: dict path -> float32 array.
    about: dict of strings: network, source, source_sha256, date.
    folder: made if missing.
    network: a name of `porting.NETWORKS`.

  Returns:
    The path of the former.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  target = folder / f"{network}.safetensors"
  with files.write_whole(target) as file:
    file.write(safetensors.numpy.save(variables, metadata=about))
  files.write_json(target.with_suffix(".json"), about)
  return target


def load(folder, network, *, key):
  """Reads the variables that `save` wrote: dict path -> float32 array.

  Args:
    folder, network: as given to `save`.
    key: the config key that names the folder, for errors.

  Raises:
    UserError: there is no such file, or it is damaged.
  """
  with _opened(folder, network, key) as file:
    variables = {path: file.get_tensor(path) for path in file.keys()}
  for path, values in variables.items():
    if not np.isfinite(values).all():
      raise UserError(
        f"{folder}/{network}.safetensors holds a number in {path} that is not "
        "finite: port the weights again."
      )
  return variables


def about(folder, network, *, key):
  """Reads the `about` that `save` wrote; arguments are those of `load`."""
  with _opened(folder, network, key) as file:
    return file.metadata()


@contextlib.contextmanager
def _opened(folder, network, key):
  path = pathlib.Path(folder) / f"{network}.safetensors"
  make = (
    f"make it with python -m c3_jax.port_weights --{network}=FILE --out=DIR "
    f"and pass --config.{key}=DIR"
  )
  if not path.is_file():
    raise UserError(f"config.{key}={str(folder)!r} has no {path.name}: {make}.")
  try:
    with safetensors.safe_open(path, framework="numpy") as file:
      if (file.metadata() or {}).get("network") != network:
        raise UserError(f"{path} was not made by port_weights: {make}.")
      yield file
  except safetensors.SafetensorError as error:
    raise UserError(f"{path} cannot be read ({error}): {make}.") from error


def fit(variables, wanted, *, exactly=True):
  """Nests ported variables for a network: {"params": .., "batch_stats": ..}.

  Args:
    variables: dict path -> array.
    wanted: dict path -> shape, of the network.
    exactly: whether the network must have all of them.

  Raises:
    ValueError: names the first variable that differs.
  """
  paths = [*wanted, *(variables if exactly else ())]
  for path in dict.fromkeys(paths):
    ported = variables[path].shape if path in variables else "absent"
    here = wanted.get(path, "absent")
    if ported != here:
      raise ValueError(f"{path} is {ported} there and {here} in the config")
  return flax.traverse_util.unflatten_dict(
    {path: variables[path] for path in wanted}, sep="/"
  )
