"""Consistency: do landmarks lie on one spot of different objects (Fig. 3)?

The landmarks detected in one image (the target) are carried to another (the
source) and compared with those detected there. Every distance is in per cent
of the image side, its mean over landmarks and pairs. Landmarks that never move
are trivially consistent: "left_in_place" and "spread" reveal them.
"""

import jax
import numpy as np

from c3_jax.data.synthetic import head
from c3_jax.evaluation.pairs import transfer

_true_places = jax.jit(jax.vmap(head.correspondence))


def percent(a, b):
  """Measures distances of points [.., 2], in per cent of the side: [..]."""
  difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
  return 50 * np.linalg.norm(difference, axis=-1)


def spread(points):
  """Averages the distance between landmarks [n, k, 2] of one image, per cent.

  It is 0 for one landmark.
  """
  k = points.shape[1]
  distance = percent(points[:, :, None], points[:, None])
  return float(distance.sum((1, 2)).mean() / max(k * (k - 1), 1))


def collect(batch, match):
  """Collects the landmarks of a batch of `matching.matched`.

  `match` is the `correspondence.Matcher` that reads T.

  Returns:
    {"target", "source", "carried"}, each [n, k, 2]; carried lies in the source.
    "agrees", bool [n, k], as in `transfer.collect`.
  """
  target = batch["landmarks_target"]
  arrived, missed = transfer.there_and_back(batch["scores"], target, match)
  return {
    "target": target,
    "source": batch["landmarks_source"],
    "carried": np.asarray(arrived),
    "agrees": np.asarray(missed) <= transfer.WITHIN,
  }


def measure(values, poses=None):
  """Measures the consistency of landmarks over pairs of images.

  Args:
    values: from `collect`, of all pairs.
    poses: (target, source), two `HeadPose`s of arrays [pairs, ..], where the
      true correspondence is known; else None.

  Returns:
    {"pairs", "flow", "flow_per_landmark": [k], "left_in_place", "spread"} and
    "agreeing": "share", the per cent of landmarks where the flow agrees with
    its way back, "share_per_landmark": [k], and "flow", of these alone. With
    poses, "truth", by the true correspondence, and "truth_share", the per cent
    of landmarks that it could carry: on a face, and visible in both images.
    "flow" and "truth" are None where there are none.
  """
  target, source = values["target"], values["source"]
  by_flow = percent(values["carried"], source)
  agrees = values["agrees"]
  result = {
    "pairs": len(target),
    "flow": float(by_flow.mean()),
    "flow_per_landmark": by_flow.mean(0).tolist(),
    "left_in_place": float(percent(target, source).mean()),
    "spread": spread(source),
    "agreeing": {
      "share": float(100 * agrees.mean()),
      "share_per_landmark": (100 * agrees.mean(0)).tolist(),
      "flow": transfer.average(by_flow[agrees]),
    },
  }
  if poses is None:
    return result
  place, seen = _true_places(*poses, target)
  seen = np.asarray(seen)
  by_truth = percent(place, source)[seen]
  return result | {
    "truth": transfer.average(by_truth),
    "truth_share": float(100 * seen.mean()),
  }
