"""Seconds from the start of a run to its first step, with a cache of programs.

  python -m benchmarks.startup --config=configs/synthetic.py [FLAGS OF main]

The run is started twice in workdirs of its own, the second time with the
compiled programs that the first has kept; each is stopped when its first step
is logged. CPU seconds (of all threads) are a second reading for machines that
others use.
"""

import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time


def start(folder, name, arguments, environment):
  """(seconds, CPU seconds) until a run has logged its first step."""
  workdir = folder / name
  before = resource.getrusage(resource.RUSAGE_CHILDREN)
  clock = time.monotonic()
  command = [sys.executable, "-m", "c3_jax.main", f"--workdir={workdir}"]
  with subprocess.Popen([*command, *arguments], env=environment) as run:
    log = workdir / "metrics.jsonl"
    while not (log.exists() and log.read_text()):
      if run.poll() is not None:
        sys.exit(f"the run ended with status {run.returncode}")
      time.sleep(0.05)
    seconds = time.monotonic() - clock
    run.terminate()
  after = resource.getrusage(resource.RUSAGE_CHILDREN)
  cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
  return seconds, cpu


def main():
  """Starts twice, prints both and their ratio."""
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    environment = os.environ | {"C3_JAX_CACHE": str(folder / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    times = [
      start(folder, name, sys.argv[1:], environment)
      for name in ("first", "second")
    ]
  for name, (seconds, cpu) in zip(("first", "second"), times):
    print(f"{name} start: {seconds:.1f} s to the first step, {cpu:.1f} CPU s")
  print(
    f"second / first: {times[1][0] / times[0][0]:.2f}, "
    f"CPU {times[1][1] / times[0][1]:.2f}"
  )


if __name__ == "__main__":
  main()
