"""Agreement of the parts that landmarks induce, against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from c3_jax.evaluation import parts


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("k", "p"), [(10, 5), (3, 7), (1, 4), (4, 1), (1, 1)])
def test_nmi_and_ari_equal_those_of_scikit_learn(k, p, noise):
  """The nearest landmark is the part; both numbers to 1e-9, in per cent."""
  rng = np.random.default_rng(k + 10 * p)
  n = 40
  landmarks = rng.uniform(-1, 1, (k, 2)) + rng.normal(0, noise, (n, k, 2))
  points = rng.uniform(-1, 1, (p, 2)) + rng.normal(0, noise, (n, p, 2))
  true, found = [], []
  for image in range(n):
    for name in range(p):
      distance = [
        np.hypot(*(points[image, name] - place)) for place in landmarks[image]
      ]
      true.append(name)
      found.append(int(np.argmin(distance)))
  got = parts.measure(landmarks, points)
  nmi = 100 * metrics.normalized_mutual_info_score(true, found)
  ari = 100 * metrics.adjusted_rand_score(true, found)
  np.testing.assert_allclose([got["nmi"], got["ari"]], [nmi, ari], atol=1e-9)


def test_landmarks_on_the_points_agree_and_random_ones_do_not():
  """100 % where each point has a landmark of its own, 0 where chance rules."""
  rng = np.random.default_rng(0)
  points = rng.uniform(-1, 1, (2000, 5, 2))
  assert parts.measure(points, points) == {"nmi": 100.0, "ari": 100.0}
  found = parts.measure(rng.uniform(-1, 1, (2000, 5, 2)), points)
  assert abs(found["ari"]) < 0.5 and 0 <= found["nmi"] < 0.5
