"""Frames per second, jitter and lag of predict on a clip of a moving face.

  python -m benchmarks.video --workdir=runs/quickstart --out=FILE

It draws a face that stands still for a second and moves for two, again and
again, with noise as of a camera, into a clip of 640 x 480, runs the command on
it with and without --smooth, and compares the estimated five points
(--regressor) with those drawn. All lengths are in % of the distance of the
eyes.

  error    mean distance to the true points
  jitter   root mean square change of the error from frame to frame, while the
           face stands still
  lag      by how many milliseconds the true points have to be delayed to be
           nearest to the estimates, while it moves
"""

import argparse
import csv
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import cv2
import jax
import numpy as np

import c3_jax
from c3_jax import geometry
from c3_jax.data import synthetic
from c3_jax.data.synthetic import faces
from c3_jax.inference.table import SMOOTH

WIDTH, HEIGHT, RATE = 640, 480, 25
FRAMES = 450
STILL, PERIOD = 25, 75  # Frames.
EXTENT = 1.25  # Of the drawn square, in frames of the model.
NOISE = 6.0  # Deviation, of 255.


def motion(frames):
  """Gives the phase of the motion, and which frames stand still: [n]."""
  inside = np.arange(frames) % PERIOD
  still = inside < STILL
  moved = np.where(still, 0, (inside - STILL) / (PERIOD - STILL))
  return 2 * np.pi * moved, still


def poses(phase):
  """Gives a `HeadPose` with a leading axis: a loop that ends where it began."""
  ramp = (1 - np.cos(phase)) / 2  # Starts and ends at rest.
  return synthetic.HeadPose(
    yaw=0.4 * ramp * np.sin(phase),
    roll=0.3 * ramp * np.sin(2 * phase),
    scale=1 + 0.1 * ramp,
    shift=0.2 * np.stack([ramp * np.sin(phase), ramp * np.cos(phase)], -1),
    smile=0.5 * ramp,
    mouth_open=0.3 * ramp,
    brow_raise=0 * ramp,
  )


def draw(path):
  """Writes the clip: points [n, 5, 2] in its pixels."""
  phase, _ = motion(FRAMES)
  pose = poses(phase)
  appearance = faces.sample_appearance(jax.random.key(3))

  @jax.jit
  def frame(pose):
    image = synthetic.render(
      pose, appearance, size=HEIGHT, extent=EXTENT, supersample=1
    )
    return image, synthetic.landmarks(pose)

  rng, points = np.random.default_rng(0), []
  code = cv2.VideoWriter_fourcc(*"mp4v")
  writer = cv2.VideoWriter(
    str(path), cv2.CAP_FFMPEG, code, RATE, (WIDTH, HEIGHT)
  )
  margin = (WIDTH - HEIGHT) // 2
  for i in range(FRAMES):
    image, xy = frame(jax.tree.map(lambda x, i=i: np.float32(x[i]), pose))
    image = 255 * np.asarray(image) + rng.normal(0, NOISE, (HEIGHT, HEIGHT, 3))
    image = np.rint(image.clip(0, 255)).astype(np.uint8)
    image = np.pad(image, ((0, 0), (margin, margin), (0, 0)), "edge")
    writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    pixels = geometry.coords_to_pixels(np.asarray(xy) / EXTENT, HEIGHT)
    points.append(pixels + [margin, 0])
  writer.release()
  return np.stack(points)


def speed(workdir, clip):
  """Measures frames a second, decoding included, of clock and processor."""
  model = c3_jax.load(workdir)
  frames = model.batches(["clip"], [str(clip)])
  next(frames)  # Compiles the network.
  start = time.perf_counter(), time.process_time()
  n = sum(len(found) for found, _ in frames)
  clock, processor = time.perf_counter(), time.process_time()
  return {
    "frames_per_second": round(n / (clock - start[0]), 1),
    "frames_per_second_of_processor": round(n / (processor - start[1]), 1),
  }


def predict(workdir, clip, out, *options):
  """Runs the command."""
  subprocess.run(
    [
      *(sys.executable, "-m", "c3_jax.predict", f"--workdir={workdir}"),
      *(f"--images={clip}", f"--out={out}", *options),
    ],
    check=True,
    stderr=subprocess.DEVNULL,
  )


def estimates(path):
  """Reads the estimated points [n, 5, 2] of a csv file."""
  with open(path, newline="") as file:
    rows = list(csv.DictReader(file))
  columns = [f"p{axis}{i}" for i in range(1, 6) for axis in "xy"]
  numbers = [[float(row[name]) for name in columns] for row in rows]
  return np.reshape(numbers, (-1, 5, 2))


def measure(found, want):
  """Measures error, jitter and lag; see the top."""
  _, still = motion(len(want))
  eyes = np.linalg.norm(want[:, 0] - want[:, 1], axis=-1).mean()
  error = (found - want) / eyes
  calm = still & np.roll(still, 12)  # The filter has come to rest.
  calm[:12] = False
  steps = np.diff(error, axis=0)[calm[1:] & calm[:-1]]
  delays = np.arange(-0.1, 0.3, 0.002)
  times = np.arange(len(want)) / RATE
  flat = want.reshape(len(want), -1)
  offset = (found - want).mean(0)
  costs = []
  for delay in delays:
    late = [np.interp(times - delay, times, column) for column in flat.T]
    late = np.stack(late, -1).reshape(want.shape) + offset
    costs.append(np.square(found - late)[~still].mean())
  return {
    "error": round(100 * np.linalg.norm(error, axis=-1).mean(), 2),
    "jitter": round(100 * np.sqrt(np.square(steps).sum(-1).mean()), 3),
    "lag_ms": round(1000 * delays[int(np.argmin(costs))]),
  }


def main():
  """Prints the results and writes them to --out."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--workdir", required=True)
  parser.add_argument("--out", required=True)
  arguments = parser.parse_args()
  regressor = "--regressor=eval/synthetic.json"
  with tempfile.TemporaryDirectory() as root:
    root = pathlib.Path(root)
    want = draw(root / "clip.mp4")
    result = {
      "cores": os.cpu_count(),
      "clip": f"{WIDTH} x {HEIGHT}, {FRAMES} frames",
      **speed(arguments.workdir, root / "clip.mp4"),
    }
    for smooth in SMOOTH:
      predict(
        arguments.workdir,
        root / "clip.mp4",
        root / "out.csv",
        regressor,
        f"--smooth={smooth}",
      )
      result[smooth] = measure(estimates(root / "out.csv"), want)
  text = json.dumps(result, indent=1)
  print(text)
  pathlib.Path(arguments.out).write_text(text + "\n")


if __name__ == "__main__":
  main()
