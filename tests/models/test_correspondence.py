"""How T is read off C^: against loops, and under known warps."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3_jax import geometry
from c3_jax.geometry import warp
from c3_jax.models import correspondence

# Compiled whole: operation by operation takes many times longer.
soft_correspondence = jax.jit(correspondence.soft_correspondence)
hard_correspondence = jax.jit(correspondence.hard_correspondence)
return_distance = jax.jit(correspondence.return_distance)
smoothed = jax.jit(correspondence.smoothed, static_argnames="sigma")


def normal(seed, *shape):
  """Random normal numbers, float32."""
  return np.random.default_rng(seed).normal(size=shape).astype("f4")


def test_hard_correspondence_is_the_best_cell_of_i():
  """Each cell of j gets the centre of the cell of i with the best score."""
  c = normal(7, 2, 2, 5, 3, 4)
  got = hard_correspondence(jnp.array(c))
  assert got.shape == (2, 3, 4, 2)
  for b, v, u in np.ndindex(2, 3, 4):
    y, x = max(np.ndindex(2, 5), key=lambda p: c[b, *p, v, u])  # noqa: B023
    want = [(x + 0.5) / 5 * 2 - 1, (y + 0.5) / 2 * 2 - 1]
    np.testing.assert_allclose(got[b, v, u], want, atol=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.2])
def test_soft_correspondence_is_the_expected_cell_of_i(temperature):
  """Each cell of j gets the mean cell of i under the softmax of its scores."""
  c = normal(8, 2, 2, 5, 3, 4)
  got = soft_correspondence(jnp.array(c), temperature=temperature)
  assert got.shape == (2, 3, 4, 2)
  exps = np.exp(c.astype(float) / temperature)
  for b, v, u in np.ndindex(2, 3, 4):
    want, total = np.zeros(2), 0.0
    for y, x in np.ndindex(2, 5):
      weight = exps[b, y, x, v, u]
      want += weight * np.array([(x + 0.5) / 5 * 2 - 1, (y + 0.5) - 1])
      total += weight
    np.testing.assert_allclose(got[b, v, u], want / total, atol=1e-5)


@pytest.mark.parametrize("reach", [1, 2])
def test_refined_correspondence_is_the_expectation_round_the_best(reach):
  """Cells further than the reach from the argmax do not count."""
  c = normal(8, 2, 4, 5, 3, 4)
  got = jax.jit(
    lambda c: correspondence.refined_correspondence(
      c, reach=reach, temperature=0.5
    )
  )(c)
  exps = np.exp(c.astype(float) / 0.5)
  for b, v, u in np.ndindex(2, 3, 4):
    best = np.unravel_index(c[b, :, :, v, u].argmax(), (4, 5))
    want, total = np.zeros(2), 0.0
    for y, x in np.ndindex(4, 5):
      if max(abs(y - best[0]), abs(x - best[1])) <= reach:
        weight = exps[b, y, x, v, u]
        want += weight * ((np.array([x, y]) + 0.5) / (5, 4) * 2 - 1)
        total += weight
    np.testing.assert_allclose(got[b, v, u], want / total, atol=1e-5)


def bumps(warp_of, side, width=1.0):
  """C^ of a known warp: a gaussian round where each cell of j lies in i.

  Args:
    warp_of: function of points [.., 2] of j, to points of i.
    side: of both maps, in cells.
    width: of the gaussian, in cells.
  """
  grid = np.asarray(geometry.grid(side, side), np.float64)
  places = warp_of(grid)
  square = ((grid[:, :, None, None] - places) ** 2).sum(-1) * (side / 2) ** 2
  return np.exp(-square / (2 * width**2)).astype("f4")[None], places


def test_reading_between_cells_is_better_under_a_known_warp():
  """Half a cell off at worst by argmax; a fifth of its mean error between."""
  turn = np.array([[0.9, -0.2], [0.15, 0.8]])
  c, places = bumps(lambda x: x @ turn.T + [0.03, -0.05], 10)
  hard, between = (
    np.asarray(jax.jit(match)(c))[0]
    for match in (
      correspondence.Matcher(),
      correspondence.Matcher(temperature=0.2, reach=2),
    )
  )
  error = lambda t: 5 * np.linalg.norm(t - places, axis=-1)  # noqa: E731
  assert error(hard).max() <= 0.5 * 2**0.5
  assert error(between).mean() < error(hard).mean() / 3


@pytest.mark.parametrize("hard", [True, False])
def test_matcher_reads_as_the_functions_do(hard):
  """By argmax, by expectation, and round the argmax where it has a reach."""
  c = normal(8, 1, 4, 5, 3, 4)
  plain = correspondence.Matcher(hard=hard, temperature=0.5)
  near = correspondence.Matcher(hard=hard, temperature=0.5, reach=1)

  @jax.jit
  def both(c):
    way = correspondence.hard_correspondence
    if not hard:
      way = partial(correspondence.soft_correspondence, temperature=0.5)
    refined = correspondence.refined_correspondence(c, reach=1, temperature=0.5)
    return (plain(c), near(c)), (way(c), refined)

  np.testing.assert_array_equal(*map(np.concatenate, both(c)))


def test_the_way_back_ends_where_both_directions_say():
  """A shift returns where its inverse is known, a cell off where that errs."""
  h, w = 4, 6
  grid = np.asarray(geometry.grid(h, w))[None]
  step = np.array([2 / w, 0], "f4")  # A cell to the right.
  points = grid[:, 1:3, 1:4]
  there = return_distance(points, grid + step, grid - step)
  np.testing.assert_allclose(there, np.zeros((1, 2, 3)), atol=1e-5)
  lost = return_distance(points, grid + step, grid + [0, 2 / h] - 2 * step)
  np.testing.assert_allclose(lost, np.full((1, 2, 3), 2**0.5), atol=1e-5)


def slowly_smoothed(t_ij, t_ji, sigma):
  """Loops over pairs of cells: [h, w, 2]."""
  h, w = t_ij.shape[:2]
  grid = np.asarray(geometry.grid(h, w), np.float64)
  read = jax.jit(warp.sample)
  back = read(t_ji.astype("f4"), t_ij.astype("f4"))
  missed = np.linalg.norm((back - grid) * np.array([w, h]) / 2, axis=-1)
  result = np.empty((h, w, 2))
  for y, x in np.ndindex(h, w):
    move, total = np.zeros(2), 0.0
    for v, u in np.ndindex(h, w):
      weight = np.exp(-((y - v) ** 2 + (x - u) ** 2) / (2 * sigma**2))
      weight *= np.exp(-((missed[v, u] / 0.5) ** 2)) + 1e-3
      move += weight * (t_ij[v, u] - grid[v, u])
      total += weight
    result[y, x] = grid[y, x] + move / total
  return result


def test_smoothing_agrees_with_a_loop():
  """Neighbours count by their distance and by their way back."""
  (h, w), (hi, wi) = (4, 5), (3, 6)
  t_ij = np.asarray(geometry.grid(h, w)) + 0.3 * normal(1, h, w, 2)
  t_ji = np.asarray(geometry.grid(hi, wi)) + 0.3 * normal(2, hi, wi, 2)
  got = smoothed(t_ij[None], t_ji[None], sigma=0.8)
  np.testing.assert_allclose(
    got[0], slowly_smoothed(t_ij, t_ji, 0.8), atol=1e-5
  )


def test_a_wrong_match_gives_way_to_its_neighbours():
  """Under a shift, cells that match elsewhere come to where they belong."""
  side, shift = 8, np.array([0.2, -0.1])
  grid = np.asarray(geometry.grid(side, side))
  t_ij, t_ji = grid + shift, grid - shift
  wrong = [(2, 3), (5, 4), (5, 1)]
  for y, x in wrong:
    t_ij[y, x] = -t_ij[y, x]
  got = smoothed(t_ij[None], t_ji[None], sigma=0.85)[0]
  error = 4 * np.linalg.norm(got - (grid + shift), axis=-1)
  assert error.max() < 0.1  # Cells; the wrong ones were 1.5 to 6 off.
  for y, x in wrong:
    assert np.linalg.norm(t_ij[y, x] - grid[y, x] - shift) * 4 > 1.4


def test_the_matcher_smooths_what_it_reads():
  """In both directions; and its gradient is finite where all ways agree."""
  c, _ = bumps(lambda x: x, 6)
  read = partial(
    correspondence.refined_correspondence, reach=1, temperature=0.2
  )
  match = correspondence.Matcher(temperature=0.2, reach=1, smooth=0.7)

  @jax.jit
  def three(c):
    t_ij, t_ji = read(c), read(c.transpose(0, 3, 4, 1, 2))
    gradient = jax.grad(lambda c: jnp.sum(match(c) ** 2))(c)
    both = correspondence.smoothed(t_ij, t_ji, sigma=0.7)
    return match(c), both, gradient

  got, want, gradient = three(jnp.asarray(c))
  np.testing.assert_allclose(got, want, atol=1e-6)
  assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
