"""Consistency is a mean of distances that can be worked out one by one."""

import jax
import numpy as np
import pytest

from c3_jax.data import synthetic
from c3_jax.data.synthetic import head
from c3_jax.evaluation.pairs import consistency
from c3_jax.models import correspondence


def batch(n, k, seed=0, side=5):
  """Landmarks of n pairs, and scores that match each cell with another."""
  rng = np.random.default_rng(seed)
  return {
    "landmarks_target": rng.uniform(-1, 1, (n, k, 2)).astype(np.float32),
    "landmarks_source": rng.uniform(-1, 1, (n, k, 2)).astype(np.float32),
    "scores": rng.uniform(0, 1, (n,) + (side,) * 4).astype(np.float32),
  }


def lookup(field, point):
  """A field [h, w, 2] at a point in [-1, 1], bilinear, border repeated."""
  h, w = field.shape[:2]
  x = min(max(((point[0] + 1) * w - 1) / 2, 0), w - 1)
  y = min(max(((point[1] + 1) * h - 1) / 2, 0), h - 1)
  total = 0
  for row in range(h):
    for column in range(w):
      weight = max(1 - abs(x - column), 0) * max(1 - abs(y - row), 0)
      total = total + weight * field[row, column]
  return total


def test_distances_are_those_of_a_loop():
  """Flow, in place and spread, each by a loop over landmarks and pairs."""
  n, k, side = 3, 4, 5
  data = batch(n, k, side=side)
  report = consistency.measure(
    consistency.collect(data, correspondence.Matcher())
  )
  by_flow, in_place, apart = np.zeros((n, k)), [], []
  agrees = np.zeros((n, k), bool)
  centre = lambda i: (2 * i + 1) / side - 1  # noqa: E731
  for i in range(n):
    field, back = np.zeros((2, side, side, 2))
    for y in range(side):
      for x in range(side):
        best = np.argmax(data["scores"][i, :, :, y, x])
        field[y, x] = centre(best % side), centre(best // side)
        best = np.argmax(data["scores"][i, y, x])
        back[y, x] = centre(best % side), centre(best // side)
    source = data["landmarks_source"][i].astype(float)
    for j, point in enumerate(data["landmarks_target"][i].astype(float)):
      # The side of the image is 2 in coordinates.
      there = lookup(field, point)
      by_flow[i, j] = 50 * np.linalg.norm(there - source[j])
      # A cell is 2 / side wide.
      missed = np.linalg.norm(lookup(back, there) - point) * side / 2
      agrees[i, j] = missed <= 1
      in_place.append(50 * np.linalg.norm(point - source[j]))
      apart += [
        50 * np.linalg.norm(source[j] - source[m]) for m in range(k) if m != j
      ]
  assert report["pairs"] == n
  np.testing.assert_allclose(report["flow"], by_flow.mean(), rtol=1e-5)
  np.testing.assert_allclose(
    report["flow_per_landmark"], by_flow.mean(0), rtol=1e-5
  )
  assert 0 < agrees.sum() < n * k
  found = report["agreeing"]
  np.testing.assert_allclose(found["share"], 100 * agrees.mean())
  np.testing.assert_allclose(found["share_per_landmark"], 100 * agrees.mean(0))
  np.testing.assert_allclose(found["flow"], by_flow[agrees].mean(), rtol=1e-5)
  np.testing.assert_allclose(report["left_in_place"], np.mean(in_place))
  np.testing.assert_allclose(report["spread"], np.mean(apart))
  assert "truth" not in report


@pytest.mark.parametrize("error", [0.0, 0.1])
def test_landmarks_glued_to_the_skin_are_consistent(error):
  """Points of the surface agree by the true map; a shift is its length."""
  n = 6
  poses, _ = synthetic.posed(3, split="test", n=2 * n)
  target, source = (jax.tree.map(lambda x: x[i::2], poses) for i in (0, 1))  # noqa: B023
  place = jax.jit(jax.vmap(head.landmarks))
  values = {
    "target": np.asarray(place(target)),
    "source": np.asarray(place(source)) + [error, 0],
    "carried": np.zeros((n, 5, 2)),
    "agrees": np.zeros((n, 5), bool),
  }
  report = consistency.measure(values, (target, source))
  np.testing.assert_allclose(report["truth"], 50 * error, atol=1e-3)
  assert report["truth_share"] == 100


def test_landmarks_beside_the_face_have_no_truth():
  """What lies on no face is left out, and said so."""
  n = 6
  poses, _ = synthetic.posed(3, split="test", n=2 * n)
  pair = tuple(jax.tree.map(lambda x: x[i::2], poses) for i in (0, 1))  # noqa: B023
  values = {
    name: np.full((n, 5, 2), 5.0) for name in ("target", "source", "carried")
  } | {"agrees": np.zeros((n, 5), bool)}
  report = consistency.measure(values, pair)
  assert report["truth"] is None and report["truth_share"] == 0
  assert report["agreeing"]["flow"] is None
