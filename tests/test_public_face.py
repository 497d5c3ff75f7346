"""What `import c3_jax` and the command `c3-jax` give."""

import importlib.util
import json
import subprocess
import sys
import tomllib

import pytest

import c3_jax
from c3_jax.__main__ import COMMANDS
from c3_jax.errors import UserError
from tests.conftest import ROOT


def run(*arguments):
  """Runs a Python in the clone: (status, stdout, stderr)."""
  done = subprocess.run(
    [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True
  )
  return done.returncode, done.stdout, done.stderr


def test_names_of_the_face():
  """The version is that of pyproject.toml, and each name has a docstring."""
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  assert c3_jax.__version__ == project["version"]
  assert set(c3_jax.__all__) == {"UserError", "__version__", "load"}
  assert c3_jax.UserError is UserError
  assert c3_jax.load.__doc__ and c3_jax.__doc__


@pytest.mark.parametrize(
  "module, dear",
  [
    ("c3_jax", {"jax", "numpy", "flax", "absl"}),
    ("c3_jax.tables", {"jax", "tensorflow", "matplotlib", "scipy", "cv2"}),
  ],
)
def test_import_is_cheap(module, dear):
  """The face loads neither JAX nor NumPy, tables of runs no JAX."""
  code = f"import {module}, json, sys; print(json.dumps(list(sys.modules)))"
  status, out, _ = run("-c", code)
  assert status == 0
  assert not dear & set(json.loads(out))


def test_load_refuses_what_is_no_run(tmp_path):
  """A folder without a run is a UserError that names it."""
  with pytest.raises(UserError, match=str(tmp_path)):
    c3_jax.load(tmp_path)


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_help_lists_the_commands(arguments):
  """Alone, and with --help, it prints each command, in a line each."""
  status, out, err = run("-m", "c3_jax", *arguments)
  assert (status, err) == (0, "")
  assert len(out.splitlines()) == len(COMMANDS) + 2
  for command in COMMANDS:
    assert f"\n  {command} " in out


def test_an_unknown_command_is_one_line():
  """It is named with those there are; the status is 2."""
  status, out, err = run("-m", "c3_jax", "trian")
  assert (status, out) == (2, "")
  (line,) = err.splitlines()
  assert "'trian'" in line and ", ".join(COMMANDS) in line


def test_every_command_is_a_module_and_each_is_there():
  """The names of the shell are those of the modules that run by python -m."""
  for module, _, _ in COMMANDS.values():
    assert importlib.util.find_spec(f"c3_jax.{module}")
  assert {"train", "eval", "predict", "pack", "tables"} < set(COMMANDS)
  assert {"port-weights", "benchmark"} < set(COMMANDS)
  beside = {path.stem for path in (ROOT / "c3_jax").glob("*.py")}
  modules = {module for module, _, _ in COMMANDS.values()}
  in_rooms = {module for module in modules if "." in module}
  assert modules - in_rooms == beside - {"__init__", "__main__", "errors"}


@pytest.mark.slow
def test_eval_is_main_in_its_mode(tmp_path):
  """`c3-jax eval` looks for checkpoints; as with main, one line says so."""
  flags = ["--config=synthetic:test", f"--workdir={tmp_path}"]
  status, out, err = run("-m", "c3_jax", "eval", *flags)
  assert (status, out) == (2, "")
  assert (status, out, err) == run("-m", "c3_jax.main", "--mode=eval", *flags)
  assert "checkpoints" in err
