"""Commands that are stopped by a signal."""

import os
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PROGRAM = """
import sys, time
from c3_jax.runtime import cli, files

def program():
  with files.write_whole(sys.argv[0] + ".out", "w") as file:
    file.write("half")
    print("ready", flush=True)
    time.sleep(60)

cli.main(program, lambda: None)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_command_says_one_line_and_leaves_nothing(tmp_path, number):
  """Exit code 130 or 143, as of shells; what was half-written is gone."""
  script = tmp_path / "script.py"
  script.write_text(PROGRAM)
  process = subprocess.Popen(
    [sys.executable, script],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
  )
  assert process.stdout.readline() == "ready\n"
  process.send_signal(number)
  _, text = process.communicate(timeout=60)
  assert process.returncode == 128 + number
  assert text.startswith(f"c3_jax: stopped by {number.name};")
  assert text.count("\n") == 1
  assert [path.name for path in tmp_path.iterdir()] == ["script.py"]
