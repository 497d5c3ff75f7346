"""Compares ways to decode and resize images: time, and distance from Lanczos.

  python -m benchmarks.photos --root=FOLDER --out=benchmarks/photos.json

Takes the first JPEG files of a folder, one thread. Decodes them as
`image_files` does and with Pillow; resizes squares of them to several shares of
the side as `image_files` does, and with Pillow's antialiasing triangle filter,
and measures how far both are from Lanczos (three lobes), the usual reference:
the peak signal to noise ratio, higher is nearer. Prints Markdown and writes the
numbers.
"""

import argparse
import io
import json
import pathlib
import statistics
import time

import numpy as np
from PIL import Image

from c3_jax.data import image_files

SHARES = (0.9, 0.8, 0.72, 0.65, 0.55, 0.45, 0.35, 0.25)


def milliseconds(function, arguments, rounds=7):
  """Measures the processor time of a call: the median over the rounds."""
  found = []
  for _ in range(rounds):
    start = time.process_time()
    for argument in arguments:
      function(argument)
    found.append(1000 * (time.process_time() - start) / len(arguments))
  return statistics.median(found)


def by_pillow(data):
  """Decodes an encoded image with Pillow."""
  with Image.open(io.BytesIO(data)) as image:
    return np.asarray(image.convert("RGB"))


def by_photos(data):
  """Decodes an encoded image as training does."""
  return image_files.decode(io.BytesIO(data))


def resized(pixels, side, kernel):
  """Scales pixels [h, w, 3] to side x side with Pillow."""
  return np.asarray(Image.fromarray(pixels).resize((side, side), kernel))


def psnr(images, references):
  """Measures the peak signal to noise ratio of uint8 images in decibels."""
  error = np.mean(
    [(a.astype(float) - b) ** 2 for a, b in zip(images, references)]
  )
  return float(10 * np.log10(255**2 / error))


def measure(paths):
  """Measures both ways on some files: a dict of numbers."""
  encoded = [path.read_bytes() for path in paths]
  images = [by_pillow(data) for data in encoded]
  for data, image in zip(encoded, images):
    np.testing.assert_array_equal(by_photos(data), image)
  side = min(min(image.shape[:2]) for image in images)
  squares = [image[:side, :side] for image in images]
  result = {
    "files": len(paths),
    "side": side,
    "decode_ms": {
      "photos": milliseconds(by_photos, encoded),
      "pillow": milliseconds(by_pillow, encoded),
    },
    "resize": [],
  }
  for share in SHARES:
    small = round(share * side)
    ways = {
      "photos": lambda image, n=small: image_files.resize(image, n),
      "triangle": lambda image, n=small: resized(
        image, n, Image.Resampling.BILINEAR
      ),
    }
    lanczos = [
      resized(image, small, Image.Resampling.LANCZOS) for image in squares
    ]
    row = {"side": small}
    for name, way in ways.items():
      row[f"{name}_ms"] = milliseconds(way, squares)
      row[f"{name}_psnr"] = psnr([way(image) for image in squares], lanczos)
    result["resize"].append(row)
  return result


def main():
  """Measures, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--root", type=pathlib.Path, required=True)
  parser.add_argument("--files", type=int, default=100)
  parser.add_argument("--out", type=pathlib.Path)
  args = parser.parse_args()
  paths = sorted(args.root.rglob("*.jpg"))[: args.files]
  if not paths:
    parser.error(f"--root={args.root} has no .jpg files")
  result = measure(paths)
  print("decode, ms:", result["decode_ms"])
  print(f"| {result['side']} px to | photos | triangle |\n|---|---|---|")
  for row in result["resize"]:
    cells = (
      f"{row[f'{name}_psnr']:.1f} dB, {row[f'{name}_ms']:.3f} ms"
      for name in ("photos", "triangle")
    )
    print(f"| {row['side']} |", " | ".join(cells), "|")
  if args.out:
    args.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
  main()
