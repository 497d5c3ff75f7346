"""Alignment agrees with NC-Net's published definition, point by point.

`ncnet` below is written from that definition for one point at a time, in the
pixels of the lists; it shares nothing with `alignment`.
"""

import csv
import math

import numpy as np
import pytest

from c3_jax.errors import UserError
from c3_jax.evaluation.pairs import alignment
from c3_jax.models import correspondence
from tests.conftest import ROOT

HARD = correspondence.Matcher()
LISTS = ROOT.parent / "shared/data/pf_pascal_lists"


def ncnet(matches, pair, definition):
  """PCK of one pair by NC-Net: {alpha: per cent}.

  Args:
    matches: [h][w] of (column, row) of the source, one for each target cell.
    pair: dict of 1-based pixels XA, YA, XB, YB of the visible points, and of
      sizes A, B as (width, height). A is the source.
    definition: "scnet", "image" or "box".
  """
  h, w = len(matches), len(matches[0])
  size_a, size_b = pair["A"], pair["B"]
  source = list(zip(pair["XA"], pair["YA"]))
  target = list(zip(pair["XB"], pair["YB"]))
  if definition == "scnet":
    source = [(224 * x / size_a[0], 224 * y / size_a[1]) for x, y in source]
    target = [(224 * x / size_b[0], 224 * y / size_b[1]) for x, y in target]
    size_a = size_b = (224, 224)
    length = 224
  elif definition == "image":
    length = max(size_a)
  else:
    xs, ys = zip(*source)
    length = max(max(xs) - min(xs), max(ys) - min(ys))
  distances = []
  for (xa, ya), (xb, yb) in zip(source, target):
    x = (xb - 1 - (size_b[0] - 1) / 2) * 2 / (size_b[0] - 1)
    y = (yb - 1 - (size_b[1] - 1) / 2) * 2 / (size_b[1] - 1)
    column = lambda i: -1 + 2 * i / (w - 1)  # noqa: E731
    row = lambda i: -1 + 2 * i / (h - 1)  # noqa: E731
    left = max(sum(x - column(i) > 0 for i in range(w)) - 1, 0)
    top = max(sum(y - row(i) > 0 for i in range(h)) - 1, 0)
    sums = [0.0, 0.0, 0.0]
    for across in (0, 1):
      for down in (0, 1):
        # The area between the point and the opposite corner.
        area = abs(x - column(left + 1 - across)) * abs(y - row(top + 1 - down))
        c, r = matches[top + down][left + across]
        for i, value in enumerate((column(c), row(r), 1)):
          sums[i] += area * value
    u, v = sums[0] / sums[2], sums[1] / sums[2]
    px = u * (size_a[0] - 1) / 2 + 1 + (size_a[0] - 1) / 2
    py = v * (size_a[1] - 1) / 2 + 1 + (size_a[1] - 1) / 2
    distances.append(math.hypot(px - xa, py - ya))
  return {
    alpha: 100 * sum(d <= alpha * length for d in distances) / len(distances)
    for alpha in (0.05, 0.1, 0.15)
  }


def as_batch(pairs, columns=20):
  """What a pair dataset and `matches.matched` would give for dicts `pairs`."""
  n = len(pairs)
  # Rows that are padded hold a value that must not count.
  points = {x: np.full((n, columns, 2), -1.0, np.float32) for x in "AB"}
  visible = np.zeros((n, columns), bool)
  for i, pair in enumerate(pairs):
    visible[i, : len(pair["XA"])] = True
    for x in "AB":
      for j, pixels in enumerate(zip(pair[f"X{x}"], pair[f"Y{x}"])):
        # Edges of the image are -1 and 1; the first pixel's centre is 1.
        coords = [
          (2 * (p - 1) + 1) / side - 1 for p, side in zip(pixels, pair[x])
        ]
        points[x][i, j] = coords
  k = 6
  rng = np.random.default_rng(5)
  return {
    "points_source": points["A"],
    "points_target": points["B"],
    "visible": visible,
    "size_source": np.array([pair["A"] for pair in pairs]),
    "size_target": np.array([pair["B"] for pair in pairs]),
    "category": np.array([pair.get("class", 0) for pair in pairs]),
    "index": np.arange(n),
    "landmarks_source": rng.uniform(-1, 1, (n, k, 2)).astype(np.float32),
    "landmarks_target": rng.uniform(-1, 1, (n, k, 2)).astype(np.float32),
  }


def random_pairs(n, seed=0, least=1):
  """Pairs of images of many sizes, with points up to their very edges.

  A pair has `least` to 17 points; of one point alone the box has no size.
  """
  rng = np.random.default_rng(seed)
  pairs = []
  for _ in range(n):
    pair = {x: tuple(int(v) for v in rng.integers(60, 500, 2)) for x in "AB"}
    count = rng.integers(least, 18)
    for x in "AB":
      for axis, side in zip("XY", pair[x]):
        pair[f"{axis}{x}"] = rng.uniform(0.6, side + 0.4, count).tolist()
    pair["XB"][0], pair["YB"][0] = 0.6, pair["B"][1]
    # Half of the points nearly in place, or almost nothing would be correct.
    for j in range(0, count, 2):
      for axis, i in (("X", 0), ("Y", 1)):
        pair[f"{axis}A"][j] = pair[f"{axis}B"][j] * pair["A"][i] / pair["B"][i]
    pairs.append(pair)
  return pairs


def random_scores(n, h, w, rng, *, near=True):
  """Scores [n, h, w, h, w] whose best match lies near each cell itself."""
  scores = rng.uniform(0, 1, (n, h, w, h, w)).astype(np.float32)
  if near:
    y, x = np.mgrid[:h, :w]
    distance = np.maximum(
      abs(y[:, :, None, None] - y), abs(x[:, :, None, None] - x)
    )
    scores += distance <= max(h, w) // 6
  return scores


def loop_matches(scores):
  """The best source cell (column, row) of each target cell, by a loop."""
  h, w = scores.shape[:2]
  cells = [(c, r) for r in range(h) for c in range(w)]
  return [
    [
      max(cells, key=lambda cell: scores[cell[1], cell[0], y, x])
      for x in range(w)
    ]  # noqa: B023
    for y in range(h)
  ]


def check_against_ncnet(pairs, scores):
  """Every definition and threshold, pair by pair."""
  values = alignment.collect(as_batch(pairs) | {"scores": scores}, HARD)
  got = values["scores"]
  total = {}
  stay = [[(c, r) for c in range(9)] for r in range(9)]
  for i, pair in enumerate(pairs):
    matches = loop_matches(scores[i])
    for definition in ("scnet", "image", "box"):
      for reading, where in (("flow", matches), ("identity", stay)):
        for alpha, expected in ncnet(where, pair, definition).items():
          key = f"{definition}@{alpha:g}"
          value = got[reading][key][i]
          assert abs(value - expected) < 1e-6, (i, reading, key)
          total.setdefault((reading, key), []).append(expected)
  summary = alignment.summary(values)
  assert summary["pairs"] == len(pairs)
  for (reading, key), each in total.items():
    np.testing.assert_allclose(
      summary["readings"][reading][key], np.mean(each), atol=1e-6
    )
  return total, values


@pytest.mark.parametrize("shape", [(11, 11), (6, 9)])
def test_random_matches_agree_with_ncnet(shape):
  """Random matches, sizes and numbers of points: equal to 1e-6."""
  pairs = random_pairs(12)
  scores = random_scores(12, *shape, np.random.default_rng(1))
  total, _ = check_against_ncnet(pairs, scores)
  assert 0 < np.mean(total["flow", "scnet@0.1"]) < 100


@pytest.mark.skipif(not LISTS.exists(), reason="needs the public lists")
def test_public_list_agrees_with_ncnet():
  """All 299 pairs and 2,414 points, with made-up matches and identity.

  The lists hold no sizes; any that hold the points will do.
  """
  rng = np.random.default_rng(0)
  with open(LISTS / "test_pairs.csv", newline="") as f:
    rows = list(csv.DictReader(f))
  pairs = []
  for row in rows:
    pair = {
      key: [float(v) for v in row[key].split(";")]
      for key in ("XA", "YA", "XB", "YB")
    }
    for x in "AB":
      pair[x] = tuple(
        math.ceil(max(pair[f"{axis}{x}"])) + int(rng.integers(0, 40))
        for axis in "XY"
      )
    pairs.append(pair)
  scores = random_scores(len(pairs), 4, 5, rng)
  total, values = check_against_ncnet(pairs, scores)
  assert len(total["identity", "box@0.1"]) == 299
  assert values["points"].sum() == 2414


def perfect_batch():
  """Pairs whose points correspond by one affine map in NC-Net's coordinates."""
  pairs = random_pairs(4, seed=3, least=2)
  for pair in pairs:
    for axis, i in (("X", 0), ("Y", 1)):
      a, b = pair["A"][i], pair["B"][i]
      pair[f"{axis}A"] = [
        1 + (a - 1) * (p - 1) / (b - 1) for p in pair[f"{axis}B"]
      ]
  return pairs


def test_a_perfect_predictor_is_always_right():
  """Matches and points that agree give 100 under every key."""
  scores = np.tile(np.eye(36).reshape(1, 6, 6, 6, 6), (4, 1, 1, 1, 1))
  found = alignment.collect(
    as_batch(perfect_batch()) | {"scores": scores}, HARD
  )
  for reading in ("flow", "identity"):
    for key, values in found["scores"][reading].items():
      np.testing.assert_array_equal(values, 100, err_msg=key)


def test_matches_between_cells_find_a_part_of_a_cell():
  """A shift of 0.4 cells is lost by argmax, and found between the cells."""
  side, shift = 8, 0.4  # Of a cell, to the right.
  pairs = random_pairs(3, seed=2, least=2)
  for pair in pairs:
    for axis, i in (("X", 0), ("Y", 1)):
      a, b = pair["A"][i], pair["B"][i]
      inner = np.clip(pair[f"{axis}B"], 0.2 * b, 0.7 * b)
      pair[f"{axis}B"] = inner.tolist()
      moved = (a - 1) * ((inner - 1) / (b - 1))
      moved += shift * (axis == "X") * (a - 1) / (side - 1)
      pair[f"{axis}A"] = (1 + moved).tolist()
  y, x = np.mgrid[:side, :side]
  square = (y[:, :, None, None] - y) ** 2
  square = square + (x[:, :, None, None] - x - shift) ** 2
  scores = np.tile(np.exp(-square / 2).astype(np.float32), (3, 1, 1, 1, 1))
  batch = as_batch(pairs) | {"scores": scores}
  frames = {"image": alignment.pair_pixels("image", batch)}
  truth, seen = frames["image"].source, batch["visible"]
  cell = (batch["size_source"][:, None, :1] - 1) / (side - 1)

  def error(match):
    found = alignment.carried(batch, frames, match)["flow", "image"]
    return np.linalg.norm((found - truth) / cell, axis=-1)[seen].mean()

  hard, between = map(
    error, (HARD, correspondence.Matcher(temperature=0.35, reach=2))
  )
  np.testing.assert_allclose(hard, shift, rtol=1e-3)
  assert between < hard / 3


def test_landmarks_that_move_with_the_points_carry_them():
  """An affine motion of landmarks carries points exactly as it says."""
  rng = np.random.default_rng(0)
  batch = as_batch(random_pairs(3, least=2)) | {
    "scores": random_scores(3, 4, 4, rng, near=False)
  }
  matrix = np.array([[0.7, 0.2], [-0.1, 0.9]])
  move = lambda x: x @ matrix + [0.05, -0.1]  # noqa: E731
  batch["landmarks_source"] = move(batch["landmarks_target"])
  batch["points_source"] = move(batch["points_target"].astype(float))
  scores = alignment.collect(batch, HARD)["scores"]
  for key, values in scores["landmarks"].items():
    np.testing.assert_array_equal(values, 100, err_msg=key)
  assert scores["flow"]["scnet@0.1"].mean() < 50


def test_combined_takes_the_better_match_near_the_landmarks():
  """Of two matches alike, the one where the landmarks point wins."""
  batch = as_batch(random_pairs(1))
  h = w = 8
  scores = np.full((1, h, w, h, w), 0.1, np.float32)
  scores[0, 1, 1, 4, 4] = 0.9  # The flow's choice, far away.
  scores[0, 4, 5, 4, 4] = 0.8
  batch["scores"] = scores
  batch["landmarks_source"] = batch["landmarks_target"]
  by_flow = alignment.matches(scores, HARD)
  combined = alignment.matches(alignment.with_landmarks(batch), HARD)
  place = lambda x, y: [2 * x / (w - 1) - 1, 2 * y / (h - 1) - 1]  # noqa: E731
  np.testing.assert_allclose(by_flow[0, 4, 4], place(1, 1), atol=1e-6)
  np.testing.assert_allclose(combined[0, 4, 4], place(5, 4), atol=1e-6)


def test_report_tells_categories_and_lists_apart():
  """Means over pairs, over those of a list and over those of a category."""
  pairs = random_pairs(8)
  for i, pair in enumerate(pairs):
    pair["class"] = i % 2
  scores = random_scores(8, 7, 7, np.random.default_rng(4))
  values = alignment.collect(as_batch(pairs) | {"scores": scores}, HARD)
  chosen = np.arange(8) < 3
  report = alignment.measure(
    values,
    categories=("cat", "dog", "cow"),
    lists={"short": chosen, "empty": np.zeros(8, bool)},
  )
  each = values["scores"]["flow"]["box@0.15"]
  mean = lambda part: part["readings"]["flow"]["box@0.15"]  # noqa: E731
  np.testing.assert_allclose(mean(report), each.mean())
  assert report["points"] == sum(len(pair["XA"]) for pair in pairs)
  assert report["lists"].keys() == {"short"}
  np.testing.assert_allclose(mean(report["lists"]["short"]), each[:3].mean())
  assert report["per_category"].keys() == {"cat", "dog"}
  for i, name in enumerate(("cat", "dog")):
    np.testing.assert_allclose(
      mean(report["per_category"][name]), each[i::2].mean()
    )
    assert report["per_category"][name]["pairs"] == 4


def test_a_pair_without_points_is_named():
  """No pair is dropped: one that cannot be measured is an error."""
  batch = as_batch(random_pairs(3))
  batch["scores"] = np.ones((3, 4, 4, 4, 4), np.float32)
  batch["visible"][1] = False
  with pytest.raises(UserError, match="pair 1 of the alignment list"):
    alignment.collect(batch, HARD)
