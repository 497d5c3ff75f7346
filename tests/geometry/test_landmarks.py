"""Soft-argmax and gaussian maps against slow loops."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3_jax import geometry, settings
from c3_jax.geometry import landmarks

# Compiled whole: operation by operation takes many times longer.
soft_argmax = jax.jit(
  landmarks.soft_argmax, static_argnames=("temperature", "marginal")
)
gaussian_maps = jax.jit(landmarks.gaussian_maps, static_argnums=(1, 2))


def slow_softmax(values):
  """Softmax of a list of numbers."""
  peak = max(values)
  exps = [math.exp(v - peak) for v in values]
  return [e / sum(exps) for e in exps]


def slow_soft_argmax(logits, temperature, marginal):
  """`landmarks.soft_argmax` of one [h, w] map: (x, y), probability [h, w]."""
  h, w = logits.shape
  probability = np.zeros((h, w))
  if marginal:
    columns = [sum(logits[r, c] for r in range(h)) / h for c in range(w)]
    rows = [sum(logits[r, c] for c in range(w)) / w for r in range(h)]
    px = slow_softmax([v / temperature for v in columns])
    py = slow_softmax([v / temperature for v in rows])
    for r in range(h):
      for c in range(w):
        probability[r, c] = py[r] * px[c]
  else:
    flat = slow_softmax([v / temperature for v in logits.ravel()])
    for i, value in enumerate(flat):
      probability[i // w, i % w] = value
  x = y = 0.0
  for r in range(h):
    for c in range(w):
      x += probability[r, c] * ((c + 0.5) / w * 2 - 1)
      y += probability[r, c] * ((r + 0.5) / h * 2 - 1)
  return (x, y), probability


@pytest.mark.parametrize("temperature", [1.0, 0.3])
@pytest.mark.parametrize("marginal", [False, True])
def test_soft_argmax_agrees_with_loops(marginal, temperature):
  """Points and probabilities of every image and channel equal slow loops."""
  logits = np.random.default_rng(1).normal(0, 2, (2, 4, 6, 3)).astype("f4")
  points, probability = soft_argmax(
    jnp.array(logits), temperature=temperature, marginal=marginal
  )
  assert points.shape == (2, 3, 2) and probability.shape == logits.shape
  for b in range(2):
    for k in range(3):
      point, p = slow_soft_argmax(
        logits[b, ..., k].astype(float), temperature, marginal
      )
      np.testing.assert_allclose(points[b, k], point, atol=1e-5)
      np.testing.assert_allclose(probability[b, ..., k], p, atol=1e-5)
  np.testing.assert_allclose(probability.sum((1, 2)), 1, atol=1e-5)


@pytest.mark.parametrize("marginal", [False, True])
def test_soft_argmax_of_a_peak_is_the_centre_of_its_cell(marginal):
  """A peaked map in bfloat16 gives its cell; adding a constant is nothing."""
  logits = jnp.zeros((5, 8, 1)).at[1, 6, 0].set(400.0)
  point, _ = soft_argmax(logits.astype(jnp.bfloat16), marginal=marginal)
  assert point.dtype == jnp.float32
  np.testing.assert_allclose(point[0], [13 / 8 - 1, 3 / 5 - 1], atol=1e-5)
  flat = jnp.zeros((5, 8, 1)).at[1, 6, 0].set(3.0)
  a, _ = soft_argmax(flat, marginal=marginal)
  b, _ = soft_argmax(flat - 70.0, marginal=marginal)
  np.testing.assert_allclose(a, b, atol=1e-5)


def test_gaussian_maps_agree_with_loops():
  """Each cell holds exp(-d^2 / sigma^2) of its distance to the landmark."""
  points = np.random.default_rng(2).uniform(-1.1, 1.1, (2, 3, 2)).astype("f4")
  maps = gaussian_maps(jnp.array(points), 4, 6, sigma=0.3)
  assert maps.shape == (2, 4, 6, 3)
  for b in range(2):
    for k in range(3):
      for r in range(4):
        for c in range(6):
          dx = (c + 0.5) / 3 - 1 - points[b, k, 0]
          dy = (r + 0.5) / 2 - 1 - points[b, k, 1]
          want = math.exp(-(dx * dx + dy * dy) / 0.3**2)
          np.testing.assert_allclose(maps[b, r, c, k], want, atol=1e-6)


def test_gaussian_maps_of_the_paper_are_those_of_imm():
  """exp(-10^2 d^2), cells from -1 to 1 inclusive, landmarks between them."""
  sigma = settings.paper(k=10, cycle=True, flow=True).model.pose.sigma
  cells = np.random.default_rng(4).uniform(0, 15, (5, 2))
  line = np.linspace(-1, 1, 16)
  x, y = (2 * cells / 15 - 1).T
  want = np.exp(
    -100 * ((line[None, :, None] - x) ** 2 + (line[:, None, None] - y) ** 2)
  )
  points = jnp.array((2 * cells + 1) / 16 - 1)
  maps = gaussian_maps(points, 16, 16, sigma=2 * sigma / 16)
  np.testing.assert_allclose(maps, want, atol=1e-6)


def test_gaussian_peaks_at_one_and_far_landmarks_have_finite_gradients():
  """A landmark on a cell centre draws 1 there; one far away draws zeros."""
  on_cell = geometry.grid(4, 4)[2, 1][None]
  maps = gaussian_maps(on_cell, 4, 4, sigma=0.4)[..., 0]
  assert maps[2, 1] == 1 and np.argmax(maps) == 2 * 4 + 1

  far = jnp.array([[50.0, -50.0]])
  total = lambda p: gaussian_maps(p, 4, 4, sigma=0.1).sum()  # noqa: E731
  value, gradient = jax.value_and_grad(total)(far)
  assert value == 0 and np.isfinite(gradient).all()


def test_soft_argmax_reads_a_drawn_gaussian_back():
  """Both orders of x and y agree: the log of a gaussian map is its point."""
  points = jnp.array([[0.3, -0.5], [-0.4, 0.1]])
  maps = gaussian_maps(points, 24, 32, sigma=0.15)
  found, _ = soft_argmax(np.log(maps + 1e-30))
  np.testing.assert_allclose(found, points, atol=1e-3)
