"""Kills a small run at random moments, resumes it, and compares the outcome.

  python -m benchmarks.kill --out=benchmarks/kill.json

A run of three stages and 30 steps, saved every fourth, gets one SIGKILL: at a
random time of all of it, after a random step, or within a random save. Started
again, it must end with the parameters, the optimiser, the metrics and the
checkpoints of the undisturbed run, bit by bit. An evaluation, a packing and a
prediction get one at a random time; started again, they must leave the files of
undisturbed ones, byte by byte, and no other.

Started again itself, it goes on after the kills that its file already has: each
is drawn from the seed and its number alone.
"""

import argparse
import json
import multiprocessing
import os
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp
from PIL import Image

from c3_jax import inference, pack
from c3_jax.runs.checkpoints import UNFINISHED
from c3_jax.training import loop
from configs import synthetic

STEPS = 30
KINDS = ("time", "step", "save", "evaluate", "pack", "predict")


def get_config():
  """The test configuration with fewer layers, for the time of compiling."""
  config = synthetic.get_config("test").unlock()
  config.model.backbone.stage_sizes = (0, 0, 1, 1)
  config.perceptual.taps = ("input", "conv1_2")
  config.eval.diagnostics.images = 20
  return config


def start(workdir, act=None):
  """Trains, or acts, in a process of its own, which has all imports: its id."""
  child = os.fork()
  if child:
    return child
  log = os.open(f"{workdir}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
  os.dup2(log, 1), os.dup2(log, 2)
  jax.config.update("jax_compilation_cache_dir", f"{workdir.parent}/cache")
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  try:
    if act:
      act(workdir)
    else:
      loop.train_and_evaluate(get_config(), workdir, mode="train")
    os._exit(0)
  finally:
    # Without a look at what the parent has open, its folder above all.
    traceback.print_exc()
    os._exit(1)


def finish(workdir, act=None):
  """Trains, or acts, to the end; returns the seconds it took."""
  begin = time.monotonic()
  _, status = os.waitpid(start(workdir, act), 0)
  if status:
    raise SystemExit(f"{workdir} did not end well: see {workdir}.log")
  return time.monotonic() - begin


def actions(folder):
  """What is killed besides training: dict kind -> function of its folder."""
  run, images = folder / "undisturbed", folder / "images"
  images.mkdir()
  rng = np.random.default_rng(0)
  for i in range(200):
    pixels = rng.integers(0, 256, (60, 50, 3), np.uint8)
    Image.fromarray(pixels).save(images / f"{i}.png")

  def evaluate(workdir):
    if not workdir.exists():
      shutil.copytree(run, workdir)
    loop.train_and_evaluate(get_config(), workdir, mode="eval")

  def packing(workdir):
    workdir.mkdir(exist_ok=True)
    pack.pack(get_config(), "train", workdir / "train.npz")

  def predict(workdir):
    workdir.mkdir(exist_ok=True)
    out, overlay = workdir / "found.csv", workdir / "overlay"
    inference.write_landmarks(run, str(images), out, overlay=str(overlay))

  return {"evaluate": evaluate, "pack": packing, "predict": predict}


def contents(folder):
  """All files below a folder: dict name -> bytes.

  A report names its run, which each of these folders calls differently.
  """
  name = folder.name.encode()
  return {
    str(path.relative_to(folder)): path.read_bytes().replace(name, b"RUN")
    for path in sorted(folder.rglob("*"))
    if path.is_file()
  }


def kill_action(workdir, kind, act, seconds, rng):
  """Kills an action at a random time: a dict, or None where it came late."""
  child = start(workdir, act)
  time.sleep(rng.uniform(0, seconds))
  if os.waitpid(child, os.WNOHANG)[0]:
    return None
  os.kill(child, signal.SIGKILL)
  os.waitpid(child, 0)
  left = [path.name for path in workdir.rglob("*.part")]
  return {"kind": kind, "parts": len(left)}


def logged(workdir):
  """Last step in metrics.jsonl, 0 before the first."""
  try:
    lines = (workdir / "metrics.jsonl").read_bytes().splitlines()
    return json.loads(lines[-1])["step"]
  except (FileNotFoundError, IndexError, ValueError):
    return 0


def saving(workdir):
  """Whether a save is going on: there is a folder without its final name."""
  folder = workdir / "checkpoints"
  return folder.is_dir() and any(UNFINISHED in p.name for p in folder.iterdir())


def kill(workdir, kind, seconds, rng):
  """Starts a run and kills it: a dict of what it left behind."""
  child = start(workdir)
  begin, late = time.monotonic(), rng.uniform(0, 0.1)
  moment = rng.uniform(0, seconds)
  step = rng.randrange(1, STEPS)
  while not os.waitpid(child, os.WNOHANG)[0]:
    if kind == "time" and time.monotonic() - begin > moment:
      break
    if kind == "step" and logged(workdir) >= step:
      time.sleep(late)
      break
    if kind == "save" and logged(workdir) >= step and saving(workdir):
      time.sleep(late / 2)
      break
    time.sleep(0.0005)
  else:
    return None
  os.kill(child, signal.SIGKILL)
  os.waitpid(child, 0)
  folder = workdir / "checkpoints"
  saves = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
  return {"kind": kind, "logged": logged(workdir), "checkpoints": saves}


def outcome(workdir):
  """(records, names of checkpoints, arrays of the last) of a finished run.

  Read in a process of its own: it starts a backend, after which nobody may
  fork.
  """
  with multiprocessing.get_context("fork").Pool(1) as pool:
    return pool.apply(read, (workdir,))


def read(workdir):
  """`outcome` in this process."""
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  records = [json.loads(line) for line in lines]
  for record in records:
    del record["images_per_second"]
  names = sorted(p.name for p in (workdir / "checkpoints").iterdir())
  state = ocp.load(workdir / "checkpoints" / str(STEPS))
  leaves = jax.tree.flatten_with_path(state)[0]
  return records, names, {str(path): np.asarray(x) for path, x in leaves}


def same(a, b):
  """Whether two outcomes agree bit by bit."""
  return (
    a[:2] == b[:2]
    and a[2].keys() == b[2].keys()
    and all(a[2][path].tobytes() == b[2][path].tobytes() for path in a[2])
  )


def main():
  """Parses the arguments, kills and resumes, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--kills", type=int, default=20)
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args()
  rows = json.loads(args.out.read_text()) if args.out.exists() else []
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    finish(folder / "warm")  # Fills the cache of compiled programs.
    seconds = finish(folder / "undisturbed")
    expected = outcome(folder / "undisturbed")
    acts, whole = actions(folder), {}
    for kind, act in acts.items():
      finish(folder / f"warm_{kind}", act)
      took = finish(folder / f"whole_{kind}", act)
      whole[kind] = took, contents(folder / f"whole_{kind}")
    print("| kill | last logged step | left behind | same |")
    print("|---|---|---|---|")
    for i in range(len(rows), args.kills):
      rng = random.Random(f"{args.seed} {i}")
      row, kind = None, KINDS[i % len(KINDS)]
      while row is None:  # One that came too late does not count.
        workdir = folder / f"run{i}_{rng.randrange(10**6)}"
        if kind in acts:
          row = kill_action(workdir, kind, acts[kind], whole[kind][0], rng)
        else:
          row = kill(workdir, kind, seconds, rng)
      finish(workdir, acts.get(kind))
      if kind in acts:
        row["same"] = contents(workdir) == whole[kind][1]
        left = f"{row['parts']} part(s)"
      else:
        row["same"] = same(outcome(workdir), expected)
        left = ", ".join(row["checkpoints"]) or "nothing"
      rows.append(row)
      print(
        f"| {kind} | {row.get('logged', '')} | {left} | {row['same']} |",
        flush=True,
      )
      args.out.write_text(json.dumps(rows, indent=1) + "\n")
      shutil.rmtree(workdir)
  good = sum(row["same"] for row in rows)
  print(f"\n{good} of {len(rows)} identical to the undisturbed run.")
  return int(good < len(rows))


if __name__ == "__main__":
  # Children are forked before JAX starts a backend.
  os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
  sys.exit(main())
