"""Smooths the landmarks of a clip: less jitter where nothing moves.

The 1-euro filter (Casiez, Roussel, Vogel, 2012): a low-pass filter whose cutoff
rises with speed, so that what stands still is calm and what moves lags little.
It looks at no later frame. A landmark follows the less, the less its confidence
is in this frame than it was before.
"""

import numpy as np

# Hertz; hertz per image side a second; hertz. See benchmarks/video.py.
CUTOFF = 1.0
SPEED = 20.0
SPEED_CUTOFF = 1.0
_FRAME = 1 / 25  # Seconds between frames that have no times.
_MEMORY = 0.9  # Of the running mean of confidence, a frame.


class OneEuro:
  """Smooths the points of one clip, frame by frame."""

  def __init__(self, *, cutoff=CUTOFF, speed=SPEED, speed_cutoff=SPEED_CUTOFF):
    self._cutoff, self._slope = cutoff, speed
    self._speed_cutoff = speed_cutoff
    self._points = None

  def __call__(self, points, confidence, *, side, seconds=None):
    """Smooths the points of the next frame.

    Args:
      points: [n, 2] in pixels of the frame.
      confidence: [n], > 0 where there is any.
      side: of the frame in pixels, the shorter one.
      seconds: of the frame; None counts it as 1/25 after the one before.

    Returns:
      [n, 2], the points smoothed; those of the first frame are unchanged.
    """
    points = np.asarray(points, np.float64) / side
    confidence = np.asarray(confidence, np.float64)
    if self._points is None:
      self._points, self._speed = points, np.zeros_like(points)
      self._usual, self._seconds = confidence, seconds
      return points * side
    step = _FRAME
    if seconds is not None and self._seconds is not None:
      step = max(seconds - self._seconds, 1e-3)
    self._seconds = seconds
    trust = np.clip(confidence / np.maximum(self._usual, 1e-6), 0, 1)[:, None]
    self._usual = _MEMORY * self._usual + (1 - _MEMORY) * confidence
    speed = (points - self._points) / step
    self._speed += (
      trust * _gain(self._speed_cutoff, step) * (speed - self._speed)
    )
    cutoff = self._cutoff + self._slope * np.linalg.norm(
      self._speed, axis=-1, keepdims=True
    )
    moved = trust * _gain(cutoff, step) * (points - self._points)
    self._points = self._points + moved
    return self._points * side


def _gain(cutoff, step):
  """Gives the share of a step that a low-pass filter follows."""
  rate = 2 * np.pi * cutoff * step
  return rate / (rate + 1)


class Smoother:
  """Smooths the landmarks of clips, given frame by frame, clip after clip."""

  def __init__(self):
    self._clip = self._filter = None

  def __call__(self, found):
    """Smooths a `predictor.Landmarks`; an image stays as it is."""
    if found.frame is None:
      return found
    if found.name != self._clip or not found.frame:
      self._clip, self._filter = found.name, OneEuro()
    k, points, confidence = len(found.points), found.points, found.confidence
    if found.annotated is not None:
      points = np.concatenate([points, found.annotated])
      # Each depends on all landmarks.
      mean = np.full(len(found.annotated), confidence.mean())
      confidence = np.concatenate([confidence, mean])
    points = self._filter(
      points, confidence, side=min(found.size), seconds=found.seconds
    )
    annotated = None if found.annotated is None else points[k:]
    return found._replace(points=points[:k], annotated=annotated)
