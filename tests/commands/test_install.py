"""The package as pip installs it, without a network."""

import json
import os
import shutil
import subprocess
import sys
import tomllib

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
  """A folder with the packages that a wheel would have."""
  source = tmp_path_factory.mktemp("source")
  for name in ("c3_jax", "configs"):
    shutil.copytree(
      ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
    )
  for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
    shutil.copy(ROOT / name, source)
  target = tmp_path_factory.mktemp("target")
  subprocess.run(
    [sys.executable, "setup.py", "-q", "build_py", f"--build-lib={target}"],
    cwd=source,
    check=True,
    capture_output=True,
  )
  return target


def python_files(folder):
  """Lists the Python files under a folder, relative to it."""
  return {str(path.relative_to(folder)) for path in folder.rglob("*.py")}


def test_a_wheel_has_the_package_and_the_configs(installed):
  """Every file of c3_jax and of configs is there, and no other."""
  expected = {f"c3_jax/{name}" for name in python_files(ROOT / "c3_jax")}
  expected |= {f"c3_jax/configs/{x}" for x in python_files(ROOT / "configs")}
  assert python_files(installed) == expected


def test_a_wheel_has_the_files_of_pages(installed):
  """Each file of page_files/ and the style of reports, byte for byte."""
  pages = sorted((ROOT / "c3_jax/exporting/page_files").iterdir())
  assert pages
  for path in [*pages, ROOT / "c3_jax/reporting/style.css"]:
    copy = installed / path.relative_to(ROOT)
    assert copy.read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_configs_are_found_by_name_without_a_clone(installed, tmp_path):
  """In an empty folder, NAME:test makes each config that the clone has."""
  code = """if True:
    import json
    from c3_jax.settings import find
    for name, path in find.names().items():
      find.load(f"{name}:test")
      print(json.dumps([name, str(path)]))
  """
  done = subprocess.run(
    [sys.executable, "-c", code],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": str(installed)},
    capture_output=True,
    text=True,
    check=True,
  )
  found = dict(json.loads(line) for line in done.stdout.splitlines())
  expected = {path.stem for path in (ROOT / "configs").glob("*.py")}
  assert set(found) == expected - {"__init__"}
  for path in found.values():
    assert path.startswith(str(installed / "c3_jax" / "configs"))


def test_the_command_is_declared():
  """The script c3-jax calls a function that exists."""
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  assert project["scripts"] == {"c3-jax": "c3_jax.__main__:main"}
