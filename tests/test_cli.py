"""A user's mistake: one line that names it, exit code 2, nothing lost."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from c3_jax import build
from c3_jax.errors import UserError
from configs import folder


def command(*arguments):
  """Runs `python -m c3_jax.main`."""
  return subprocess.run(
    [sys.executable, "-m", "c3_jax.main", *arguments],
    capture_output=True,
    text=True,
    env=os.environ | {"JAX_PLATFORMS": "cpu"},
  )


@pytest.mark.parametrize(
  ("arguments", "named"),
  [
    (["--config=configs/synthetic.py:test", "--config.batchsize=4"], "batch"),
    (["--config=configs/synthetic.py:tset"], "tset"),
    (["--config=configs/none.py"], "none.py"),
    (["--config=configs/synthetic.py:test", "--mode=evil"], "mode"),
    (["--config=configs/folder.py:cpu"], "config.data.root"),
    (
      ["--config=configs/folder.py:cpu", "--config.data.root=/no/dir"],
      "/no/dir",
    ),
  ],
)
def test_mistakes_on_the_command_line(tmp_path, arguments, named):
  """Wrong keys, arguments, files and folders."""
  workdir = tmp_path / "work"
  done = command(*arguments, f"--workdir={workdir}")
  assert done.returncode == 2
  (line,) = done.stderr.strip().splitlines()
  assert named in line
  assert not workdir.exists()


def picture(path):
  """Writes a small JPEG."""
  rng = np.random.default_rng(len(str(path)))
  Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
  """A folder of six pictures."""
  (tmp_path / "images").mkdir()
  for i in range(6):
    picture(tmp_path / "images" / f"{i}.jpg")
  return tmp_path


def load(root):
  """Loads the folder as a run would."""
  config = folder.get_config("test").unlock()
  config.data.root = str(root)
  return build.load_splits(config)


@pytest.mark.parametrize(
  ("csv", "named"),
  [
    ("file,split,x1\n0.jpg,train,3\n", "y1"),
    ("file,x1,y1\n0.jpg,3,3\n", "split"),
    ("file,split,x1,y1\nnot_there.jpg,train,3,3\n", "not_there.jpg"),
    ("file,split,x1,y1\n0.jpg,train,3,three\n", "three"),
  ],
)
def test_mistakes_in_landmarks_csv(root, csv, named):
  """The message names the column, file or cell."""
  (root / "landmarks.csv").write_text(csv)
  with pytest.raises(UserError, match=named) as caught:
    load(root)
  assert len(str(caught.value).splitlines()) == 1


def test_broken_pictures(root, caplog):
  """One truncated and one empty file are skipped and named; all is an end."""
  files = sorted((root / "images").iterdir())
  files[1].write_bytes(files[1].read_bytes()[:200])
  files[2].write_bytes(b"")
  with caplog.at_level("WARNING", logger="c3_jax"):
    splits = load(root)
  assert splits.train.names == ["0.jpg", "3.jpg", "4.jpg", "5.jpg"]
  assert "1.jpg" in caplog.text and "2.jpg" in caplog.text
  for file in files:
    file.write_bytes(b"")
  with pytest.raises(UserError, match="0.jpg"):
    load(root)


def test_folder_without_pictures(tmp_path):
  """An empty folder is named."""
  with pytest.raises(UserError, match=str(tmp_path)):
    load(tmp_path)
