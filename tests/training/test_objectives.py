"""The losses against slow loops over batch, space and channels."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from c3_jax.training import objectives


def normal(seed, *shape):
  """Random normal numbers, float32."""
  return np.random.default_rng(seed).normal(size=shape).astype("f4")


def slow_pose_difference(p, q):
  """Squared error of [h, w, k] maps: mean over space, sum over k."""
  h, w, k = p.shape
  total = 0.0
  for channel in range(k):
    for r, c in np.ndindex(h, w):
      total += (float(p[r, c, channel]) - q[r, c, channel]) ** 2 / (h * w)
  return total


def slow_read(maps, x, y):
  """Value [k] of maps [h, w, k] at (x, y) in [-1, 1], bilinear."""
  h, w, _ = maps.shape
  column = min(max((x + 1) * w / 2 - 0.5, 0), w - 1)
  row = min(max((y + 1) * h / 2 - 0.5, 0), h - 1)
  return sum(
    max(0, 1 - abs(row - r)) * max(0, 1 - abs(column - c)) * maps[r, c]
    for r, c in np.ndindex(h, w)
  )


def slow_warp(maps, field):
  """T o p of one image: maps [h, w, k], field [h, w, 2]."""
  return np.array([[slow_read(maps, *xy) for xy in row] for row in field])


def test_partner_exchanges_the_images_of_a_pair():
  """2m and 2m + 1 change places; twice is nothing."""
  x = normal(0, 6, 2, 3)
  got = objectives.partner(jnp.array(x))
  np.testing.assert_array_equal(got, x[[1, 0, 3, 2, 5, 4]])
  np.testing.assert_array_equal(objectives.partner(got), x)


def test_invariance_agrees_with_loops():
  """Eq. 2: both terms of a pair, averaged over the pairs."""
  maps, again = normal(1, 4, 3, 5, 2), normal(2, 4, 3, 5, 2)
  want = 0.0
  for pair in range(2):
    i, j = 2 * pair, 2 * pair + 1
    want += slow_pose_difference(again[i], maps[i]) / 2
    want += slow_pose_difference(again[j], maps[j]) / 2
  got = jax.jit(objectives.invariance)(maps, again)
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_equivariance_agrees_with_loops():
  """Eq. 4: p_i against T^{j->i} o p_j and the reverse, each pair by itself."""
  maps_i, maps_j = normal(3, 3, 3, 4, 2), normal(4, 3, 3, 4, 2)
  t_ij, t_ji = np.clip(0.6 * normal(5, 2, 3, 3, 4, 2), -1.2, 1.2)
  want = 0.0
  for m in range(3):
    want += slow_pose_difference(maps_i[m], slow_warp(maps_j[m], t_ji[m])) / 3
    want += slow_pose_difference(maps_j[m], slow_warp(maps_i[m], t_ij[m])) / 3
  got = jax.jit(objectives.equivariance)(maps_i, maps_j, t_ij, t_ji)
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_checked_equivariance_counts_the_cells_that_come_back():
  """Of each image a mean over its cells that return, in loops; 0 without."""
  h, w, pairs = 3, 4, 3
  maps_i, maps_j = normal(3, pairs, h, w, 2), normal(4, pairs, h, w, 2)
  centre = lambda r, c: np.array([(2 * c + 1) / w, (2 * r + 1) / h]) - 1  # noqa: E731
  grid = np.array([[centre(r, c) for c in range(w)] for r in range(h)])
  t_ij, t_ji = np.tile(grid, (2, pairs, 1, 1, 1)).astype("f4")
  t_ij[0] += 0.4 * normal(5, h, w, 2)
  t_ij[1], t_ji[1] = centre(0, 0), centre(0, 0)
  t_ij[2, :, :], t_ji[2] = [0.9, 0.0], -t_ji[2][..., ::-1]

  def mean_returning(target, maps, out, back):
    total, count = 0.0, 0
    moved = slow_warp(maps, out)
    for r, c in np.ndindex(h, w):
      missed = (slow_read(back, *out[r, c]) - centre(r, c)) * [w / 2, h / 2]
      if np.hypot(*missed) <= 1.1:
        total += ((target[r, c] - moved[r, c]) ** 2).sum()
        count += 1
    return total / max(count, 1), count

  want, counts = 0.0, []
  for m in range(pairs):
    for args in (
      (maps_i[m], maps_j[m], t_ji[m], t_ij[m]),
      (maps_j[m], maps_i[m], t_ij[m], t_ji[m]),
    ):
      mean, count = mean_returning(*args)
      want += mean / pairs
      counts.append(count)
  assert 0 < min(counts[:2]) < h * w
  checked = partial(objectives.equivariance, check=1.1)
  value, grads = jax.jit(jax.value_and_grad(checked, (0, 1)))(
    maps_i, maps_j, t_ij, t_ji
  )
  np.testing.assert_allclose(value, want, rtol=1e-5)
  assert all(np.isfinite(g).all() for g in grads)


def test_equivariance_without_a_cell_that_returns_is_zero():
  """No cell comes back: the loss and its gradient are 0, not NaN."""
  maps = normal(3, 2, 3, 4, 2)
  away = np.full((2, 3, 4, 2), 3.0, "f4")
  checked = partial(objectives.equivariance, check=0.5)
  value, grad = jax.jit(jax.value_and_grad(checked))(maps, -maps, away, away)
  np.testing.assert_array_equal(value, 0)
  np.testing.assert_array_equal(grad, np.zeros_like(maps))


def test_equivariance_moves_both_poses():
  """The gradient reaches the maps of both images and a soft T."""
  args = normal(3, 2, 3, 4, 2), normal(4, 2, 3, 4, 2), *normal(5, 2, 2, 3, 4, 2)
  args = [jnp.array(0.4 * x) for x in args]
  grads = jax.jit(jax.grad(objectives.equivariance, (0, 1, 2, 3)))(*args)
  assert all(np.abs(g).max() > 1e-4 for g in grads)


def test_point_difference_agrees_with_loops():
  """L_warp: squared distances, summed over landmarks, two views a pair."""
  points, moved = normal(20, 3, 4, 2), normal(21, 3, 4, 2)
  want = 0.0
  for image, landmark in np.ndindex(3, 4):
    (x, y), (u, v) = points[image, landmark], moved[image, landmark]
    want += 2 * ((x - u) ** 2 + (y - v) ** 2) / 3
  got = objectives.point_difference(jnp.array(points), jnp.array(moved))
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_crowding_agrees_with_loops_and_counts_pairs_on_one_spot():
  """L_apart: a gaussian of the distance of every two landmarks."""
  points = 0.2 * normal(22, 3, 4, 2)
  want = 0.0
  for image, first, second in np.ndindex(3, 4, 4):
    if first < second:
      distance = math.dist(points[image, first], points[image, second])
      want += math.exp(-(distance**2) / (2 * 0.3**2)) / 3
  got = objectives.crowding(jnp.array(points), 0.3)
  np.testing.assert_allclose(got, want, rtol=1e-5)
  assert objectives.crowding(jnp.zeros((2, 4, 2)), 0.3) == 6
  line = jnp.arange(4.0)[None, :, None] * jnp.ones(2)
  assert objectives.crowding(line, 0.1) < 1e-6


def test_tap_distances_agree_with_loops():
  """Each tap is the plain mean of its squared difference, in float32."""
  targets = {"a": normal(6, 2, 4, 4, 3), "b": normal(7, 2, 2, 2, 5)}
  outputs = {"a": normal(8, 2, 4, 4, 3), "b": normal(9, 2, 2, 2, 5)}
  got = jax.jit(objectives.tap_distances)(targets, outputs)
  assert set(got) == {"a", "b"}
  for tap, target in targets.items():
    want = sum(
      (float(x) - float(y)) ** 2
      for x, y in zip(target.ravel(), outputs[tap].ravel())
    )
    np.testing.assert_allclose(got[tap], want / target.size, rtol=1e-5)
  half = {"a": jnp.full((1, 2, 2, 1), 300.0, jnp.bfloat16)}
  got = objectives.tap_distances(half, {"a": -half["a"]})["a"]
  assert got.dtype == jnp.float32
  np.testing.assert_allclose(got, 600**2)


def test_tap_distances_weigh_cells_by_the_mask_of_their_image():
  """The mask, shrunk as torch's antialiased resize does, weighs each cell."""
  mask = np.random.default_rng(10).uniform(size=(2, 8, 8, 1)).astype("f4")
  targets = {f"{n}": normal(n, 2, n, n, 3) for n in (8, 4, 2)}
  outputs = {f"{n}": normal(n + 1, 2, n, n, 3) for n in (8, 4, 2)}
  got = jax.jit(objectives.tap_distances)(targets, outputs, mask)
  for tap, target in targets.items():
    n = int(tap)
    small = torch.nn.functional.interpolate(
      torch.tensor(mask[..., 0])[:, None],
      size=(n, n),
      mode="bilinear",
      antialias=True,
    )[:, 0].numpy()
    want = 0.0
    for b, r, c in np.ndindex(2, n, n):
      for channel in range(3):
        difference = target[b, r, c, channel] - outputs[tap][b, r, c, channel]
        want += small[b, r, c] * difference**2
    np.testing.assert_allclose(got[tap], want / target.size, rtol=1e-4)


def test_mask_of_ones_is_no_mask_and_zero_hides():
  """Weight 1 changes nothing at any size; a difference under 0 is not seen."""
  targets = {f"{n}": jnp.array(normal(n, 1, n, n, 2)) for n in (8, 2)}
  outputs = {n: x + 1 for n, x in targets.items()}
  got = jax.jit(objectives.tap_distances)(
    targets, outputs, jnp.ones((1, 8, 8, 1))
  )
  for distance in got.values():
    np.testing.assert_allclose(distance, 1, rtol=1e-5)
  got = jax.jit(objectives.tap_distances)(
    targets, outputs, jnp.zeros((1, 8, 8, 1))
  )
  assert all(distance == 0 for distance in got.values())


def test_running_means_start_from_the_first_batch():
  """0 stands for no mean yet; later batches enter with 1 - decay."""
  running = {"a": jnp.array(0.0), "b": jnp.array(2.0)}
  distances = {"a": jnp.array(5.0), "b": jnp.array(6.0)}
  got = objectives.update_running(running, distances, decay=0.75)
  np.testing.assert_allclose([got["a"], got["b"]], [5, 3])
  got = objectives.update_running(got, distances, decay=0.75)
  np.testing.assert_allclose([got["a"], got["b"]], [5, 3.75])


def test_an_early_running_mean_has_forgotten_its_first_batch():
  """After 50 steps of 1 a first 100 weighs nothing; at 0.99 most of it does."""

  def after(decay_of):
    running = {"a": jnp.array(100.0)}
    for step in range(1, 51):
      running = objectives.update_running(
        running, {"a": jnp.array(1.0)}, decay=decay_of(step)
      )
    return running["a"]

  assert after(lambda step: objectives.early_decay(0.99, step)) < 1.001
  assert after(lambda step: 0.99) > 60
  assert objectives.early_decay(0.99, 10_000) == jnp.float32(0.99)


def test_perceptual_is_the_mean_ratio_to_the_running_means():
  """P is 1 on the first batch; the running means pass no gradient."""
  distances = {"a": jnp.array(5.0), "b": jnp.array(0.02)}
  first = objectives.update_running(
    {tap: jnp.array(0.0) for tap in distances}, distances, decay=0.99
  )
  np.testing.assert_allclose(objectives.perceptual(distances, first), 1)
  running = {"a": jnp.array(4.0), "b": jnp.array(0.04)}
  got = objectives.perceptual(distances, running)
  np.testing.assert_allclose(got, (5 / 4 + 0.02 / 0.04) / 2)
  on_distances, on_running = jax.grad(objectives.perceptual, (0, 1))(
    distances, running
  )
  np.testing.assert_allclose(on_distances["a"], 1 / 8, rtol=1e-6)
  np.testing.assert_allclose(on_distances["b"], 1 / 0.08, rtol=1e-6)
  assert all(gradient == 0 for gradient in on_running.values())


@pytest.mark.parametrize("before", [0.0, 1e-12, 3.0])
def test_perceptual_of_identical_images_is_zero_with_finite_gradient(before):
  """Equal batches give 0, never NaN, whatever the running mean was."""

  def loss(outputs):
    distances = objectives.tap_distances(targets, outputs)
    running = objectives.update_running(
      {tap: jnp.array(before) for tap in distances},
      jax.lax.stop_gradient(distances),
      decay=0.99,
    )
    return objectives.perceptual(distances, running)

  targets = {"a": jnp.array(normal(11, 2, 4, 4, 3))}
  run = jax.jit(jax.value_and_grad(loss))
  value, gradient = run(targets)
  assert value == 0
  assert np.isfinite(gradient["a"]).all()
  nearly = {"a": targets["a"] + 1e-20}
  value, gradient = run(nearly)
  assert np.isfinite(value) and np.isfinite(gradient["a"]).all()


def slow_match_score(c):
  """NC-Net's score of one [h_i, w_i, h_j, w_j] correlation."""
  table = c.reshape(c.shape[0] * c.shape[1], -1).astype(float)
  scores = []
  for side in (table, table.T):
    best = []
    for column in range(side.shape[1]):
      exps = [math.exp(value) for value in side[:, column]]
      best.append(max(exps) / sum(exps))
    scores.append(sum(best) / len(best))
  return sum(scores) / 2


def test_match_score_agrees_with_loops():
  """Best softmax over i for each cell of j, and the reverse, averaged."""
  c = 2 * normal(12, 3, 2, 3, 4, 2)
  got = jax.jit(objectives.match_score)(c)
  want = np.mean([slow_match_score(image) for image in c])
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_weak_flow_is_low_when_positives_match_and_negatives_do_not():
  """L_flow is the negative score minus the positive one, between -1 and 1."""
  flat = jnp.zeros((1, 2, 2, 2, 2))
  sharp = 100 * jnp.eye(4).reshape(flat.shape)
  loss = jax.jit(objectives.weak_flow)
  np.testing.assert_allclose(loss(sharp, flat), -0.75, rtol=1e-5)
  np.testing.assert_allclose(loss(flat, sharp), 0.75, rtol=1e-5)


def test_matching_agrees_with_loops_and_leaves_out_what_is_not_seen():
  """Minus the log of each cell's own map, read where the cell belongs."""
  rng = np.random.default_rng(0)
  scores = rng.normal(size=(2, 3, 4, 2, 3))
  probability = np.exp(scores) / np.exp(scores).sum((1, 2), keepdims=True)
  places = rng.uniform(-1.5, 1.5, (2, 2, 3, 2))
  logs = [
    [
      math.log(slow_read(probability[i, :, :, r, c, None], *places[i, r, c])[0])
      for r, c in np.ndindex(2, 3)
      if np.abs(places[i, r, c]).max() < 1
    ]
    for i in range(2)
  ]
  assert len(logs[0]) != len(logs[1]) and all(0 < len(x) < 6 for x in logs)
  got = jax.jit(objectives.matching)(
    probability.astype("f4"), places.astype("f4")
  )
  want = -np.mean([np.mean(each) for each in logs])
  np.testing.assert_allclose(got, want, rtol=1e-5)


def test_matching_is_zero_for_the_true_match_only():
  """One-hot maps at the true cells cost nothing, at others a lot."""
  centre = lambda i, n: (2 * i + 1) / n - 1  # noqa: E731
  places = np.array([[[[centre(2, 4), centre(1, 3)]]]], "f4")
  probability = np.zeros((1, 3, 4, 1, 1), "f4")
  probability[0, 1, 2] = 1
  assert float(objectives.matching(probability, places)) < 1e-5
  assert float(objectives.matching(probability[:, ::-1, ::-1], places)) > 10


def test_chained_probabilities_agree_with_loops():
  """All ways from a cell of j through a cell of k to a cell of i add up."""
  rng = np.random.default_rng(1)
  out, into = rng.uniform(size=(2, 1, 2, 3, 2, 3)).astype("f4")
  want = np.zeros_like(out)
  for i in np.ndindex(2, 3):
    for k in np.ndindex(2, 3):
      for j in np.ndindex(2, 3):
        want[0, *i, *j] += out[0, *i, *k] * into[0, *k, *j]
  np.testing.assert_allclose(objectives.chained(out, into), want, rtol=1e-5)


def test_total_is_the_weighted_sum():
  """Eq. 5 sums the terms at hand; weights of absent terms do not matter."""
  terms = {"cycle": jnp.array(2.0), "inv": jnp.array(3.0)}
  weights = {"cycle": 1.0, "inv": 10.0, "equiv": 7.0}
  assert objectives.total(terms, weights) == 32
  with pytest.raises(KeyError, match="inv"):
    objectives.total(terms, {"cycle": 1.0})
