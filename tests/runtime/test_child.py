"""Programs in a process of their own, which may end in any way."""

import pytest

from c3_jax.runtime import child


def test_what_it_prints_comes_back():
  """Byte for byte, with its arguments as they are."""
  program = (
    "import sys\nsys.stdout.buffer.write(sys.argv[1].encode() + b'\\xff')"
  )
  assert child.run(program, "a 'b\"") == b"a 'b\"\xff"


@pytest.mark.parametrize(
  ("program", "words"),
  [
    ("import os; os.kill(os.getpid(), 11)", "ended by signal 11"),
    ("raise KeyError('gt')", "KeyError: 'gt'"),
    ("raise SystemExit(3)", "its reader failed"),
  ],
)
def test_how_it_ended_is_a_line(program, words):
  """A signal, an exception, a status: a ValueError."""
  with pytest.raises(ValueError, match=words) as error:
    child.run(program)
  assert "\n" not in str(error.value)


def test_an_endless_one_is_ended():
  """It is not waited for."""
  with pytest.raises(ValueError, match=r"took more than 0\.2 s"):
    child.run("while True: pass", timeout=0.2)
