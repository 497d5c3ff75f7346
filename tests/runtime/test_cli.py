"""Commands that are stopped by a signal, or by their surroundings."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PROGRAM = """
import os, sys, time
from c3_jax.runtime import cli, files

class Dropped:
  def __del__(self):
    print("ready", flush=True)
    time.sleep(1)

def block():
  with files.write_whole(sys.argv[0] + ".out", "w") as file:
    file.write("half")
    print("ready", flush=True)
    time.sleep(60)

def destructor():
  Dropped()
  time.sleep(60)

def full():
  with files.write_whole("/dev/full") as file:
    file.write(b"x")

def latin():
  print("caf\\u00e9 \\udce9")

cli.main(globals()[os.environ["WHAT"]], lambda: None)
"""


@pytest.fixture
def start(tmp_path):
  """Function that starts PROGRAM, and an environment: a Popen."""
  script = tmp_path / "script.py"
  script.write_text(PROGRAM)

  def started(what, **environment):
    environment = {"PYTHONPATH": str(ROOT), "WHAT": what} | environment
    return subprocess.Popen(
      [sys.executable, script],
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
      env=os.environ | environment,
    )

  return started


@pytest.mark.slow
@pytest.mark.parametrize(
  ("what", "number"),
  [
    ("block", signal.SIGINT),
    ("block", signal.SIGTERM),
    ("destructor", signal.SIGINT),
  ],
)
def test_a_stopped_command_says_one_line_and_leaves_nothing(
  start, tmp_path, number, what
):
  """Exit code 130 or 143, as of shells; what was half-written is gone.

  So it is where the signal comes while Python drops exceptions.
  """
  process = start(what)
  assert process.stdout.readline() == "ready\n"
  process.send_signal(number)
  _, text = process.communicate(timeout=60)
  assert process.returncode == 128 + number
  assert text.startswith(f"c3_jax: stopped by {number.name};")
  assert text.count("\n") == 1
  assert [path.name for path in tmp_path.iterdir()] == ["script.py"]


@pytest.mark.slow
@pytest.mark.parametrize(
  ("command", "number"),
  [
    (["c3_jax.predict"], signal.SIGINT),
    (["c3_jax", "predict"], signal.SIGTERM),
  ],
  ids=str,
)
def test_a_command_is_stopped_while_it_is_imported(command, number):
  """It says the same line, before it has read a flag."""
  process = subprocess.Popen(
    [sys.executable, "-v", "-m", *command],
    stderr=subprocess.PIPE,
    text=True,
    errors="replace",
    cwd=ROOT,
  )
  for line in process.stderr:
    if line.startswith("import 'absl"):
      break
  process.send_signal(number)
  *_, last = process.communicate(timeout=60)[1].splitlines()
  assert process.returncode == 128 + number
  assert last.startswith(f"c3_jax: stopped by {number.name};")


@pytest.mark.slow
def test_a_full_disk_is_one_line_that_names_the_file(start):
  """It says what to do, too."""
  process = start("full")
  _, text = process.communicate(timeout=60)
  assert process.returncode == 2
  assert text == (
    "c3_jax: /dev/full: No space left on device: free some space and start "
    "again.\n"
  )


@pytest.mark.slow
def test_a_name_that_the_terminal_cannot_show_is_escaped(start):
  """Neither an encoding without the letter nor a stray byte ends a command."""
  process = start("latin", PYTHONIOENCODING="ascii", LC_ALL="C")
  out, text = process.communicate(timeout=60)
  assert (process.returncode, text) == (0, "")
  assert out == "caf\\xe9 \\udce9\n"


@pytest.mark.slow
def test_a_reader_that_ends_is_one_line(start):
  """As `| head` does: no traceback when the output is closed."""
  with start("latin") as process:
    process.stdout.close()
    text = process.stderr.read()
  assert process.returncode == 2
  assert text.startswith("c3_jax: ") and text.count("\n") == 1
