"""The flow head against direct 4-D loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3_jax import geometry
from c3_jax.geometry import landmarks, warp
from c3_jax.models import correspondence, flow
from c3_jax.training import objectives

# Random numbers of this kind compile in a sixth of the time.
KEY = jax.random.key(0, impl="rbg")
HE = jax.nn.initializers.he_normal()
LAYERS = [flow.SeparableConv4D, flow.Conv4D]

# Compiled whole: operation by operation takes many times longer.
correlation = jax.jit(flow.correlation)
soft_correspondence = jax.jit(correspondence.soft_correspondence)
hard_correspondence = jax.jit(correspondence.hard_correspondence)


def normal(seed, *shape):
  """Random normal numbers, float32."""
  return np.random.default_rng(seed).normal(size=shape).astype("f4")


def cells(*shape):
  """All indices of an array of this shape."""
  return list(np.ndindex(*shape))


def random_params(module, c, seed=0):
  """Parameters drawn by NumPy, biases too: no compilation."""
  rng = np.random.default_rng(seed)
  shapes = jax.eval_shape(module.init, KEY, c)["params"]
  return jax.tree.map(
    lambda x: rng.normal(0, 0.4, x.shape).astype("f4"), shapes
  )


def kernel_4d(params):
  """The kernel [n, n, n, n, in, out] and bias of a layer of either kind."""
  if "kernel" in params:
    return params["kernel"], params["bias"]
  w2, w1 = params["w2"]["kernel"], params["w1"]["kernel"]
  n, _, channels, middle = w2.shape
  kernel = np.zeros((n, n, n, n, channels, w1.shape[3]))
  for a, b, c, d in cells(n, n, n, n):
    for m in range(middle):
      kernel[a, b, c, d] += np.outer(w2[a, b, :, m], w1[c, d, m])
  return kernel, params["w1"]["bias"]


def slow_conv(c, kernel, bias):
  """4-D convolution of [h_i, w_i, h_j, w_j, in], zeros beyond the border."""
  n, shape = kernel.shape[0], c.shape[:4]
  out = np.zeros((*shape, kernel.shape[-1])) + bias
  for at in cells(*shape):
    for tap in cells(n, n, n, n):
      read = tuple(p + t - n // 2 for p, t in zip(at, tap))
      if all(0 <= r < s for r, s in zip(read, shape)):
        out[at] += c[read] @ kernel[tap]
  return out


def slow_mutual(c):
  """Soft mutual nearest neighbours of one [h_i, w_i, h_j, w_j]."""
  out = np.zeros(c.shape)
  for y, x, v, u in cells(*c.shape):
    best_i = max(c[a, b, v, u] for a, b in cells(*c.shape[:2]))
    best_j = max(c[y, x, a, b] for a, b in cells(*c.shape[2:]))
    score = c[y, x, v, u]
    out[y, x, v, u] = score**3 / (best_i + 1e-5) / (best_j + 1e-5)
  return out


def slow_swap(c):
  """Exchanges the images of one [h_i, w_i, h_j, w_j, ..]."""
  out = np.zeros((*c.shape[2:4], *c.shape[:2], *c.shape[4:]))
  for y, x, v, u in cells(*c.shape[:4]):
    out[v, u, y, x] = c[y, x, v, u]
  return out


def test_correlation_agrees_with_loops():
  """Entry (y, x, v, u) is the cosine of cell (y, x) of i and (v, u) of j."""
  fi, fj = normal(0, 2, 2, 3, 5), normal(1, 2, 4, 2, 5)
  got = correlation(jnp.array(fi), jnp.array(fj))
  assert got.shape == (2, 2, 3, 4, 2)
  for b, y, x, v, u in cells(*got.shape):
    p, q = fi[b, y, x].astype(float), fj[b, v, u].astype(float)
    want = sum(p * q) / (sum(p * p) ** 0.5 * sum(q * q) ** 0.5)
    np.testing.assert_allclose(got[b, y, x, v, u], want, atol=1e-5)
  half = correlation(*(jnp.array(f, jnp.bfloat16) for f in (fi, fj)))
  assert half.dtype == jnp.float32


def test_mutual_matching_agrees_with_loops():
  """c^3 over the best of its column and the best of its row."""
  c = np.abs(normal(2, 2, 2, 3, 3, 2))
  mutual_matching = jax.jit(flow.mutual_matching)
  got = mutual_matching(c)
  for b in range(2):
    np.testing.assert_allclose(got[b], slow_mutual(c[b]), rtol=1e-4)
  np.testing.assert_array_equal(mutual_matching(np.zeros((1, 2, 2, 2, 2))), 0)


def test_swap_images_exchanges_the_two_images():
  """C^T is the correlation with its images exchanged, channels kept."""
  fi, fj = normal(3, 1, 2, 3, 5), normal(4, 1, 4, 2, 5)
  c = correlation(jnp.array(fi), jnp.array(fj))
  swapped = flow.swap_images(c)
  want = correlation(jnp.array(fj), jnp.array(fi))
  np.testing.assert_allclose(swapped, want, atol=1e-6)
  with_channels = normal(5, 1, 2, 3, 4, 2, 3)
  got = flow.swap_images(jnp.array(with_channels))
  np.testing.assert_array_equal(got[0], slow_swap(with_channels[0]))


@pytest.mark.parametrize("layer", LAYERS)
def test_layer_agrees_with_a_4d_loop(layer):
  """A layer is one 4-D convolution; the separable one with W2 (x) W1."""
  c = normal(9, 2, 3, 3, 4, 3, 2)
  module = layer(3, 3, HE, jnp.float32)
  params = random_params(module, c)
  got = jax.jit(module.apply)({"params": params}, c)
  for b in range(2):
    want = slow_conv(c[b], *kernel_4d(params))
    np.testing.assert_allclose(got[b], want, atol=1e-4)


def test_separable_layer_has_far_fewer_weights():
  """Two n x n kernels and one bias stand for n^4 weights."""
  c = np.zeros((1, 3, 3, 3, 3, 2), "f4")
  count = [
    sum(x.size for x in jax.tree.leaves(random_params(module, c)))
    for module in (layer(4, 5, HE, jnp.float32) for layer in LAYERS)
  ]
  assert count == [25 * 2 * 4 + 25 * 4 * 4 + 4, 625 * 2 * 4 + 4]


@pytest.mark.parametrize("mutual", [True, False])
@pytest.mark.parametrize("separable", [True, False])
def test_head_agrees_with_loops(separable, mutual):
  """Mutual matching, f(C) + f(C^T)^T of ReLU layers, mutual matching."""
  c = np.abs(normal(10, 1, 2, 3, 2, 3))
  module = flow.Flow(
    channels=(2, 1), kernel=3, separable=separable, mutual=mutual
  )
  params = random_params(module, c)
  # Positive, as they start: else ReLU may leave nothing to compare.
  params["layer1"] = jax.tree.map(np.abs, params["layer1"])
  got = jax.jit(module.apply)({"params": params}, c)
  assert got.shape == c.shape

  def layers(x):
    x = x[..., None]
    for name in ("layer0", "layer1"):
      x = np.maximum(slow_conv(x, *kernel_4d(params[name])), 0)
    return x[..., 0]

  want = slow_mutual(c[0]) if mutual else c[0].astype(float)
  want = layers(want) + slow_swap(layers(slow_swap(want)))
  want = slow_mutual(want) if mutual else want
  assert want.std() > 0.1
  np.testing.assert_allclose(got[0], want, atol=1e-4 * want.max())


@pytest.mark.parametrize("separable", [True, False])
def test_head_is_symmetric_in_the_images(separable):
  """f(C^T) = f(C)^T for maps that are not square and any weights."""
  c = np.abs(normal(11, 2, 2, 4, 2, 4))
  module = flow.Flow(channels=(3, 1), kernel=3, separable=separable)
  params = random_params(module, c)
  params["layer1"] = jax.tree.map(np.abs, params["layer1"])
  apply = jax.jit(module.apply)
  got = apply({"params": params}, flow.swap_images(jnp.array(c)))
  want = flow.swap_images(apply({"params": params}, c))
  assert np.std(want) > 0.1
  np.testing.assert_allclose(got, want, atol=1e-4 * np.max(want))


def identity_params(module, c):
  """Kernels that pass their input: 1 at the centre tap, biases 0."""

  def fill(path, x):
    out = np.zeros(x.shape, "f4")
    if path[-1].key == "kernel":
      spatial = x.ndim - 2
      out[(x.shape[0] // 2,) * spatial] = 1
    return out

  shapes = jax.eval_shape(module.init, KEY, c)
  return jax.tree_util.tree_map_with_path(fill, shapes)


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("hard", [True, False])
def test_identity_filters_find_the_shift_of_a_copy(hard, separable):
  """T of an image and its shifted copy is the shift, pulled, both ways."""
  h, w, down, right = 5, 6, 1, 2
  # Image j is image i moved right and down: j[y, x] = i[y - 1, x - 2].
  wide = normal(12, 1, h + down, w + right, 32)
  fi, fj = wide[:, down:, right:], wide[:, :h, :w]
  np.testing.assert_array_equal(fj[:, down:, right:], fi[:, :-down, :-right])
  c = correlation(jnp.array(fi), jnp.array(fj))
  module = flow.Flow(channels=(1, 1), kernel=3, separable=separable)
  filtered = jax.jit(module.apply)(identity_params(module, c), c)

  def match(c):
    if hard:
      return hard_correspondence(c)
    return soft_correspondence(c, temperature=0.02)

  t_ij, t_ji = match(filtered), match(flow.swap_images(filtered))
  grid = geometry.grid(h, w)
  shift = np.array([right * 2 / w, down * 2 / h])
  in_j, in_i = np.s_[down:, right:], np.s_[:-down, :-right]
  np.testing.assert_allclose(t_ij[0][in_j], grid[in_j] - shift, atol=1e-3)
  np.testing.assert_allclose(t_ji[0][in_i], grid[in_i] + shift, atol=1e-3)

  # A landmark of i, drawn and carried along T^{i->j}, lies where j shows it.
  point = grid[2, 2][None]
  p_i, p_j = (
    landmarks.gaussian_maps(p[None], h, w, sigma=0.3)
    for p in (point, point + shift)
  )
  by_correspondence = jax.jit(warp.by_correspondence)
  to_j = by_correspondence(p_i, t_ij)
  np.testing.assert_allclose(to_j[0][in_j], p_j[0][in_j], atol=5e-3)
  to_i = by_correspondence(p_j, t_ji)
  np.testing.assert_allclose(to_i[0][in_i], p_i[0][in_i], atol=5e-3)
  equivariance = jax.jit(objectives.equivariance)
  right_way = equivariance(p_i, p_j, t_ij, t_ji)
  wrong_way = equivariance(p_i, p_j, t_ji, t_ij)
  assert right_way < wrong_way / 3


def weak_loss(module, c):
  """Params -> (L_flow of positives c[:2] and negatives c[2:], filtered c)."""

  def loss(params):
    filtered = module.apply({"params": params}, c)
    return objectives.weak_flow(filtered[:2], filtered[2:]), filtered

  return loss


@pytest.mark.slow
@pytest.mark.parametrize(
  "module",
  [
    flow.Flow(),
    flow.Flow(channels=(1,), kernel=3, mutual=False),
    flow.Flow(channels=(4, 1), kernel=3, separable=False),
  ],
)
def test_weak_loss_moves_every_kernel_from_the_first_step(module):
  """No seed starts dead: every score is positive, each kernel moves."""
  # Not negative, as a backbone's features; their cosines are all positive.
  fi, fj = np.abs(normal(13, 4, 4, 4, 16)), np.abs(normal(14, 4, 4, 4, 16))
  fj[:2] = fi[:2] + 0.5 * fj[:2]
  c = correlation(jnp.array(fi), jnp.array(fj))

  @jax.jit
  def gradients(key):
    params = module.init(key, c)["params"]
    return jax.grad(weak_loss(module, c), has_aux=True)(params)

  for seed in range(6):
    grads, filtered = gradients(jax.random.key(seed, impl="rbg"))
    assert filtered.min() > 0, seed
    for path, gradient in jax.tree_util.tree_leaves_with_path(grads):
      assert np.isfinite(gradient).all(), (seed, path)
      if path[-1].key == "kernel":
        assert np.abs(gradient).max() > 1e-5, (seed, path)


def test_gradients_of_dead_features_are_finite():
  """All-zero features give a finite loss and finite gradients everywhere."""
  module = flow.Flow(channels=(4, 1), kernel=3)
  zeros = np.zeros((4, 3, 3, 8), "f4")

  def loss(params, fi, fj):
    return weak_loss(module, correlation(fi, fj))(params)[0]

  c = np.zeros((4, 3, 3, 3, 3), "f4")
  params = random_params(module, c)
  run = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
  half_dead = normal(15, 4, 3, 3, 8)
  half_dead[:, 1] = 0
  for f in (zeros, half_dead):
    value, grads = run(params, f, f)
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in jax.tree.leaves(grads))
