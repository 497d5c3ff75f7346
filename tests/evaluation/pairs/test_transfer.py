"""Points arrive where the matches say, and errors are what regression's are."""

import numpy as np

from c3_jax.evaluation.pairs import transfer


def test_errors_are_those_of_each_way_to_carry():
  """In place, by landmarks that moved along, and by matches of a shift."""
  rng = np.random.default_rng(0)
  n, p, side = 4, 3, 8
  target = rng.uniform(-0.5, 0.5, (n, p, 2)).astype(np.float32)
  landmarks = rng.uniform(-1, 1, (n, 6, 2)).astype(np.float32)
  shift = np.float32([0.25, 0.0])  # One cell of eight to the right.
  scores = np.zeros((n,) + (side,) * 4, np.float32)
  for y in range(side):
    for x in range(side):
      scores[:, y, min(x + 1, side - 1), y, x] = 1
  values = transfer.collect(
    {
      "points_target": target,
      "points_source": target + shift,
      "visible": np.ones(target.shape[:2], bool),
      "landmarks_target": landmarks,
      "landmarks_source": landmarks + shift,
      "scores": scores,
    }
  )
  report = transfer.measure(values, image_size=32, normaliser=(0, 1))
  assert report["flow"] < 1e-4
  assert report["landmarks"] < 1e-4
  eyes = np.linalg.norm(target[:, 0] - target[:, 1], axis=-1)
  np.testing.assert_allclose(
    report["identity"], 100 * np.mean(0.25 / eyes), rtol=1e-5
  )
  by_side = transfer.measure(values, image_size=32, normaliser="image")
  np.testing.assert_allclose(by_side["identity"], 12.5, rtol=1e-5)
  assert values.keys() == {"flow", "landmarks", "identity", "truth"}
