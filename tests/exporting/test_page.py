"""The web page finds in a real browser what predict finds."""

import csv
import json
import os
import pathlib

import numpy as np
import pytest
from PIL import Image

import c3_jax
from c3_jax.errors import UserError
from c3_jax.exporting import page
from tests.exporting import browser

# As the frame, enlarged a little and a lot, averaged by whole numbers and by
# others, tall and wide.
SIZES = [(20, 20), (18, 17), (16, 16), (8, 5), (40, 40), (60, 80), (97, 41)]
SIZES += [(300, 200), (640, 480), (25, 90)]


@pytest.fixture(scope="module")
def runtime():
  """The folder of onnxruntime-web, of the environment or kept; or skips."""
  place = os.environ.get("C3_JAX_ORT", "")
  kept = page.kept_folder()
  if not place and not kept.is_dir():
    pytest.skip(f"no {page.PACKAGE} in {kept}; set C3_JAX_ORT to its folder")
  return place or str(kept)


@pytest.mark.slow
def test_a_browser_finds_what_predict_finds(run, runtime, tmp_path):
  """Images of many sizes, a broken one, and the camera; nothing leaves it."""
  if not browser.find():
    pytest.skip("no Chromium; install the package chromium")
  folder = tmp_path / "page"
  page.write(run, folder, ort=runtime)
  size = sum(path.stat().st_size for path in folder.iterdir())
  assert size < 20e6
  (folder / "given").mkdir()
  rng = np.random.default_rng(0)
  names = [f"{i}, {w} x {h}.png" for i, (w, h) in enumerate(SIZES)]
  for name, (width, height) in zip(names, SIZES, strict=True):
    coarse = rng.integers(0, 256, (6, 6, 3), np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.BICUBIC)
    image.save(folder / "given" / name)
  (folder / "given" / "broken.png").write_text("no image")
  report, requests, console = browser.visit(
    folder, [*names, "broken.png"], tmp_path / "profile"
  )
  assert report["errors"] == console == []
  assert "broken.png cannot be read as an image." in report["lines"]
  assert report["ready"] + report["first"] < 30  # 3 s on an idle machine.

  _, *rows = csv.reader(report["csv"].splitlines())
  assert [row[0] for row in rows] == names
  found = c3_jax.load(run).predict([folder / "given" / x for x in names])
  content = json.loads(report["coco"])
  for row, each, (width, height), entry, image in zip(
    rows, found, SIZES, content["annotations"], content["images"], strict=True
  ):
    numbers = np.array(row[1:], float)
    side = min(width, height) * 16 / 20
    # The file has three decimals.
    near = 1e-4 * side + 5.1e-4
    points = numbers[:20].reshape(10, 2)
    np.testing.assert_allclose(points, each.points, atol=near)
    np.testing.assert_allclose(numbers[20:], each.confidence, atol=2e-4)
    keypoints = np.reshape(entry["keypoints"], (10, 3))
    np.testing.assert_allclose(keypoints[:, :2], points, atol=1e-9)
    assert (image["width"], image["height"]) == (width, height)
    assert image["file_name"] == row[0]

  *_, last = csv.reader(report["with_camera"].splitlines())
  assert last[0] == "camera_1.png" and len(last) == len(rows[0])
  assert report["left"] == 0
  # Of the page; the images are what the test gives it.
  known = {path.name for path in folder.iterdir()} | {"favicon.ico"}
  for request in requests:
    method, path = request.split(" ", 1)
    name = path.removeprefix("/").partition("?")[0]
    assert name == "report" or name.startswith("given/") or name in known
    assert method == ("POST" if name == "report" else "GET")


def test_a_visible_keypoint_is_that_of_predict():
  """The page and the COCO files of predict share the rule and the form."""
  from c3_jax.data import coco

  text = (page.SOURCE / "tables.js").read_text()
  assert f"const SEEN = {coco.SEEN};" in text
  document = coco.Document(["l1"])
  document.add("a", (4, 4), np.ones((1, 2)), np.ones(1))
  content = document.content()
  for part in ("annotations", "images", "categories"):
    for key in content[part][0]:
      assert f"{key}:" in text or f"{key}," in text, key
  assert coco.Document.INFO["description"] in text


def test_the_page_names_no_other_address():
  """Neither a script, a style, a font nor an image comes from elsewhere."""
  for path in page.SOURCE.iterdir():
    assert "//" not in path.read_text().replace("// ", ""), path
  index = (page.SOURCE / "index.html").read_text()
  assert "default-src 'none'" in index
  assert "connect-src 'self'" in index


def test_a_folder_with_other_files_is_left_alone(run, tmp_path):
  """One that is no page, a file, below a file, or the run: one line each."""
  (tmp_path / "mine").mkdir()
  (tmp_path / "mine" / "index.html").write_text("my own page")
  file = tmp_path / "file"
  file.write_text("")
  for folder, why in (
    (tmp_path / "mine", "has files that are of no older page"),
    (file, "is not a folder"),
    (file / "below", "is not a folder"),
    (run, "holds the run"),
    (run.parent, "holds the run"),
    (run / "checkpoints" / "page", "is of the run"),
  ):
    with pytest.raises(UserError, match=why) as caught:
      page.write(run, folder)
    assert str(folder) in str(caught.value)
  assert (tmp_path / "mine" / "index.html").read_text() == "my own page"


def test_another_version_of_the_runtime_is_refused(run, tmp_path):
  """By its content: the folder of the page is not even made."""
  for name in page.RUNTIME:
    (tmp_path / name).write_text("another")
  with pytest.raises(UserError, match="npm pack onnxruntime-web@"):
    page.write(run, tmp_path / "page", ort=str(tmp_path))
  assert not (tmp_path / "page").exists()


@pytest.mark.parametrize(
  "npm", [None, "exit 1", "", "echo cut > a.tgz"], ids=repr
)
def test_without_npm_the_message_says_what_to_do(tmp_path, monkeypatch, npm):
  """Where nothing is kept and npm gets nothing sound, a line names --ort."""
  if npm is not None:
    (tmp_path / "npm").write_text(f"#!/bin/sh\n{npm}\n")
    (tmp_path / "npm").chmod(0o755)
  monkeypatch.setenv("C3_JAX_CACHE", str(tmp_path / "cache"))
  monkeypatch.setenv("PATH", str(tmp_path))
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match="--ort"):
    page.find_runtime()
  kept = [x for x in pathlib.Path(tmp_path / "cache").rglob("*") if x.is_file()]
  assert not kept


def test_a_page_replaces_an_older_one(run, tmp_path, monkeypatch):
  """The whole folder appears at once; later files in it are kept."""
  monkeypatch.setattr(
    page, "find_runtime", lambda ort: dict.fromkeys(page.RUNTIME, b"")
  )
  folder = tmp_path / "deep" / "page"
  page.write(run, folder)
  names = {path.name for path in folder.iterdir()}
  sources = {path.name for path in page.SOURCE.iterdir()}
  assert names == sources | {"model.onnx", "model.json", *page.RUNTIME}
  (folder / "mine.txt").write_text("mine")
  page.write(run, folder, step=8)
  assert json.loads((folder / "model.json").read_text())["step"] == 8
  assert {path.name for path in folder.iterdir()} == names | {"mine.txt"}
  assert [path.name for path in folder.parent.iterdir()] == ["page"]


def test_a_disk_that_fills_leaves_no_page(run, tmp_path, monkeypatch):
  """A folder that could not be written is not there, and named."""

  def fail(path, data):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(
    page, "find_runtime", lambda ort: dict.fromkeys(page.RUNTIME, b"")
  )
  monkeypatch.setattr(pathlib.Path, "write_bytes", fail)
  with pytest.raises(UserError, match="page cannot be written .No space"):
    page.write(run, tmp_path / "page")
  assert not list(tmp_path.iterdir())
