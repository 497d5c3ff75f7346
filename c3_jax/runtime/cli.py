"""What every command line shares: absl's flags, one line for a mistake.

A user's mistake, absl's own flag errors among them, is one line on stderr and
exit code 2.
"""

import functools
import logging
import pathlib
import sys

import absl.logging
from absl import app, flags

from c3_jax.errors import UserError
from c3_jax.runtime import compilation


def main(program, define_flags, *, required=()):
  """Parses the flags and runs a program, as `python -m c3_jax.X` does.

  Args:
    define_flags: function without arguments that defines the program's flags.
    program: function without arguments that reads its flags; returns an exit
      status, None for 0.
    required: names of the flags that must be given.
  """
  compilation.choose_convolutions()
  define_flags()
  flags.mark_flags_as_required(list(required))
  app.run(functools.partial(run, program), flags_parser=parse)


def run(program, argv):
  """Calls the program: the exit status.

  Args:
    program: see `main`.
    argv: what absl's flags left of the command line, the name first.
  """
  if len(argv) > 1:
    return fail(f"unknown argument {argv[1]!r}; every option starts with --.")
  log_to_stderr()
  try:
    return program()
  except UserError as error:
    return fail(error)
  except OSError as error:
    return fail(str(error).strip().splitlines()[-1])


def check_out(out):
  """Refuses a file to write before hours of work, not after.

  Raises:
    UserError: --out is a folder, or is not in one.
  """
  out = pathlib.Path(out)
  if out.is_dir() or not out.parent.is_dir():
    raise UserError(
      f"--out={out} cannot be written: name a file in a folder that exists."
    )


def log_to_stderr():
  """Shows c3_jax's own log, not the libraries' (Orbax alone fills screens)."""
  absl.logging.set_verbosity(absl.logging.WARNING)
  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
  logger = logging.getLogger("c3_jax")
  logger.addHandler(handler)
  logger.setLevel(logging.INFO)
  logger.propagate = False


def fail(message, *, status=2):
  """Prints one line and gives the exit status."""
  print(f"c3_jax: {message}", file=sys.stderr, flush=True)
  return status


def parse(argv):
  """absl's flags; their errors, too, are one line and exit 2."""
  try:
    return flags.FLAGS(argv)
  except (
    flags.Error,
    UserError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    OSError,
  ) as error:
    # An unknown key of a config is a KeyError, whose text is a repr, inside an
    # AttributeError.
    if error.args and isinstance(error.args[0], KeyError):
      (error,) = error.args
      hint = " ".join(str(error.args[0]).splitlines())
      sys.exit(fail(f"the config has no key {hint}"))
    lines = str(error).strip().splitlines()
    message = lines[0]
    # ml_collections wraps what a config file raises into its traceback, which
    # ends with "ValueError: " and the message.
    if any(line.startswith("Traceback") for line in lines):
      message = lines[-1].partition(": ")[2]
    sys.exit(fail(message))
