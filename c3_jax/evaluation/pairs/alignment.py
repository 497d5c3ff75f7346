"""Semantic alignment: percentage of correct keypoints (PCK; Table 3).

The annotated points of the target image are carried to the source image and
compared there. A point is correct within alpha times a length L, a pair
counts its share of correct points, and PCK is the mean over pairs. Coordinates
are those of NC-Net's evaluation: 1-based pixels of the file, and
`u = (p - 1 - (side - 1) / 2) * 2 / (side - 1)`, so that the centres of the
first and the last pixel are -1 and 1, as are those of the outer cells of a map.

  "scnet"  both images count as 224 x 224, L = 224 (NC-Net, the paper)
  "image"  pixels of the file, L = the longer side of the source
  "box"    pixels of the file, L = the longer side of the box round the
           source's points (NC-Net's "pf")

Four readings carry the points:

  "flow"       the match of each cell under C^, by argmax or as the run's
               objective.flow_reach and flow_smooth say, read between cells as
               NC-Net does
  "landmarks"  a thin-plate spline from the target's landmarks to the source's
  "combined"   as flow, with C^ weighted by a gaussian round the place that the
               landmarks give
  "identity"   stays where it is
"""

import dataclasses
import itertools

import jax
import numpy as np

from c3_jax import geometry
from c3_jax.errors import UserError
from c3_jax.geometry import spline
from c3_jax.runs.reports import READINGS

ALPHAS = (0.05, 0.1, 0.15)
DEFINITIONS = ("scnet", "image", "box")
KEYS = tuple(f"{name}@{alpha:g}" for name in DEFINITIONS for alpha in ALPHAS)
SCNET_SIDE = 224
# Of the gaussian in "combined", in coordinates: a fifth of the side. Chosen
# once, not tuned.
PRIOR = 0.4

_read = jax.jit(lambda match, c: match(c), static_argnums=0)


@dataclasses.dataclass(frozen=True)
class PairPixels:
  """A batch of pairs as one definition of PCK sees it, in 1-based pixels.

  Attributes:
    source, target: [n, P, 2] points.
    source_size, target_size: [n, 2] (width, height).
    length: [n], L.
  """

  source: np.ndarray
  target: np.ndarray
  source_size: np.ndarray
  target_size: np.ndarray
  length: np.ndarray


def pair_pixels(definition, batch):
  """Makes the `PairPixels` of one of `DEFINITIONS` for a batch of pairs."""
  images = ("source", "target")
  sizes = [np.asarray(batch[f"size_{x}"], float) for x in images]
  source, target = points = [
    geometry.coords_to_one_based_pixels(batch[f"points_{x}"], size)
    for x, size in zip(images, sizes)
  ]
  if definition == "scnet":
    square = np.full_like(sizes[0], SCNET_SIDE)
    scaled = (p * SCNET_SIDE / s[:, None] for p, s in zip(points, sizes))
    return PairPixels(*scaled, square, square, square[:, 0])
  if definition == "image":
    length = sizes[0].max(1)
  else:
    hidden = ~batch["visible"][..., None]
    low = np.where(hidden, np.inf, source).min(1)
    length = (np.where(hidden, -np.inf, source).max(1) - low).max(1)
  return PairPixels(source, target, *sizes, length)


def matches(scores, match):
  """Reads T^{source->target} off C^ [n, h, w, h, w]: [n, h, w, 2].

  Entry (y, x) is the point of the source that matches cell (y, x) of the
  target, in NC-Net's coordinates. `match` is a `correspondence.Matcher`.
  """
  h, w = scores.shape[1:3]
  # There the centres of the outer cells lie at -1 and 1.
  return np.asarray(_read(match, scores), np.float64) * [
    w / (w - 1),
    h / (h - 1),
  ]


def blend(field, points):
  """Reads matches between cells as NC-Net does.

  Args:
    field: [n, h, w, 2] from `matches`.
    points: [n, P, 2] in NC-Net's coordinates, of the target.

  Returns:
    [n, P, 2] in the source: the matches of the four cells round each point,
    each weighted by the area towards the opposite cell. Beyond the outer
    cells areas are counted as positive, as NC-Net does.
  """
  n, h, w = field.shape[:3]
  line_x, line_y = np.linspace(-1, 1, w), np.linspace(-1, 1, h)
  x, y = points[..., 0], points[..., 1]
  left = np.clip((x[..., None] > line_x).sum(-1) - 1, 0, w - 2)
  top = np.clip((y[..., None] > line_y).sum(-1) - 1, 0, h - 2)
  total, area = 0, 0
  for right, below in itertools.product((0, 1), repeat=2):
    weight = np.abs(x - line_x[left + 1 - right])
    weight = weight * np.abs(y - line_y[top + 1 - below])
    match = field[np.arange(n)[:, None], top + below, left + right]
    total, area = total + weight[..., None] * match, area + weight
  return total / area[..., None]


def by_spline(batch, points):
  """Carries points [n, p, 2] of the target by the spline of the landmarks."""
  landmarks = batch["landmarks_target"], batch["landmarks_source"]
  return spline.move(*landmarks, points)


def with_landmarks(batch):
  """Weights C^ by where the landmarks carry each cell: [n, h, w, h, w]."""
  scores = batch["scores"]
  n, h, w = scores.shape[:3]
  grid = np.asarray(geometry.grid(h, w), np.float64).reshape(h * w, 2)
  place = by_spline(batch, np.broadcast_to(grid, (n, h * w, 2)))
  weighted = np.empty_like(scores)
  for i in range(n):  # All at once would take gigabytes at 25 x 25 cells.
    square = ((grid[:, None] - place[i]) ** 2).sum(-1)
    weight = np.exp(-square / PRIOR**2)
    weighted[i] = scores[i] * weight.reshape(h, w, h, w)
  return weighted


def carried(batch, frames, match):
  """Carries the target's points by each reading, in pixels of each frame.

  Args:
    batch: from `matching.matched`.
    frames: definition -> `PairPixels`.
    match: as in `collect`.

  Returns:
    {(reading, definition): [n, P, 2]}, 1-based pixels of the source.
  """
  flow = matches(batch["scores"], match)
  combined = matches(with_landmarks(batch), match)
  place = by_spline(batch, batch["points_target"])
  place = geometry.coords_to_one_based_pixels(place, batch["size_source"])
  result = {}
  for name, view in frames.items():
    unit = geometry.one_based_pixels_to_aligned(view.target, view.target_size)
    for reading, points in (
      ("flow", blend(flow, unit)),
      ("combined", blend(combined, unit)),
      ("identity", unit),
    ):
      result[reading, name] = geometry.aligned_to_one_based_pixels(
        points, view.source_size
      )
    scale = view.source_size / np.asarray(batch["size_source"])
    result["landmarks", name] = place * scale[:, None]
  return result


def pck(predicted, view, visible, alpha):
  """Counts the share of correct points of each pair: [n] in per cent.

  `predicted` [n, P, 2] are in pixels of the frame `view`; each row of `visible`
  [n, P] has a True; alpha is a share of L.
  """
  distance = np.linalg.norm(predicted - view.source, axis=-1)
  hit = (distance <= alpha * view.length[:, None]) & visible
  return 100 * (hit.sum(1) / visible.sum(1))


def collect(batch, match):
  """Collects the PCK of each pair of a batch of `matching.matched`.

  `match` is the `correspondence.Matcher` that reads T.

  Returns:
    A dict of arrays [n] and, under "scores", {reading: {"scnet@0.05": [n],
    ..}}: the PCK of each pair in per cent.

  Raises:
    UserError: a pair has no point.
  """
  visible = np.asarray(batch["visible"])
  empty = np.flatnonzero(~visible.any(1))
  if empty.size:
    raise UserError(
      f"pair {batch['index'][empty[0]]} of the alignment list has no keypoint: "
      "delete its row, or give it some"
    )
  frames = {name: pair_pixels(name, batch) for name in DEFINITIONS}
  places = carried(batch, frames, match)
  scores = {
    reading: {
      f"{name}@{alpha:g}": pck(places[reading, name], view, visible, alpha)
      for name, view in frames.items()
      for alpha in ALPHAS
    }
    for reading in READINGS
  }
  return {
    "scores": scores,
    "points": visible.sum(1),
    "category": batch["category"],
    "index": batch["index"],
  }


def summary(values, chosen=slice(None)):
  """Averages what `collect` gave over some pairs, of all by default.

  Returns:
    {"pairs": int, "readings": {reading: {key: per cent}}}.
  """
  scores = values["scores"]
  return {
    "pairs": len(values["points"][chosen]),
    "readings": {
      reading: {key: float(scores[reading][key][chosen].mean()) for key in KEYS}
      for reading in READINGS
    },
  }


def measure(values, *, categories=(), lists=None):
  """Averages PCK over a pair dataset, its lists and its categories.

  Args:
    values: from `collect`, of all pairs.
    categories: names; the dataset's category is an index into them.
    lists: name -> bool [pairs], shorter lists within the dataset's.

  Returns:
    `summary` of all pairs with the number of "points", and "lists" and
    "per_category": name -> `summary`, of those that have a pair.
  """
  chosen = {name: mask[values["index"]] for name, mask in (lists or {}).items()}
  groups = {name: values["category"] == i for i, name in enumerate(categories)}
  parts = lambda masks: {  # noqa: E731
    name: summary(values, mask) for name, mask in masks.items() if mask.any()
  }
  return summary(values) | {
    "points": int(values["points"].sum()),
    "lists": parts(chosen),
    "per_category": parts(groups),
  }
