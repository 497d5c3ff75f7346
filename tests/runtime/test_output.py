"""What a command may replace with its output."""

import os
import stat
import threading

import pytest

from c3_jax.errors import UserError
from c3_jax.runtime.output import Output, begins


def ours(path):
  """Files of ours have a mark in front."""
  return begins(path, rb"ours\n")


@pytest.fixture
def place(tmp_path):
  """A folder with a run, and files of ours and of others."""
  (tmp_path / "run" / "checkpoints" / "8").mkdir(parents=True)
  (tmp_path / "run" / "config.json").write_text("{}")
  (tmp_path / "mine.csv").write_text("ours\n1\n")
  (tmp_path / "theirs.csv").write_text("file,split\n")
  (tmp_path / "empty.csv").touch()
  (tmp_path / "data").mkdir()
  (tmp_path / "data" / "list.txt").write_text("a list")
  return tmp_path


def write(path, **options):
  """Writes a file of ours."""
  with Output(path, ours, **options).open("w") as file:
    file.write("ours\nnew\n")


@pytest.mark.parametrize("name", ["mine.csv", "empty.csv", "new.csv"])
def test_what_loses_nothing_is_written(place, name):
  """A new file, an empty one, an earlier output: again and again."""
  for _ in range(2):
    write(place / name)
    assert (place / name).read_text() == "ours\nnew\n"


@pytest.mark.parametrize(
  ("name", "overwrite", "match"),
  [
    ("theirs.csv", False, "did not write it"),
    ("data/list.txt", True, "is read by this command"),
    ("input.csv", True, "is read by this command"),
    ("hard.csv", True, "is read by this command"),
    ("link.csv", False, "did not write it"),
    ("run/config.json", True, "is a file of the run"),
    ("run/checkpoints/8/new", True, "is a file of the run"),
    ("run/eval/new.json", True, "is not|does not|in a folder that exists"),
    ("run/metrics.jsonl", True, "is a file of the run"),
    ("data", True, "in a folder that exists"),
    ("none/a.csv", True, "in a folder that exists"),
  ],
)
def test_what_would_be_lost_is_refused(place, name, overwrite, match):
  """Inputs, links to others' files, files of a run: nothing changes."""
  (place / "input.csv").write_text("ours\n, but an input")
  os.link(place / "input.csv", place / "hard.csv")
  (place / "link.csv").symlink_to("theirs.csv")

  def snapshot():
    found = (path for path in place.rglob("*") if path.is_file())
    return {path: path.read_bytes() for path in found}

  before = snapshot()
  inputs = [place / "input.csv", place / "data", place / "missing", ""]
  with pytest.raises(UserError, match=match):
    write(place / name, inputs=inputs, overwrite=overwrite)
  assert snapshot() == before


def test_overwrite_replaces_what_is_neither_input_nor_run(place):
  """With the flag, another's file is replaced; its permissions stay."""
  (place / "theirs.csv").chmod(0o640)
  write(place / "theirs.csv", overwrite=True)
  assert (place / "theirs.csv").read_text() == "ours\nnew\n"
  assert stat.S_IMODE((place / "theirs.csv").stat().st_mode) == 0o640


def test_pipes_are_written_in_place(place):
  """The reader gets the text, and the pipe stays one."""
  os.mkfifo(place / "pipe")
  got = []
  reader = threading.Thread(
    target=lambda: got.append((place / "pipe").read_text()), daemon=True
  )
  reader.start()
  write(place / "pipe")
  reader.join(5)
  assert got == ["ours\nnew\n"]
  assert stat.S_ISFIFO((place / "pipe").stat().st_mode)


def test_what_appears_meanwhile_stays(place):
  """Another's file that comes after the first check is not replaced."""
  output = Output(place / "late.csv", ours)
  output.check()
  (place / "late.csv").write_text("theirs")
  with pytest.raises(UserError, match="did not write it"), output.open("w"):
    pass
  assert (place / "late.csv").read_text() == "theirs"
