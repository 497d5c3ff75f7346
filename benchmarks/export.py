"""Compares an exported model with JAX on 100 images, and times it.

  python -m benchmarks.export --workdir=runs/quickstart --out=FILE

The images are drawn faces, of the run's own size; the ONNX file runs in
onnxruntime on one thread, and as the web page in headless Chromium (the package
chromium), the StableHLO file in JAX. Distances are in sides of the image.
"""

import argparse
import csv
import json
import pathlib
import platform
import tempfile
import time

import jax
import numpy as np
import onnxruntime
from PIL import Image

from c3_jax import runs
from c3_jax.data import fake, frame_of
from c3_jax.exporting import detector, files, onnx_model, page, stablehlo
from tests.exporting import browser

COUNT = 100


def draw(size):
  """Draws faces: uint8 [COUNT, size, size, 3]."""
  faces = fake.draw_faces("test", COUNT, 0, (2 * size, 2 * size))
  return np.stack([np.asarray(x.resize((size, size))) for x, _ in faces])


def distance(points, want):
  """Measures the largest distance of points [n, k, 2], in sides."""
  return float(np.linalg.norm(points - want, axis=-1).max() / 2)


def milliseconds(function, images):
  """Times a function on single images, after one to warm up."""
  function(images[:1])
  start = time.perf_counter()
  for image in images:
    jax.block_until_ready(function(image[None]))
  return 1000 * (time.perf_counter() - start) / len(images)


def visit(workdir, images, want, frame, folder):
  """Measures the web page: dict."""
  page.write(workdir, folder)
  size = sum(path.stat().st_size for path in folder.iterdir())
  (folder / "given").mkdir()
  # The network sees the middle of what is loaded.
  border = (frame.load_size - frame.image_size) // 2
  names = [f"{i:03}.png" for i in range(len(images))]
  for name, image in zip(names, images, strict=True):
    padded = np.pad(image, ((border,) * 2, (border,) * 2, (0, 0)))
    Image.fromarray(padded).save(folder / "given" / name)
  report, _, console = browser.visit(folder, names, folder.with_name("profile"))
  _, *rows = csv.reader(report["csv"].splitlines())
  count = 2 * want.shape[1]
  numbers = np.array([row[1 : 1 + count] for row in rows], float)
  pixels = numbers.reshape(want.shape)
  points = frame.file_to_coords(pixels, (frame.load_size,) * 2)
  return {
    "distance": distance(points, want),
    "megabytes": round(size / 1e6, 1),
    "seconds_until_ready": round(report["ready"], 2),
    "seconds_of_first_image": round(report["first"], 2),
    "milliseconds_an_image": round(1000 * report["all"] / len(images), 1),
    "errors": report["errors"] + console,
  }


def measure(workdir):
  """Measures all exports of a run: dict."""
  trained = runs.load_trained(workdir)
  detect = jax.jit(detector.detector(trained))
  frame = frame_of(trained.config)
  images = draw(frame.image_size)
  want = np.asarray(detect(images)[0])
  data, _ = files.dump(trained, "onnx")
  options = onnxruntime.SessionOptions()
  options.intra_op_num_threads = 1
  run = onnx_model.load(data, options)
  lowered = stablehlo.load(files.dump(trained, "stablehlo")[0])
  result = {
    "images": COUNT,
    "image_size": frame.image_size,
    "k": want.shape[1],
    "processor": platform.processor() or platform.machine(),
    "onnxruntime": {
      "distance": distance(run(images)[0], want),
      "megabytes": round(len(data) / 1e6, 2),
      "milliseconds_an_image": round(milliseconds(run, images), 2),
    },
    "stablehlo": {
      "distance": distance(np.asarray(lowered(images)[0]), want),
      "milliseconds_an_image": round(milliseconds(lowered, images), 2),
    },
  }
  with tempfile.TemporaryDirectory() as folder:
    place = pathlib.Path(folder, "page")
    result["chromium"] = visit(workdir, images, want, frame, place)
  return result


def main():
  """Writes the measurements and prints them."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--workdir", required=True)
  parser.add_argument("--out", required=True)
  options = parser.parse_args()
  text = json.dumps(measure(options.workdir), indent=1)
  pathlib.Path(options.out).write_text(f"{text}\n")
  print(text)


if __name__ == "__main__":
  main()
