"""One process at a time trains in a folder; who is gone holds nothing."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from c3_jax.errors import UserError
from c3_jax.runs import Lock, lock


@pytest.fixture
def other():
  """A process that takes the lock of a folder and holds it: a function."""
  started = []

  def take(folder):
    code = (
      "import sys, time\nfrom c3_jax.runs import Lock\n"
      "with Lock(sys.argv[1]):\n  print(flush=True)\n  time.sleep(60)"
    )
    arguments = [sys.executable, "-c", code, str(folder)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE)
    started.append(process)
    assert process.stdout.readline()
    return process

  yield take
  for process in started:
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.slow
def test_a_living_owner_is_named_and_a_killed_one_replaced(
  other, tmp_path, caplog
):
  """The second is refused in one line; after SIGKILL the folder is free."""
  owner = other(tmp_path)
  before = (tmp_path / "lock").read_bytes()
  with pytest.raises(UserError, match=f"in use by process {owner.pid} on "):
    with Lock(tmp_path):
      pass
  assert (tmp_path / "lock").read_bytes() == before
  owner.kill()
  owner.wait()
  with Lock(tmp_path) as mine:
    assert f"left by process {owner.pid} on" in caplog.text
    mine.check()
  assert not list(tmp_path.iterdir())


def test_two_of_one_process_exclude_each_other(tmp_path):
  """The lock belongs to a run, not to a process; it ends with its block."""
  with Lock(tmp_path), pytest.raises(UserError, match="wait for its end"):
    with Lock(tmp_path):
      pass
  with Lock(tmp_path):
    pass


def test_a_number_that_another_process_got_is_not_the_owner(tmp_path, caplog):
  """After a restart of the machine a process number means another process."""
  owner = {"host": os.uname().nodename, "pid": os.getppid(), "born": "1"}
  text = json.dumps(owner | {"since": "2020"})
  (tmp_path / "lock").write_text(text)
  with Lock(tmp_path):
    assert "ended unexpectedly; taking over" in caplog.text


@pytest.mark.parametrize("alive", [False, True])
def test_an_owner_on_another_host_is_known_by_signs_of_life(
  tmp_path, monkeypatch, alive
):
  """Where locks do not reach: whose file is touched lives, an old one not."""
  monkeypatch.setattr(lock, "PATIENCE", 0)
  path = tmp_path / "lock"
  owner = {"host": "elsewhere", "pid": 7, "born": "1", "since": "2020"}
  path.write_text(json.dumps(owner))
  if alive:
    touch = lambda _: os.utime(path, (time.time() + 5,) * 2)  # noqa: E731
    monkeypatch.setattr(time, "sleep", touch)
    with pytest.raises(UserError, match="process 7 on elsewhere since 2020"):
      with Lock(tmp_path):
        pass
    assert json.loads(path.read_text()) == owner
  else:
    with Lock(tmp_path):
      pass


def test_owners_give_signs_of_life(tmp_path, monkeypatch):
  """While the block lasts, the file stays young."""
  monkeypatch.setattr(lock, "BEAT", 0.01)
  with Lock(tmp_path):
    os.utime(tmp_path / "lock", (0, 0))
    end = time.monotonic() + 10
    while not (tmp_path / "lock").stat().st_mtime:
      assert time.monotonic() < end
      time.sleep(0.01)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"host": 1}', "null"])
def test_a_file_that_names_nobody_holds_nothing(tmp_path, text):
  """A kill within the first write leaves an empty file."""
  (tmp_path / "lock").write_text(text)
  with Lock(tmp_path):
    pass


def test_a_folder_that_went_is_noticed(tmp_path):
  """Removed, or removed and made again: what is written is not safe there."""
  folder = tmp_path / "run"
  for again in (False, True):
    folder.mkdir()
    with Lock(folder) as mine:
      (folder / "lock").unlink()
      folder.rmdir()
      if again:
        folder.mkdir()
        (folder / "lock").touch()
      with pytest.raises(UserError, match="was removed or replaced"):
        mine.check()


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
  """A name that is a file, as a disk that is read-only, is no traceback."""
  (tmp_path / "lock").mkdir()
  with pytest.raises(UserError, match="lock cannot be written"):
    with Lock(tmp_path):
      pass


@pytest.mark.parametrize(
  "text", [b"", b"\xff", b"[" * 9000, b"[]", b'{"host": 1}', b'"x"'], ids=repr
)
def test_a_damaged_lock_names_nobody(tmp_path, text):
  """A file without an owner, whatever it holds, is taken."""
  (tmp_path / "lock").write_bytes(text)
  with Lock(tmp_path):
    assert json.loads((tmp_path / "lock").read_bytes())["pid"] == os.getpid()


def test_the_birth_of_a_process_of_any_name(tmp_path):
  """Its name may hold brackets, and bytes that are no text."""
  program = os.fsencode(tmp_path) + b"/)caf\xe9 (2"
  shutil.copy("/bin/sleep", program)
  with subprocess.Popen([program, "60"]) as process:
    assert lock._born(process.pid).isdecimal()
    process.kill()
