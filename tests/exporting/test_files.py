"""Exported files are those of the run, and replace nothing of others."""

import json
import re
import sys

import jax
import numpy as np
import pytest
import safetensors.numpy
from flax import traverse_util

from c3_jax import runs
from c3_jax.errors import UserError
from c3_jax.exporting import detector, files, onnx_model
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
  """A folder with a model in each format."""
  folder = tmp_path_factory.mktemp("exported")
  for kind in files.FORMATS:
    files.write(run, folder / f"model.{kind}")
  return folder


def landmarks(run, images):
  """Runs the network of the best checkpoint."""
  trained = runs.load_trained(run)
  apply = jax.jit(lambda x: trained.model.apply(*x, method="detect").points)
  return apply((trained.variables, (images / 255).astype(np.float32)))


@pytest.mark.slow
def test_the_pages_example_loads_stablehlo(run, exported, monkeypatch):
  """The code of docs/export.md, without this package, gives JAX's points."""
  page = (ROOT / "docs" / "export.md").read_text()
  codes = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
  (code,) = [code for code in codes if "jax" in code]
  assert "c3_jax" not in code and len(code.splitlines()) <= 20
  images = detector.random_images(3, 16, "uint8")
  monkeypatch.chdir(exported)
  names = {"images": images}
  exec(code, names)
  want = landmarks(run, images)
  np.testing.assert_allclose(names["points"], want, atol=2e-4)
  about = json.loads((exported / "model.stablehlo.json").read_text())
  assert names["points"].shape == (3, about["k"], 2)


@pytest.mark.slow
def test_safetensors_hold_the_checkpoint(run, tmp_path):
  """Every array, bit for bit, and the config it belongs to."""
  trained = runs.load_trained(run)
  path = tmp_path / "model.safetensors"
  files.write(run, path)
  found = safetensors.numpy.load_file(path)
  want = traverse_util.flatten_dict(dict(trained.variables), sep="/")
  assert set(found) == set(want)
  for name, array in want.items():
    np.testing.assert_array_equal(found[name], array)
  with safetensors.safe_open(path, "np") as file:
    config = json.loads(file.metadata()["config"])
  assert config == json.loads((run / "config.json").read_text())


@pytest.mark.slow
def test_a_card_has_the_numbers_of_its_step(run, tmp_path):
  """Errors of the exported checkpoint alone; else it says there are none."""
  report = {
    "step": 4,
    "n_test": 20,
    "normaliser": "distance of the eyes",
    "error": {"intercept": 12.345},
    "baseline": {"mean_shape": 30.5, "untrained": None},
  }
  (run / "eval").mkdir()
  (run / "eval" / "synthetic.json").write_text(json.dumps(report))
  for step in (4, 8):
    files.write(run, tmp_path / f"{step}.safetensors", step=step)
  right, wrong = (tmp_path / f"{x}.safetensors.md" for x in (4, 8))
  row = "| synthetic | 20 | distance of the eyes | 12.35 | - | 30.50 |"
  assert row in right.read_text().splitlines()
  assert "12.3" not in wrong.read_text()
  assert "no evaluation of step 8" in wrong.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("kind", files.FORMATS)
def test_a_file_that_differs_is_not_written(run, tmp_path, monkeypatch, kind):
  """One landmark off by a thousandth is refused; the folder stays empty."""
  real = detector.compare

  def compare(exported, expected, *arguments, **options):
    def moved(images):
      points, confidence = map(np.array, exported(images))
      points[0, 0, 0] += 2e-3
      return points, confidence

    return real(moved, expected, *arguments, **options)

  monkeypatch.setattr(detector, "compare", compare)
  with pytest.raises(UserError, match=f"the {kind} model differs"):
    files.write(run, tmp_path / f"a.{kind}")
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_only_its_own_files_are_replaced(run, exported):
  """An older model is; another's file, and a card with a licence, are not."""
  foreign = exported / "notes.onnx"
  foreign.write_text("About c3_jax.")
  with pytest.raises(UserError, match="notes.onnx exists"):
    files.write(run, foreign)
  assert foreign.read_text() == "About c3_jax."
  for kind in files.FORMATS:
    files.write(run, exported / f"model.{kind}")
  card = exported / "model.safetensors.md"
  text = card.read_text().replace("state them here.", "CC BY 4.0.")
  card.write_text(text)
  with pytest.raises(UserError, match="safetensors.md exists"):
    files.write(run, exported / "model.safetensors")
  assert card.read_text() == text
  with pytest.raises(UserError, match="a file of the run"):
    files.write(run, run / "eval" / "model.onnx", overwrite=True)


def test_a_missing_package_is_one_line(run, tmp_path, monkeypatch):
  """It names what to install, and nothing is written."""
  monkeypatch.setitem(sys.modules, "onnxruntime", None)
  with pytest.raises(UserError, match="pip install onnx onnxruntime"):
    files.write(run, tmp_path / "a.onnx")
  assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model", "model.pt", "model.onnx.bak"])
def test_an_unknown_ending_is_named(run, name):
  """With the endings there are; --format decides instead."""
  with pytest.raises(UserError, match=f"{name} does not end in .onnx"):
    files.format_of(name)
  assert files.format_of(name, "onnx") == "onnx"


def test_any_number_of_images(run):
  """None, one and many, each as alone."""
  model = onnx_model.load(files.dump(runs.load_trained(run), "onnx")[0])
  images = detector.random_images(5, 16, "uint8")
  points, _ = model(images)
  alone = [model(image[None])[0][0] for image in images]
  np.testing.assert_allclose(points, alone, atol=1e-6)
  assert model(images[:0])[0].shape == (0, 10, 2)
