"""Mirror partners: where each landmark lies in the mirrored image.

The left eye of an image is the right eye of its mirror image. A landmark that
has found the left eye of all images therefore lies, in mirrored images, where
its partner lies, the landmark of the right eye; one on the middle is its own
partner. Nothing but images is needed to find that out, and to find the images
in which a pair has changed sides.
"""

import numpy as np

# Pull map of `detect`: the mirrored image has at x what the image has at -x.
MIRROR = np.array([[-1, 0, 0], [0, 1, 0]], np.float32)
IMAGES = 500  # So many show the partners well enough.
FEWEST = 20


def back(points):
  """Maps points [.., 2] found in the mirrored image into the image."""
  return np.asarray(points, np.float64) * [-1, 1]


def partners(points, mirrored):
  """Finds the mirror partner of each landmark.

  Args:
    points, mirrored: [n, k, 2] in [-1, 1], found in n images, and in their
      mirror images and mapped `back`.

  Returns:
    (partner, distance): int [k], an index of each landmark's partner; float
    [k], the mean distance between it and the landmark, in sides of the image.
  """
  points, mirrored = (np.asarray(x, np.float64) / 2 for x in (points, mirrored))
  cost = np.stack(
    [
      np.linalg.norm(mirrored - points[:, [i]], axis=-1).mean(0)
      for i in range(points.shape[1])
    ]
  )
  from scipy import optimize  # Takes a second to import.

  # Of i and j both or none is the other's partner, but for noise.
  _, partner = optimize.linear_sum_assignment(cost + cost.T)
  return partner, cost[np.arange(len(partner)), partner]


def swapped(points, mirrored, partner):
  """Finds the landmarks that have changed sides with their partner.

  In the image or in its mirror image, but not in both: where both are wrong,
  they agree.

  Args:
    points, mirrored: as of `partners`.
    partner: [k], of `partners`.

  Returns:
    bool [n, k]: the landmark lies nearer to itself than to its partner in the
    mirror image, and its partner likewise. False where it is its own partner.
  """
  points, mirrored = (np.asarray(x, np.float64) for x in (points, mirrored))
  to_self = np.linalg.norm(points - mirrored, axis=-1)
  to_partner = np.linalg.norm(points - mirrored[:, partner], axis=-1)
  paired = (partner[partner] == np.arange(len(partner))) & (
    partner != np.arange(len(partner))
  )
  nearer = to_self < to_partner
  return nearer & nearer[:, partner] & paired


def measure(evaluator, variables, dataset):
  """Measures the mirror partners on the first images of a dataset: a dict.

  Landmarks are counted from 1. Empty where there are fewer than `FEWEST`
  images.
  """
  images = dataset.first(min(IMAGES, len(dataset)))
  if len(images) < FEWEST:
    return {}
  points = evaluator.landmarks(variables, images)
  warps = np.tile(MIRROR, (len(images), 1, 1))
  mirrored = back(evaluator.landmarks(variables, images, warps))
  partner, distance = partners(points, mirrored)
  found = swapped(points, mirrored, partner)
  return {
    "images": len(images),
    "partner": (partner + 1).tolist(),
    "distance": (100 * distance).tolist(),
    "swapped": 100 * float(found.any(1).mean()),
  }


def line(partner):
  """Writes partners, counted from 1, as text: "1-4 2-3 5"."""
  pairs = {tuple(sorted(pair)) for pair in enumerate(partner, 1)}
  return " ".join(str(a) if a == b else f"{a}-{b}" for a, b in sorted(pairs))
