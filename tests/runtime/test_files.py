"""Regular files alone are read; files are written whole or not at all."""

import os
import threading

import pytest

from c3_jax.runtime import files


@pytest.mark.parametrize("kind", ["pipe", "device", "link", "folder", "name"])
def test_what_is_no_file_is_refused_at_once(tmp_path, kind):
  """A pipe without a writer, /dev/zero, a link to it, a folder, a zero byte."""
  path = tmp_path / "x.jpg"
  match kind:
    case "pipe":
      os.mkfifo(path)
    case "link":
      path.symlink_to("/dev/zero")
    case "folder":
      path.mkdir()
    case "device":
      path = "/dev/zero"
    case "name":
      path = "a\0b"
  done = []

  def read():
    with pytest.raises(OSError, match="not a file|null (byte|character)"):
      files.read_bytes(path)
    done.append(True)

  thread = threading.Thread(target=read, daemon=True)
  thread.start()
  thread.join(5)
  assert done


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
  """A file of holes has a size and takes no space: 1 TiB."""
  path = tmp_path / "large.json"
  with open(path, "wb") as file:
    file.truncate(2**40)
  with pytest.raises(OSError, match="more than 1,073,741,824"):
    files.read_bytes(path)


def test_a_regular_file_is_read_as_by_open(tmp_path):
  """Byte for byte; a link to a file is that file."""
  (tmp_path / "a").write_bytes(bytes(range(256)))
  (tmp_path / "b").symlink_to("a")
  assert files.read_bytes(tmp_path / "b") == bytes(range(256))
  with pytest.raises(FileNotFoundError):
    files.read_bytes(tmp_path / "none")


def test_parts_of_a_killed_process_go_and_those_of_a_live_one_stay(tmp_path):
  """A folder of parts is removed where nobody holds it any more."""
  left = tmp_path / f".{'0' * 32}.parts"
  (left / "page").mkdir(parents=True)
  (tmp_path / ".mine.parts").mkdir()
  with files.part_folder(tmp_path) as one:
    assert not left.exists()
    with files.part_folder(tmp_path) as other:
      (one / "a").touch()
      assert one.is_dir() and other.is_dir()
    assert one.is_dir() and not other.exists()
  assert [path.name for path in tmp_path.iterdir()] == [".mine.parts"]
