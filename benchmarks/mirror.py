"""Swaps of left and right on synthetic faces that are turned.

  python -m benchmarks.mirror --workdir=runs/quickstart --out=FILE

Test faces are turned in the image plane, up to 45 degrees and beyond. A
landmark has truly changed sides where it, and its mirror partner, lie nearer to
the other's place than to their own; the places are those of the landmarks in
the same image unturned. Flagged are the images that `predict --mirror_check`
counts. Rates are in % of the images.
"""

import argparse
import json
import pathlib

import numpy as np

from c3_jax.data import load_split
from c3_jax.evaluation import mirror
from c3_jax.evaluation.detect import detect, landmark_function, see_through
from c3_jax.runs import load_trained

ANGLES = (0, 15, 30, 45, 90, 135, 180)
IMAGES = 500


def turned(degrees, n):
  """Gives the pull maps that turn n images: float32 [n, 2, 3]."""
  c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
  return np.tile(np.array([[c, -s, 0], [s, c, 0]], np.float32), (n, 1, 1))


def mirrored(warps):
  """Gives the pull maps of the mirror images of what `warps` show."""
  return np.concatenate(
    [warps[..., :2] @ mirror.MIRROR[:, :2], warps[..., 2:]], -1
  )


def main():
  """Prints the rates and writes them to --out."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--workdir", required=True)
  parser.add_argument("--out", required=True)
  arguments = parser.parse_args()
  run = load_trained(arguments.workdir)
  images = load_split(run.config, "test").first(IMAGES)
  function = landmark_function(run.model, run.config.data.image_size)

  def landmarks(warps):
    return detect(function, run.variables, images, batch_size=100, warps=warps)

  upright = turned(0, len(images))
  places = landmarks(upright)
  partner, distance = mirror.partners(
    places, mirror.back(landmarks(mirrored(upright)))
  )
  result = {
    "images": len(images),
    "partners": mirror.line(partner + 1),
    "distance_percent_of_side": round(100 * float(distance.mean()), 2),
    "degrees": {},
  }
  for angle in ANGLES:
    true, flagged = [], []
    for degrees in {angle, -angle}:
      warps = turned(degrees, len(images))
      points, want = landmarks(warps), see_through(warps, places)
      back = mirror.back(landmarks(mirrored(warps)))
      flagged.append(mirror.swapped(points, back, partner).any(1))
      # Nearer to the partner's place: against the places, mirrored by name.
      true.append(mirror.swapped(points, want[:, partner], partner).any(1))
    true, flagged = np.concatenate(true), np.concatenate(flagged)
    result["degrees"][str(angle)] = {
      "swapped": round(100 * float(true.mean()), 2),
      "flagged": round(100 * float(flagged.mean()), 2),
      "swapped_and_flagged": round(100 * float((true & flagged).mean()), 2),
    }
  text = json.dumps(result, indent=1)
  print(text)
  pathlib.Path(arguments.out).write_text(text + "\n")


if __name__ == "__main__":
  main()
