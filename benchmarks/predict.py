"""Finds landmarks of 1,000 images of mixed sizes: time, memory, agreement.

  python -m benchmarks.predict --workdir=runs/quickstart --out=FILE

It draws the images into a temporary folder (sides from 40 to 1,600 pixels,
JPEG and PNG, three of them broken), runs `python -m c3_jax.predict` on the
first 100 and on all of them, watches the memory of both, compares the
coordinates with those of batches of one, and those of the tf.data pipeline.
Then it runs on 10,000 files, each of the 1,000 under ten names, and notes the
resident size as the table grows. With --long that alone is done, and joins what
the file has.
"""

import argparse
import contextlib
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import jax
import numpy as np
from PIL import Image

from c3_jax.data import frame_of, streaming
from c3_jax.evaluation.detect import landmark_function
from c3_jax.runs import load_trained

COUNT, FIRST, NAMES = 1000, 100, 10
MARKS = (2000, 4000, 6000, 8000, 9900)  # Rows of the table.
BROKEN = (7, 400, 801)
WAITING = os.WNOHANG | os.WNOWAIT


def draw(folder):
  """Writes COUNT images: list of names."""
  rng = np.random.default_rng(0)
  names = []
  for i in range(COUNT):
    width, height = np.rint(40 * 40 ** rng.uniform(0, 1, 2)).astype(int)
    low = rng.integers(0, 256, (6, 6, 3), np.uint8)
    image = Image.fromarray(low).resize((width, height), Image.BICUBIC)
    name = f"{i % 10}/{i:04}.{'png' if i % 4 == 0 else 'jpg'}"
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    image.save(path)
    if i in BROKEN:
      path.write_bytes(path.read_bytes()[:200])
    names.append(name)
  return names


def run(workdir, images, out, *options, marks=()):
  """Runs the command: seconds, largest resident size in MB, status.

  With marks, also the resident size when the table has so many rows.
  """
  start, peak, sizes = time.monotonic(), 0, {}
  with tempfile.TemporaryFile("w+") as log:
    process = subprocess.Popen(
      [
        sys.executable,
        "-m",
        "c3_jax.predict",
        f"--workdir={workdir}",
        f"--images={images}",
        f"--out={out}",
        *options,
      ],
      stderr=log,
    )
    # Not by wait4: its maximum includes the size of this program, of which
    # the child is a fork at first.
    while os.waitid(os.P_PID, process.pid, os.WEXITED | WAITING) is None:
      peak = max(peak, _memory(process.pid, "VmHWM"))
      rows = _rows(out) if len(sizes) < len(marks) else 0
      if sizes.keys() < set(marks) and rows >= marks[len(sizes)]:
        sizes[marks[len(sizes)]] = round(_memory(process.pid, "VmRSS") / 1024)
      time.sleep(0.1)
    _, status, usage = os.wait4(process.pid, 0)
    log.seek(0)
    named = log.read().count("cannot be read")
  return {
    "seconds": round(time.monotonic() - start, 1),
    "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
    "peak_rss_mb": round(peak / 1024),
    "exit_status": os.waitstatus_to_exitcode(status),
    "named_as_broken": named,
  } | ({"rss_mb_at_rows": sizes} if marks else {})


def _memory(pid, name):
  """Reads a size of a program, kB; 0 once it has ended."""
  for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
    if line.startswith(f"{name}:"):
      return int(line.split()[1])
  return 0


def _rows(out):
  """Counts the rows of a table that is being written."""
  for part in out.parent.glob(f".{out.name}.*.part"):
    with contextlib.suppress(FileNotFoundError):
      return part.read_bytes().count(b"\n") - 1
  return 0


def many(trained, workdir, root, names):
  """Runs the command on each image under `NAMES` names: a dict."""
  folder = root / "many"
  for i in range(NAMES):
    for name in names:
      target = folder / str(i) / name
      target.parent.mkdir(parents=True, exist_ok=True)
      os.link(root / "pics" / name, target)
  found = run(workdir, folder, root / "many.csv", marks=MARKS)
  rows = len(coordinates(root / "many.csv"))
  return found | {"rows": rows, "step": trained.step}


def coordinates(path):
  """Reads a csv file: {file: [2 k]}."""
  with open(path, newline="") as file:
    header, *rows = csv.reader(file)
  k = sum(name.startswith("x") for name in header)
  return {row[0]: np.array(row[1 : 1 + 2 * k], float) for row in rows}


def largest_difference(a, b):
  """Compares the files that both have: pixels."""
  return float(max(np.abs(a[name] - b[name]).max() for name in a.keys() & b))


def by_pipeline(trained, folder, names):
  """Detects on images as training loads them: {file: [2 k]}."""
  frame = frame_of(trained.config)
  function = landmark_function(trained.model, frame.image_size)
  paths = [str(folder / name) for name in names]
  dataset = streaming.StreamingDataset(paths, frame, tf_data=True)
  result = {}
  for batch in dataset.eval_batches(32):
    points = function(trained.variables, {"image": batch["image"]})
    for index, xy in zip(batch["index"], points, strict=True):
      with Image.open(paths[index]) as image:
        result[names[index]] = frame.coords_to_file(xy, image.size).ravel()
  return result


def main():
  """Prints the results and writes them to --out."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--workdir", required=True)
  parser.add_argument("--out", required=True)
  parser.add_argument("--long", action="store_true", help="10,000 files alone")
  arguments = parser.parse_args()
  with tempfile.TemporaryDirectory() as root:
    root = pathlib.Path(root)
    folder, few = root / "pics", root / "few"
    folder.mkdir()
    few.mkdir()
    names = draw(folder)
    for name in names[:FIRST]:
      (few / name).parent.mkdir(exist_ok=True)
      os.link(folder / name, few / name)
    trained = load_trained(arguments.workdir)
    if arguments.long:
      result = json.loads(pathlib.Path(arguments.out).read_text())
      result["all_10000"] = many(trained, arguments.workdir, root, names)
      write(result, arguments.out)
      return
    result = {
      "device": jax.devices()[0].device_kind,
      "image_size": trained.config.data.image_size,
      "k": trained.config.model.k,
      "step": trained.step,
      "first_100": run(arguments.workdir, few, root / "few.csv"),
      "all_1000": run(arguments.workdir, folder, root / "all.csv"),
      "all_1000_with_overlays": run(
        arguments.workdir,
        folder,
        root / "drawn.csv",
        f"--overlay={root / 'drawn'}",
      ),
      "batches_of_1": run(
        arguments.workdir, folder, root / "one.csv", "--batch_size=1"
      ),
    }
    rows = coordinates(root / "all.csv")
    result["rows"] = len(rows)
    result["overlays"] = sum(1 for _ in (root / "drawn").rglob("*.*"))
    result["largest_difference_in_pixels_of_the_file"] = {
      "batches of 32 and of 1": largest_difference(
        rows, coordinates(root / "one.csv")
      ),
      "1,000 files and the first 100": largest_difference(
        rows, coordinates(root / "few.csv")
      ),
      "predict and tf.data": largest_difference(
        rows, by_pipeline(trained, folder, sorted(rows))
      ),
    }
    result["all_10000"] = many(trained, arguments.workdir, root, names)
  write(result, arguments.out)


def write(result, out):
  """Prints a result and writes it as JSON."""
  text = json.dumps(result, indent=1)
  print(text)
  pathlib.Path(out).write_text(text + "\n")


if __name__ == "__main__":
  main()
