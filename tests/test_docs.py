"""The README and the pages of docs/ name only what exists."""

import importlib.util
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))


def over(pages):
  """Parametrises a test over pages."""
  return pytest.mark.parametrize("page", pages, ids=lambda path: path.name)


each_page = over([README, *DOCS])


def links(page):
  """Lists the targets of a page's links and images, except to the web."""
  found = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
  return [link for link in found if "://" not in link]


def anchors(page):
  """Collects the anchors that GitHub gives to the headings of a page."""
  text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
  headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
  return {
    re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    for heading in headings
  }


def get_config(name, argument=""):
  """Calls configs/NAME.py with an argument."""
  path = ROOT / "configs" / f"{name}.py"
  spec = importlib.util.spec_from_file_location(name, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(argument)


@over([*sorted(ROOT.glob("*.md")), *DOCS])
def test_links_resolve(page):
  """To files of the repository and to headings in them."""
  for link in links(page):
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    assert target.exists(), link
    assert not anchor or anchor in anchors(target), link


@each_page
def test_modules_and_paths_exist(page):
  """`python -m MODULE`, and paths of the repository."""
  text = page.read_text()
  for module in re.findall(r"python -m\s+([\w.]+)", text):
    place = ROOT / module.replace(".", "/")
    files = place.with_suffix(".py"), place / "__main__.py"
    assert any(path.is_file() for path in files), module
  rooms = "c3_jax|tests|benchmarks|launch|docs"
  for path in re.findall(rf"(?<![\w/])(?:{rooms})/[\w./-]*\w", text):
    assert (ROOT / path).exists(), path


@each_page
def test_configs_take_their_arguments(page):
  """Also those that an installed package names without a path."""
  named = re.findall(
    r"(?:configs/|c3-jax train --config=)([a-z]\w*)(?:\.py)?(?::([\w=,+]+))?",
    page.read_text(),
  )
  for name, argument in named:
    assert get_config(name, argument).stages, (name, argument)


@each_page
def test_keys_exist(page):
  """`--config.KEY` is a key of the configs."""
  for key in re.findall(r"--config\.([\w.]+)", page.read_text()):
    node = get_config("folder")
    for part in key.split("."):
      assert part in node, key
      node = node[part]


@pytest.mark.slow
def test_python_examples_run(save_run, tmp_path, monkeypatch):
  """In order; the network alone gives what `predict` gives."""
  monkeypatch.chdir(tmp_path)
  for folder in ("runs", "photos"):
    (tmp_path / folder).mkdir()
  save_run(tmp_path / "runs" / "mine", {4: 20.0})
  rng = np.random.default_rng(0)
  image = Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8))
  image.save("image.jpg")
  image.save("photos/a.png")
  names = {}
  for page in (README, ROOT / "docs" / "predict.md"):
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
      exec(code, names)
  (found,) = names["model"].predict("image.jpg")
  points = names["frame"].coords_to_file(names["points"][0], (50, 40))
  np.testing.assert_allclose(points, found.points, atol=1e-3)


def test_pages_named_in_the_code_exist():
  """docs/PAGE in messages and docstrings."""
  for folder in ("c3_jax", "configs", "launch", "benchmarks"):
    for path in (ROOT / folder).rglob("*.[ps][yhb]*"):
      if path.suffix in (".py", ".sh", ".sbatch"):
        for name in re.findall(r"docs/\w+\.\w+", path.read_text()):
          assert (ROOT / name).exists(), f"{path}: {name}"


def test_the_readme_leads_to_every_page():
  """No page of docs/ is an orphan."""
  assert {ROOT / link.partition("#")[0] for link in links(README)} >= set(DOCS)


def test_the_readme_is_short():
  """It is a door, not a diary."""
  assert len(README.read_text().splitlines()) <= 150


def test_the_map_names_every_room_and_command():
  """Nothing in c3_jax/, and no folder of the repository, is left out."""
  text = README.read_text()
  map_ = text[text.index("## Map") : text.index("## Installation")]
  for room in (ROOT / "c3_jax").glob("*/__init__.py"):
    assert f"`c3_jax/{room.parent.name}/`" in map_, room
  for folder in ("configs", "launch", "tests", "benchmarks", "docs"):
    assert f"`{folder}/`" in map_, folder
  for command in (ROOT / "c3_jax").glob("[a-z]*.py"):
    assert command.stem == "errors" or f"`{command.stem}`" in map_, command
