"""Gives damaged and hostile files to everything that reads files.

  python -m benchmarks.fuzz --out=benchmarks/fuzz.json

Sound files of every kind are changed at random: bytes flipped, cut out,
repeated; numbers replaced by NaN, infinity, huge ones; parts of JSON and arrays
by others of other types and lengths. Each goes through its reader in a child
process with a watchdog. A file may be read, or refused by a `UserError` or an
`OSError`; everything else is a fault: another exception, a hang, a crash, a
number that is not finite where it was read, or a changed file. Started again,
it goes on after the inputs that its file already has.
"""

import argparse
import concurrent.futures
import hashlib
import json
import logging
import multiprocessing
import os
import pathlib
import random
import sys
import tempfile
import threading
import time
import traceback
import warnings

import numpy as np

from benchmarks.hostile import datasets, runs

HANG = 20.0  # Seconds of the processor.
WAITING = 300.0  # Seconds of the clock.
# Kind -> how many inputs, of 12,000.
SHARES = {
  "image": 2400,
  "csv": 1000,
  "csv encoding": 600,
  "coco": 700,
  "clip": 600,
  "packed": 900,
  "pairs": 500,
  "lists": 1200,
  "mat": 200,
  "lmdb": 400,
  "regressor": 500,
  "config.json": 500,
  "report": 500,
  "metrics": 400,
  "lock": 300,
  "weights": 600,
  "checkpoint": 300,
  "config value": 400,
}
DATASETS = {
  "image": datasets.images,
  "csv": datasets.csv_files,
  "csv encoding": datasets.encoded_files,
  "coco": datasets.coco_files,
  "clip": datasets.clip_files,
  "packed": datasets.packed_files,
  "pairs": datasets.pair_files,
  "lists": datasets.list_files,
  "mat": datasets.mat_files,
  "lmdb": datasets.lmdb_files,
  "weights": runs.weight_files,
  "config value": runs.config_values,
}


def cases(root, kind):
  """Makes the cases of a kind, or of a run: dict kind -> (`Case`, folder).

  Their sound files can be read.
  """
  folder = root / (kind if kind in DATASETS else "run").replace(" ", "_")
  folder.mkdir()
  if kind in DATASETS:
    made = {kind: DATASETS[kind](folder)}
  else:
    made = runs.run_files(folder)
  for case in made.values():
    for path in case.paths:
      case.read(folder, path)
  return {kind: (case, folder) for kind, case in made.items()}


def one(case, folder, kind, seed):
  """Changes and reads one file: (outcome, details)."""
  rng = random.Random(f"{kind} {seed}")
  path = rng.choice(case.paths)
  sound = path.read_bytes()
  hostile = case.mutate(sound, rng)
  path.write_bytes(hostile)
  before = digest(folder)
  try:
    found = case.read(folder, path)
    outcome = "read", ""
    for array in found:
      if not sound_numbers(np.asarray(array)):
        outcome = "not finite", path.name
  except (ValueError, OSError) as error:
    from c3_jax.errors import UserError

    outcome = "refused", str(error)
    if not isinstance(error, UserError | OSError):
      outcome = "traceback", f"{path.name}: {traceback.format_exc(limit=-3)}"
  except Exception:
    outcome = "traceback", f"{path.name}: {traceback.format_exc(limit=-3)}"
  if outcome[0] in ("read", "refused") and digest(folder) != before:
    outcome = "changed", path.name
  path.write_bytes(sound)
  return outcome


def sound_numbers(array):
  """Tells whether numbers are finite, or NaN as both of a missing point."""
  if array.dtype.kind != "f":
    return True
  if array.shape[-1:] == (2,):
    array = array[~np.isnan(array).all(-1)]
  return bool(np.isfinite(array).all())


def digest(folder):
  """Digests the names and bytes of all files below a folder."""
  result = hashlib.blake2b()
  for path in sorted(folder.rglob("*")):
    result.update(str(path).encode("utf-8", "surrogateescape"))
    if path.is_file():
      result.update(path.read_bytes())
  return result.hexdigest()


def work(pipe, root):
  """Answers (kind, seed) with the outcome, until None comes."""
  os.environ["JAX_PLATFORMS"] = "cpu"
  warnings.simplefilter("ignore")
  logging.disable()
  null, made = os.open(os.devnull, os.O_WRONLY), {}
  while job := pipe.recv():
    kind, seed = job
    if kind not in made:
      made |= cases(root, kind)
    os.dup2(null, 2)  # Libraries below Python write there, too.
    pipe.send(one(*made[kind], kind, seed))


def processor_seconds(pid):
  """Reads the time that a process, and its children that ended, computed."""
  text = pathlib.Path(f"/proc/{pid}/stat").read_text()
  ticks = map(int, text.rpartition(")")[2].split()[11:15])
  return sum(ticks) / os.sysconf("SC_CLK_TCK")


class Child:
  """A process that reads hostile files, and is replaced where it hangs."""

  def __init__(self):
    self._place = tempfile.TemporaryDirectory()
    self._pipe, theirs = multiprocessing.get_context("spawn").Pipe()
    self._process = multiprocessing.get_context("spawn").Process(
      target=work, args=(theirs, pathlib.Path(self._place.name)), daemon=True
    )
    self._process.start()
    theirs.close()
    self._kinds = set()

  def do(self, kind, seed):
    """Runs one input: (outcome, details), seconds of the processor."""
    pid = self._process.pid
    begin, clock = processor_seconds(pid), time.monotonic()
    # Making the sound files is no reading of a hostile one.
    more = 1 if kind in self._kinds else 10
    self._kinds.add(kind)
    self._pipe.send((kind, seed))
    try:
      while not self._pipe.poll(1.0):
        seconds = processor_seconds(pid) - begin
        # Of the clock alone, a busy machine takes its share.
        waited = time.monotonic() - clock
        if seconds > more * HANG or waited > more * WAITING:
          return ("hang", ""), seconds
      outcome = self._pipe.recv()
    except EOFError:
      return ("crash", ""), 0.0
    return outcome, processor_seconds(pid) - begin

  def end(self):
    """Ends the process, and removes its files."""
    self._process.kill()
    self._process.join()
    self._place.cleanup()


def run(jobs, report):
  """Runs an iterator of jobs (kind, seed), whose outcomes it reports."""
  child = None
  for kind, seed in jobs:
    child = child or Child()
    outcome, seconds = child.do(kind, seed)
    if outcome[0] in ("hang", "crash"):
      child.end()
      child = None
    report(kind, seed, outcome, seconds)
  if child:
    child.end()


class Report:
  """What came of the inputs so far; written every so often.

  It goes on after what its file has of an earlier start.
  """

  def __init__(self, out):
    self._out, self._lock, self._begin = out, threading.Lock(), time.monotonic()
    self.content = {
      "inputs": 0,
      "seconds": 0,
      "slowest_processor_seconds": 0.0,
      "slowest": "",
      "outcomes": {},
      "faults": [],
    }
    if out and out.exists():
      self.content = json.loads(out.read_text())
    self._before = self.content["seconds"]

  def done(self, kind):
    """Counts the inputs of a kind so far."""
    return sum(self.content["outcomes"].get(kind, {}).values())

  def add(self, kind, seed, outcome, seconds):
    """Counts an outcome; may be called on threads."""
    name, details = outcome
    with self._lock:
      content = self.content
      content["inputs"] += 1
      counts = content["outcomes"].setdefault(kind, {})
      counts[name] = counts.get(name, 0) + 1
      if name not in ("read", "refused"):
        content["faults"].append([kind, seed, name, details])
        print(kind, seed, name, details, flush=True)
      if seconds > content["slowest_processor_seconds"]:
        content["slowest_processor_seconds"] = round(seconds, 1)
        content["slowest"] = f"{kind} {seed}"
      if content["inputs"] % 50 == 0:
        self.write()

  def write(self):
    """Writes the file, if there is to be one."""
    since = round(time.monotonic() - self._begin)
    self.content["seconds"] = self._before + since
    if self._out:
      self._out.write_text(json.dumps(self.content, indent=1) + "\n")


def main():
  """Runs all kinds of inputs and prints what came of them."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--out", type=pathlib.Path)
  parser.add_argument("--n", type=int, default=12_000, help="inputs in all")
  parser.add_argument("--only", help="kinds, with commas")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--workers", type=int, default=1, help="kinds at once")
  args = parser.parse_args()
  report = Report(args.out)
  kinds = args.only.split(",") if args.only else SHARES
  total = sum(SHARES[kind] for kind in kinds)

  def jobs(kind):
    count = round(SHARES[kind] * args.n / total)
    for i in range(report.done(kind), count):
      yield kind, args.seed * 10**6 + i

  with concurrent.futures.ThreadPoolExecutor(args.workers) as pool:
    list(pool.map(lambda kind: run(jobs(kind), report.add), kinds))
  report.write()
  print(json.dumps(report.content, indent=1))
  return 1 if report.content["faults"] else 0


if __name__ == "__main__":
  sys.exit(main())
