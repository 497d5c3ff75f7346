"""The notebook runs from its first cell to its last."""

import os

import nbclient
import nbformat
import pytest

from tests.conftest import ROOT

PATH = ROOT / "examples" / "landmarks.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, save_run, monkeypatch):
  """In a kernel of its own, on a run; it draws twice and exports."""
  save_run(tmp_path / "run", {4: 20.0})
  monkeypatch.setenv("C3_JAX_RUN", str(tmp_path / "run"))
  monkeypatch.setenv("PYTHONPATH", str(ROOT))
  monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
  notebook = nbformat.read(PATH, as_version=4)
  folder = {"metadata": {"path": os.fspath(PATH.parent)}}
  nbclient.NotebookClient(notebook, timeout=300, resources=folder).execute()
  outputs = [
    each for cell in notebook.cells for each in cell.get("outputs", [])
  ]
  assert sum("image/png" in each.get("data", {}) for each in outputs) == 2
  text = "".join(each.get("text", "") for each in outputs)
  assert "K = 10, 16 px, step 4" in text
  assert "differs from JAX by at most" in text


def test_what_is_kept_of_it_is_small():
  """The outputs are those of the quickstart, without errors or warnings."""
  notebook = nbformat.read(PATH, as_version=4)
  outputs = [
    each for cell in notebook.cells for each in cell.get("outputs", [])
  ]
  assert outputs and PATH.stat().st_size < 4e5
  assert not any(each.get("name") == "stderr" for each in outputs)
  assert not any(each.output_type == "error" for each in outputs)
