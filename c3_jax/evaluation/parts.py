"""Parts that landmarks induce: the nearest landmark is the part of a point.

Papers on part discovery score how well the parts found agree with annotated
points: points of one name should fall into one part in all images, those of two
names into two. Landmarks that never move score well on aligned images.
"""

import numpy as np


def measure(landmarks, points):
  """Measures agreement over all points of all images.

  Args:
    landmarks: [n, K, 2].
    points: [n, P, 2], annotated, in the unit of landmarks; NaN where missing.

  Returns:
    {"nmi", "ari"} of `agreement`, in per cent.
  """
  apart = np.linalg.norm(points[:, :, None] - landmarks[:, None], axis=-1)
  part = apart.argmin(-1)  # [n, P]
  here = ~np.isnan(points).any(-1)
  counts = [
    np.bincount(part[rows, p], minlength=landmarks.shape[1])
    for p, rows in enumerate(here.T)
  ]
  nmi, ari = agreement(np.stack(counts))
  return {"nmi": 100 * nmi, "ari": 100 * ari}


def agreement(counts):
  """Measures how far two partitions of the same elements agree.

  Args:
    counts: [P, K], the number of elements in class p of the one and class k of
      the other.

  Returns:
    (normalised mutual information, adjusted Rand index) as scikit-learn
    defines them: 1 for equal partitions; of unrelated ones the latter is 0 in
    expectation.
  """
  counts = np.asarray(counts, np.float64)
  total, rows, columns = counts.sum(), counts.sum(1), counts.sum(0)
  squares = (counts**2).sum()
  # Pairs of elements, in both orders: together in one partition alone.
  only_rows = (rows**2).sum() - squares
  only_columns = (columns**2).sum() - squares
  if not only_rows and not only_columns:
    return 1.0, 1.0
  information = _entropy(rows) + _entropy(columns) - _entropy(counts)
  nmi = 2 * max(information, 0) / (_entropy(rows) + _entropy(columns))
  both = squares - total
  neither = total**2 - squares - only_rows - only_columns
  ari = (both * neither - only_rows * only_columns) / (
    (both + only_rows) * (only_rows + neither)
    + (both + only_columns) * (only_columns + neither)
  )
  return float(nmi), float(2 * ari)


def _entropy(counts):
  """Computes the entropy in nats of classes with so many elements."""
  share = counts[counts > 0] / counts.sum()
  return -(share * np.log(share)).sum()
