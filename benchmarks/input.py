"""Measures how fast images arrive, and in how much memory.

  python -m benchmarks.input --out=benchmarks/input.json

Draws images of CelebA's size, and takes turns: bare `tf.io.decode_jpeg` with
`tf.image.resize` in a parallel map; the streaming pipeline as training uses it
(decode, crop, resize, batches of 200 in NumPy), through tf.data and on threads
alone; the same from a packed file. Then a process of its own streams 200,000
files (links to the images) once, and measures the memory it took. Prints a
Markdown table (medians over the rounds) and writes the numbers.
"""

import argparse
import itertools
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

from c3_jax import geometry
from c3_jax.data import in_memory, streaming
from c3_jax.data.scan import scan
from c3_jax.data.tf_data import tf

FILE_SIZE, LOAD_SIZE, BATCH = (178, 218), 160, 200
FRAME = geometry.Frame(128, LOAD_SIZE, "imm")


def draw(folder, n):
  """Writes n JPEG files of smooth noise: their paths."""
  paths = []
  for i in range(n):
    rng = np.random.default_rng(i)
    coarse = Image.fromarray(rng.integers(0, 256, (28, 23, 3), np.uint8))
    image = np.asarray(coarse.resize(FILE_SIZE, Image.BICUBIC)).astype(int)
    image = image + rng.integers(-4, 5, image.shape)
    paths.append(folder / f"{i:06}.jpg")
    image = Image.fromarray(image.clip(0, 255).astype(np.uint8))
    image.save(paths[-1], quality=90)
  return paths


def bare(paths, *, exact):
  """Decodes and resizes alone; `exact`: exact transform, antialiased.

  Yields float tensors, which are not even copied to NumPy.
  """
  method = "INTEGER_ACCURATE" if exact else ""

  def load(path):
    image = tf.io.decode_jpeg(
      tf.io.read_file(path), channels=3, dct_method=method
    )
    return tf.image.resize(image, [LOAD_SIZE] * 2, antialias=exact)

  dataset = tf.data.Dataset.from_tensor_slices([str(path) for path in paths])
  dataset = dataset.repeat().map(load, tf.data.AUTOTUNE).batch(BATCH)
  return iter(dataset.prefetch(tf.data.AUTOTUNE))


def rate(batches, seconds):
  """Measures (images a second, images a second of processor time).

  The second says more on a machine that does other things meanwhile. The first
  two batches do not count.
  """
  for _ in range(2):
    next(batches)
  start, busy, n = time.monotonic(), time.process_time(), 0
  while time.monotonic() - start < seconds:
    next(batches)
    n += BATCH
  wall, busy = time.monotonic() - start, time.process_time() - busy
  return n / wall, n / busy


def speeds(folder, *, files, rounds, seconds):
  """Measures the variants in turn: dict name -> list of `rate`, one a round."""
  paths = draw(folder, files)
  stream = streaming.StreamingDataset(paths, FRAME, tf_data=True)
  threads = streaming.StreamingDataset(paths, FRAME)
  packed = folder / "packed.npz"
  scan(paths, FRAME).save(packed)
  array = in_memory.ArrayDataset.load(packed)
  variants = {
    "bare": lambda: bare(paths, exact=False),
    "bare_exact": lambda: bare(paths, exact=True),
    "stream": lambda: stream.batches(BATCH, seed=0),
    "threads": lambda: threads.batches(BATCH, seed=0),
    "packed": lambda: array.batches(BATCH, seed=0),
  }
  found = {name: [] for name in variants}
  for _ in range(rounds):
    for name, start in variants.items():
      found[name].append(rate(start(), seconds))
  return found


def memory(folder, *, files):
  """Streams every file once in another process: its peak memory in bytes."""
  links = folder / "links"
  links.mkdir()
  originals = sorted(folder.glob("*.jpg"))
  for i in range(files):
    os.link(originals[i % len(originals)], links / f"{i:06}.jpg")
  done = subprocess.run(
    [sys.executable, "-m", "benchmarks.input", f"--stream={links}"],
    check=True,
    capture_output=True,
    text=True,
  )
  return int(done.stdout)


def stream(folder):
  """Streams a folder once; prints the peak of resident memory in bytes."""
  paths = sorted(pathlib.Path(folder).iterdir())
  data = streaming.StreamingDataset(paths, FRAME, tf_data=True)
  steps = len(paths) // BATCH
  for _ in itertools.islice(data.batches(BATCH, seed=0), steps):
    pass
  print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


def main():
  """Runs what is asked for."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("--out", type=pathlib.Path)
  parser.add_argument("--files", type=int, default=2000)
  parser.add_argument("--memory_files", type=int, default=200_000)
  parser.add_argument("--rounds", type=int, default=7)
  parser.add_argument("--seconds", type=float, default=5)
  parser.add_argument("--stream", help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.stream:
    stream(options.stream)
    return
  with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    found = speeds(
      folder,
      files=options.files,
      rounds=options.rounds,
      seconds=options.seconds,
    )
    size = statistics.mean(p.stat().st_size for p in folder.glob("*.jpg"))
    peak = memory(folder, files=options.memory_files)
  result = {
    "cpu_cores": os.cpu_count(),
    "load_average": os.getloadavg()[0],
    "mean_file_bytes": round(size),
    "rates": found,
    "memory": {"files": options.memory_files, "peak_bytes": peak},
  }
  print("| input | images/s | of bare | images/cpu-s | of bare |")
  print("|---|---|---|---|---|")
  for name, rates in found.items():
    rates, base = np.array(rates), np.array(found["bare"])
    middle, ratio = np.median(rates, 0), np.median(rates / base, 0)
    result[f"{name}_of_bare"] = dict(zip(("wall", "cpu"), ratio.tolist()))
    cells = [name, f"{middle[0]:,.0f}", f"{ratio[0]:.2f}"]
    print(
      "|", " | ".join([*cells, f"{middle[1]:,.0f}", f"{ratio[1]:.2f}"]), "|"
    )
  print(f"\n{options.memory_files:,} files: {peak / 1e9:.2f} GB at most")
  if options.out:
    options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
  main()
