"""The config that `--config=` means: a file, or one that comes with c3_jax."""

import importlib.util
import pathlib
import traceback

import ml_collections

from c3_jax.errors import UserError

# In an installed package, and in a clone of the repository.
_PACKAGE = pathlib.Path(__file__).resolve().parents[1]
FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")


def names():
  """Lists the configs that come with c3_jax: dict name -> path of the file."""
  folder = next(filter(pathlib.Path.is_dir, FOLDERS), None)
  files = sorted(folder.glob("[a-z]*.py")) if folder else ()
  return {path.stem: path for path in files}


def path_of(name):
  """Finds the file of a config: a path, or a name such as "synthetic".

  Raises:
    UserError: there is no such file and no such name.
  """
  path, known = pathlib.Path(name), names()
  if path.suffix == ".py" and path.is_file():
    return path
  if name in known:
    return known[name]
  raise UserError(
    f"{name} is neither a config file nor one that comes with c3_jax: give the "
    f"path of a file, or one of {', '.join(known)}, as in --config=synthetic."
  )


def load(text: str) -> ml_collections.ConfigDict:
  """Makes the config of `--config=`.

  Args:
    text: file or name, with arguments after a colon: "synthetic:test",
      "configs/celeba.py:k=30,flow=0".

  Returns:
    The config, locked.

  Raises:
    UserError: there is no such config, or its file has a mistake.
    ValueError: the config does not have such arguments.
  """
  name, *argument = text.split(":", 1)
  path = path_of(name)
  spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
  module = importlib.util.module_from_spec(spec)
  try:
    spec.loader.exec_module(module)
    get_config = module.get_config
  except (Exception, SystemExit) as error:  # A config is a program.
    raise UserError(_fault(path, error)) from error
  try:
    config = get_config(*argument)
  except ValueError:
    raise  # About the argument.
  except (Exception, SystemExit) as error:
    raise UserError(_fault(path, error)) from error
  if not isinstance(config, ml_collections.ConfigDict):
    raise UserError(
      f"{path}: get_config gives no ConfigDict: see configs/folder.py."
    )
  return config.lock()


def _fault(path, error):
  """Says what is wrong with a config file, and in which line of it."""
  lines = [
    frame.lineno
    for frame in traceback.extract_tb(error.__traceback__)
    if frame.filename == str(path)
  ]
  if isinstance(error, SyntaxError) and error.filename == str(path):
    lines, error = [error.lineno], error.msg
  where = f" line {lines[-1]}" if lines else ""
  text = " ".join(str(error).split()) or type(error).__name__
  return f"{path}{where}: {text}; correct it, see configs/folder.py."
