"""Points arrive where the matches say, and errors are what regression's are."""

import numpy as np

from c3_jax.evaluation.pairs import transfer
from c3_jax.models import correspondence


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
    },
    correspondence.Matcher(),
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
  assert report["agreeing"]["share"] == 100
  assert report["agreeing"]["flow"] == report["flow"]


def test_points_that_do_not_come_back_are_told_apart():
  """Two of four points arrive and return; one is lost, one not annotated."""
  side = 8
  cell = lambda x, y: np.float32([(2 * x + 1) / side, (2 * y + 1) / side]) - 1  # noqa: E731
  target = np.stack([cell(1, 1), cell(6, 1), cell(1, 6), cell(6, 6)])[None]
  scores = np.zeros((1,) + (side,) * 4, np.float32)
  for y in range(side):
    for x in range(side):
      scores[0, y, x, y, x] = 1
  # The third cell finds the middle, which knows nothing of it.
  scores[0, 3, 4, 6, 1], scores[0, 3, 4, 3, 4] = 2, 3
  values = transfer.collect(
    {
      "points_target": target,
      "points_source": target,
      "visible": np.array([[True, True, True, False]]),
      "landmarks_target": target,
      "landmarks_source": target,
      "scores": scores,
    },
    correspondence.Matcher(),
  )
  np.testing.assert_array_equal(values["agrees"], [[True, True, False, True]])
  found = transfer.measure(values, image_size=32, normaliser=(0, 1))
  lost = np.linalg.norm(cell(4, 3) - cell(1, 6)) / np.linalg.norm(
    cell(1, 1) - cell(6, 1)
  )
  np.testing.assert_allclose(found["flow"], 100 * lost / 3, rtol=1e-5)
  np.testing.assert_allclose(found["agreeing"]["share"], 200 / 3)
  assert found["agreeing"]["flow"] < 1e-4
