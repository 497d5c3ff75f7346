"""The 1-euro filter against its definition, and what it does to noise."""

import numpy as np

from c3_jax.inference.smoothing import OneEuro


def _run(points, confidence=None, side=1.0, rate=25.0, **options):
  smooth = OneEuro(**options)
  confidence = np.ones(points.shape[:2]) if confidence is None else confidence
  return np.stack(
    [
      smooth(p, c, side=side, seconds=i / rate)
      for i, (p, c) in enumerate(zip(points, confidence, strict=True))
    ]
  )


def test_without_speed_it_is_a_low_pass_filter():
  """x += a (measured - x), a = 1 / (1 + tau / dt), tau = 1 / (2 pi cutoff)."""
  points = np.random.default_rng(0).normal(size=(20, 3, 2))
  found = _run(points, cutoff=2.0, speed=0.0)
  a = 1 / (1 + 25 / (2 * np.pi * 2.0))
  want = [points[0]]
  for each in points[1:]:
    want.append(want[-1] + a * (each - want[-1]))
  np.testing.assert_allclose(found, want, atol=1e-12)


def test_noise_of_what_stands_still_falls():
  """To less than half; what moves fast is followed."""
  rng = np.random.default_rng(1)
  still = rng.normal(0, 0.002, (200, 4, 2))
  found = _run(still)
  assert np.diff(found, axis=0).std() < np.diff(still, axis=0).std() / 2
  moving = np.linspace(0, 2, 50)[:, None, None] * np.ones((1, 4, 2))
  assert np.abs(_run(moving)[-1] - moving[-1]).max() < 0.04


def test_the_unit_of_length_does_not_matter():
  """Pixels of a larger frame give the same, scaled."""
  points = np.random.default_rng(2).normal(size=(20, 3, 2))
  np.testing.assert_allclose(
    _run(480 * points, side=480.0), 480 * _run(points), atol=1e-9
  )


def test_an_unsure_landmark_waits():
  """At no confidence it stays where it was; at its usual one it moves."""
  points = np.zeros((10, 2, 2))
  points[5:] = 1.0
  confidence = np.full((10, 2), 0.6)
  confidence[5:, 0] = 0.0
  found = _run(points, confidence)
  np.testing.assert_array_equal(found[:, 0], 0)
  assert (found[5:, 1] > 0.3).all()
