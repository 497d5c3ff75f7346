"""Commands run as where some packages are not installed."""

import json
import os
import subprocess
import sys

import jax
import pytest

from tests.conftest import ROOT

# Runs command lines one after another, each in a fork.
DRIVER = """
import json, os, runpy, sys
for name in sys.argv[1:]:
  sys.modules[name] = None
import c3_jax.training.loop
for program, *arguments in json.load(sys.stdin):
  if not os.fork():
    os.dup2(1, 2)
    sys.argv = [program, *arguments]
    runpy.run_module(program, run_name="__main__", alter_sys=True)
  print("exit", os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


@pytest.fixture
def run_without():
  """A function that runs commands where packages cannot be imported.

  It takes the names of the packages and a list of [module, *arguments], and
  returns (outputs, statuses): what each command printed, and its exit status.
  """

  def run(packages, programs):
    done = subprocess.run(
      [sys.executable, "-W", "ignore", "-c", DRIVER, *packages],
      input=json.dumps(programs),
      text=True,
      cwd=ROOT,
      env=os.environ
      | {
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
      },
      capture_output=True,
    )
    # Each command's output, but the first's, follows the status before.
    first, *rest = done.stdout.split("exit ")
    statuses, others = zip(*(part.split("\n", 1) for part in rest))
    outputs = [first, *others[:-1]]
    return [x.strip() for x in outputs], [int(x) for x in statuses]

  return run
