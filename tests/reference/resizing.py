"""Resizes images by slow sums in floating point, to compare with."""

import numpy as np


def _shares(n, side):
  """Computes the shares of n pixels in those of a shrunk axis: [side, n]."""
  edges = np.arange(side + 1)[:, None] * n / side
  before = (edges - np.arange(n)).clip(0, 1)  # Of a pixel, before an edge.
  return np.diff(before, axis=0) * side / n


def _hats(n, side):
  """Computes bilinear weights, the border replicated: [side, n]."""
  centres = (np.arange(side)[:, None] + 0.5) * n / side - 0.5
  return (1 - np.abs(centres.clip(0, n - 1) - np.arange(n))).clip(0)


def resized(image, side):
  """Resizes pixels [h, w, 3]: float64 [side, side, 3].

  An axis that shrinks to less than 0.7 is averaged over, another bilinear;
  within 1 of 255 of what is loaded, or 1.5 where the axes differ.
  """
  rows, columns = (
    (_shares if side < 0.7 * n else _hats)(n, side) for n in image.shape[:2]
  )
  return np.einsum("yh,hwc,xw->yxc", rows, image.astype(float), columns)
