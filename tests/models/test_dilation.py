"""Convolutions on folded maps against XLA's own dilated and strided ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3_jax.models import dilation, resnet

RNG = np.random.default_rng(0)
LAYOUT = ("NHWC", "HWIO", "NHWC")


@pytest.mark.parametrize("size", [(8, 12), (13, 10), (5, 3)])
def test_folded_cells_are_every_dth_cell_of_the_map(size):
  """Part (i, j) is x[i::d, j::d], for d at once or by way of a divisor."""
  x = RNG.normal(size=(2, *size, 3)).astype("f4")
  folded = dilation.fold(jnp.asarray(x)[:, None, None], 4)
  twice = dilation.fold(dilation.fold(jnp.asarray(x)[:, None, None], 2), 4)
  np.testing.assert_array_equal(twice, folded)
  inside = dilation.inside(size, 4)
  assert (inside is None) == (size == (8, 12))
  for i in range(4):
    for j in range(4):
      part = x[:, i::4, j::4]
      h, w = part.shape[1:3]
      np.testing.assert_array_equal(folded[:, i, j, :h, :w], part)
      if inside is not None:
        assert inside[i, j, :h, :w].all() and inside[i, j].sum() == h * w
  np.testing.assert_array_equal(dilation.unfold(folded, size), x)


def both(plain, ours, x, kernel):
  """Outputs and both gradients of two functions of (x, kernel)."""
  weights = RNG.normal(size=jax.eval_shape(plain, x, kernel).shape)

  def everything(function):
    loss = lambda *args: (weights * function(*args)).sum()  # noqa: E731
    grad = jax.grad(loss, (0, 1))
    return jax.jit(lambda *args: (function(*args), grad(*args)))(x, kernel)

  return zip(
    *(jax.tree.leaves(everything(f)) for f in (plain, ours)), strict=True
  )


@pytest.mark.parametrize("size", [(16, 16), (13, 10), (25, 6)])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_strided_convolution_and_its_gradients_are_xlas(size, kernel):
  """Stride 2, torch's padding, even and odd sides."""
  p = kernel // 2
  arguments = ((2, 2), ((p, p), (p, p)))
  with jax.enable_x64(True):
    x = RNG.normal(size=(2, *size, 3))
    weight = RNG.normal(size=(kernel, kernel, 3, 4))
    for want, got in both(
      lambda x, w: jax.lax.conv_general_dilated(
        x, w, *arguments, dimension_numbers=LAYOUT
      ),
      lambda x, w: dilation.strided(x, w, *arguments, dimension_numbers=LAYOUT),
      x,
      weight,
    ):
      np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)


def unfolded(norm, x, *, sides):
  """Applies a norm to a map as it is and folded for 4: outputs and updates."""
  module = resnet.make_norm(norm, train=True, dtype=jnp.float64)()
  variables = jax.eval_shape(module.init, jax.random.key(0), x)
  variables = jax.tree.map(lambda v: jnp.ones(v.shape), variables)

  def run(x, mask):
    return module.apply(variables, x, mask=mask, mutable=["batch_stats"])

  def folded(x):
    inside = dilation.inside(sides, 4)
    z = dilation.fold(x[:, None, None], 4)
    # What lies beyond the map must not count, whatever it is.
    z = jnp.where(inside, z, 1e6)
    y, updates = run(z, jnp.broadcast_to(inside, z.shape))
    return dilation.unfold(y, sides), updates

  return [
    jax.jit(jax.vmap(f, axis_name="batch"))(x[None])
    for f in (lambda x: run(x, None), folded)
  ]


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_statistics_are_those_of_the_map_as_it_is(norm):
  """Norms of a folded map of odd sides: same output, same statistics."""
  with jax.enable_x64(True):
    x = RNG.normal(1, 2, (2, 13, 10, 16))
    want, got = unfolded(norm, x, sides=(13, 10))
    for a, b in zip(*map(jax.tree.leaves, (want, got)), strict=True):
      np.testing.assert_allclose(b, a, rtol=0, atol=1e-10)
