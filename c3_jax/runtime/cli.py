"""Command lines: absl flags; a mistake is one line and exit code 2."""

import atexit
import errno
import functools
import logging
import os
import sys

import absl.logging
from absl import app, flags
from ml_collections import config_flags

from c3_jax.errors import UserError
from c3_jax.runtime import compilation, paths, screen, stop
from c3_jax.settings import find

REMEDIES = {
  errno.ENOSPC: "free some space and start again",
  errno.EDQUOT: "free some space and start again",
  errno.EROFS: "name a place that can be written",
  errno.EACCES: "name a place that is yours, or ask its owner",
  errno.EPERM: "name a place that is yours, or ask its owner",
}

# Flags that are defined here are listed under the command in its --help.
flags.disclaim_key_flags()


def main(program, define_flags, *, required=()):
  """Parses the flags and runs a program, as `python -m c3_jax.X` does.

  Args:
    program: function that reads its flags; returns an exit status, None for 0.
    define_flags: function that defines these flags.
    required: names of the flags that must be given.
  """
  compilation.choose_convolutions()
  define_flags()
  flags.mark_flags_as_required(list(required))
  app.run(functools.partial(_run_and_leave, program), flags_parser=parse)


def _run_and_leave(program, argv):
  """Calls `run`; a program that was stopped does not end in Python's way.

  What JAX and others still compute on their threads would crash that.
  """
  status = run(program, argv)
  if status in stop.STATUSES:
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(status)
  return status


class ConfigParser(flags.ArgumentParser):
  """Reads the value of `--config=`, see `settings.find.load`."""

  def parse(self, argument):
    return find.load(paths.local(argument, "--config"))


class PathParser(flags.ArgumentParser):
  """Reads the value of a flag that names a file or folder."""

  def __init__(self, name):
    self._name = name

  def parse(self, argument):
    return paths.local(argument, f"--{self._name}")


def define_config():
  """Defines `--config=`, whose keys `--config.KEY=` changes."""
  config_flags.DEFINE_config_file(
    "config", None, "Config, NAME or configs/NAME.py, and [:arguments]."
  )
  # ml_collections takes paths of files alone.
  flags.FLAGS["config"].parser = ConfigParser()


def define_path(name, default, about):
  """Defines a flag that names a file or folder, see `paths.local`."""
  flags.DEFINE(PathParser(name), name, default, about)


def define_out(about, default=None):
  """Defines `--out=`, a file or folder to write, and `--overwrite`."""
  define_path("out", default, about)
  flags.DEFINE_bool(
    "overwrite", False, "Replace what this command did not write, too."
  )


def run(program, argv):
  """Calls a program and returns its exit status; no argument may be left."""
  if len(argv) > 1:
    return fail(f"unknown argument {argv[1]!r}; every option starts with --.")
  log_to_stderr()
  # A name that the terminal's encoding lacks is no reason to stop.
  if sys.stdout:
    sys.stdout.reconfigure(errors="backslashreplace")
  # Among several processes JAX listens instead; while it trains, the loop does.
  stop.by_exception()
  try:
    if "config" in flags.FLAGS:
      paths.expand(flags.FLAGS.config)
    status = program()
    if sys.stdout:
      sys.stdout.flush()
    stop.at_once()
    return status
  except KeyboardInterrupt as error:
    stop.ignored()
    number = (error.args or stop.SIGNALS)[0]
    return fail(stop.words(number), status=128 + number)
  except UserError as error:
    return fail(error)
  except BrokenPipeError:  # Of `| head`, say: nobody reads on.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return fail("the program that reads the output has ended.")
  except OSError as error:
    return fail(_words(error))
  except MemoryError:
    return fail("there is not enough memory: take smaller batches or images.")


def _words(error):
  """Says what an OSError is about, and what to do where that is known."""
  if error.errno is None or not error.strerror:  # Orbax's have pages.
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
  place = f"{error.filename}: " if error.filename else ""
  remedy = REMEDIES.get(error.errno)
  return f"{place}{error.strerror}{f': {remedy}' if remedy else ''}."


def log_to_stderr():
  """Shows the log of c3_jax without the libraries' (Orbax fills screens)."""
  absl.logging.set_verbosity(absl.logging.WARNING)
  handler = logging.StreamHandler()
  handler.setFormatter(screen.Formatter())
  logger = logging.getLogger("c3_jax")
  logger.addHandler(handler)
  logger.setLevel(logging.INFO)
  logger.propagate = False


def fail(message, *, status=2):
  """Prints one line on stderr and returns the exit status."""
  print(f"c3_jax: {screen.plain(message)}", file=sys.stderr, flush=True)
  return status


def parse(argv):
  """Parses absl flags; an error is one line and exit code 2."""
  try:
    return flags.FLAGS(argv)
  except (
    flags.Error,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    OSError,
  ) as error:
    # For an unknown key, ml_collections raises an AttributeError around a
    # KeyError, whose text is a repr.
    if error.args and isinstance(error.args[0], KeyError):
      (error,) = error.args
      hint = " ".join(str(error.args[0]).splitlines())
      sys.exit(fail(f"the config has no key {hint}"))
    sys.exit(fail(str(error).strip().splitlines()[0]))
