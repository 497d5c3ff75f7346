"""A run of an untrained network, for every test of what is exported."""

import pytest


@pytest.fixture(scope="package")
def run(tmp_path_factory, save_run):
  """The folder of a run with two checkpoints; the best is step 4."""
  folder = tmp_path_factory.mktemp("exporting") / "run"
  save_run(folder, {4: 20.0, 8: 30.0})
  return folder
