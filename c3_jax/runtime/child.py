"""Readers in a process of their own: a damaged file may crash a library."""

import subprocess
import sys


def run(program, *arguments, timeout=None):
  """Runs a program, the text of one in Python: bytes, what it printed.

  Args:
    program: uses installed packages alone.
    *arguments: texts or paths, its `sys.argv[1:]`.
    timeout: seconds, or None.

  Raises:
    ValueError: says how it ended, if that was not well.
  """
  try:
    done = subprocess.run(
      [sys.executable, "-I", "-c", program, *map(str, arguments)],
      capture_output=True,
      timeout=timeout,
    )
  except subprocess.TimeoutExpired as error:
    raise ValueError(f"its reader took more than {timeout} s") from error
  if done.returncode < 0:
    raise ValueError(f"its reader ended by signal {-done.returncode}")
  if done.returncode:
    lines = done.stderr.decode(errors="replace").splitlines()
    raise ValueError((lines or ["its reader failed"])[-1])
  return done.stdout
