"""Sampling of images and maps against torch, SciPy and slow loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from c3_jax import geometry
from c3_jax.geometry import warp

# Compiled whole: operation by operation takes many times longer.
sample = jax.jit(warp.sample)
by_correspondence = jax.jit(warp.by_correspondence)

SHAPES = [(5, 8, 3), (6, 4, 1), (1, 5, 2), (4, 1, 2)]


def make_image(shape, seed=0):
  """A random image [h, w, c] in [0, 1] and coordinates [40, 2] in and out."""
  rng = np.random.default_rng(seed)
  image = rng.uniform(size=shape).astype("f4")
  return image, rng.uniform(-1.5, 1.5, (40, 2)).astype("f4")


def torch_sample(image, coords):
  """`grid_sample` of image [h, w, c] at coords [n, 2], both tensors."""
  values = torch.nn.functional.grid_sample(
    image.permute(2, 0, 1)[None],
    coords[None, None],
    mode="bilinear",
    padding_mode="border",
    align_corners=False,
  )
  return values[0, :, 0].T


@pytest.mark.parametrize("shape", SHAPES)
def test_sample_equals_torch_and_scipy(shape):
  """Values in and outside the image are grid_sample's and SciPy's."""
  image, coords = make_image(shape)
  got = sample(image, coords)
  want = torch_sample(torch.tensor(image), torch.tensor(coords))
  np.testing.assert_allclose(got, want, atol=1e-5)

  h, w, channels = shape
  pixels = (coords.astype(float) + 1) * [w / 2, h / 2] - 0.5
  for c in range(channels):
    want = map_coordinates(
      image[..., c].astype(float), pixels.T[::-1], order=1, mode="nearest"
    )
    np.testing.assert_allclose(got[:, c], want, atol=1e-5)


def test_sample_has_torchs_gradients():
  """Gradients in the image and in the coordinates are grid_sample's."""
  image, coords = make_image((5, 8, 3), seed=1)
  cotangent = np.random.default_rng(2).normal(size=(40, 3)).astype("f4")
  tensors = [torch.tensor(x, requires_grad=True) for x in (image, coords)]
  torch_sample(*tensors).backward(torch.tensor(cotangent))
  _, vjp = jax.vjp(sample, jnp.array(image), jnp.array(coords))
  for got, want in zip(vjp(jnp.array(cotangent)), tensors):
    np.testing.assert_allclose(got, want.grad, atol=1e-4)


def test_sample_on_the_grid_is_the_image_and_extent_scales_coordinates():
  """Cell centres give the pixels; an image of extent e spans [-e, e]."""
  image, coords = make_image((5, 8, 3), seed=3)
  again = sample(image, geometry.grid(5, 8))
  np.testing.assert_allclose(again, image, atol=1e-5)
  np.testing.assert_allclose(
    sample(image, 1.25 * coords, extent=1.25),
    sample(image, coords),
    atol=1e-5,
  )


def test_similarity_rotates_scales_then_shifts():
  """A quarter turn takes +x to +y; the shift is applied last, unscaled."""
  matrix = warp.similarity(jnp.pi / 2, 3.0, jnp.array([0.5, -0.25]))
  moved = warp.affine(matrix, jnp.array([[1.0, 0.0], [0.0, 1.0]]))
  np.testing.assert_allclose(moved, [[0.5, 2.75], [-2.5, -0.25]], atol=1e-6)


def test_affine_agrees_with_loops():
  """Every point is M (x, y, 1)."""
  rng = np.random.default_rng(4)
  matrix, points = rng.normal(size=(2, 3)), rng.normal(size=(2, 5, 2))
  got = warp.affine(jnp.array(matrix, "f4"), jnp.array(points, "f4"))
  for i in np.ndindex(2, 5):
    want = [sum(row * np.append(points[i], 1)) for row in matrix]
    np.testing.assert_allclose(got[i], want, atol=1e-5)


@pytest.mark.parametrize("size", [(4, 6), (8, 12), (2, 3), (5, 9)])
def test_resize_map_equals_torch(size):
  """Maps grow and shrink as torch's bilinear interpolate, half-pixel rule."""
  field = np.random.default_rng(6).normal(size=(2, 4, 6, 2)).astype("f4")
  want = torch.nn.functional.interpolate(
    torch.tensor(field).permute(0, 3, 1, 2),
    size=size,
    mode="bilinear",
    align_corners=False,
  )
  got = jax.jit(lambda x: warp.resize_map(x, *size))(field)
  np.testing.assert_allclose(got, want.permute(0, 2, 3, 1), atol=1e-5)


def slow_correspondence(maps, field):
  """Reads maps [h, w, k] at each entry of field [h, w, 2], bilinearly."""
  h, w, k = maps.shape
  out = np.zeros((*field.shape[:2], k))
  for r, c in np.ndindex(*field.shape[:2]):
    x = min(max(((field[r, c, 0] + 1) * w - 1) / 2, 0), w - 1)
    y = min(max(((field[r, c, 1] + 1) * h - 1) / 2, 0), h - 1)
    for row in range(h):
      for column in range(w):
        weight = max(0, 1 - abs(x - column)) * max(0, 1 - abs(y - row))
        out[r, c] += weight * maps[row, column]
  return out


def test_by_correspondence_agrees_with_loops():
  """T o p reads each image's maps at T, of its own image only."""
  rng = np.random.default_rng(7)
  maps = rng.uniform(size=(2, 4, 6, 3)).astype("f4")
  field = rng.uniform(-1.2, 1.2, (2, 4, 6, 2)).astype("f4")
  got = by_correspondence(jnp.array(maps), jnp.array(field))
  for b in range(2):
    want = slow_correspondence(maps[b], field[b])
    np.testing.assert_allclose(got[b], want, atol=1e-5)


def test_by_correspondence_pulls():
  """A field that points one cell to the right moves the maps to the left."""
  maps = np.random.default_rng(8).uniform(size=(1, 4, 5, 2)).astype("f4")
  field = geometry.grid(4, 5)[None] + jnp.array([2 / 5, 0])
  got = by_correspondence(jnp.array(maps), field)
  np.testing.assert_allclose(got[:, :, :-1], maps[:, :, 1:], atol=1e-5)
  np.testing.assert_allclose(got[:, :, -1], maps[:, :, -1], atol=1e-5)


def test_by_correspondence_of_a_coarser_field():
  """A field on half the grid moves interior cells as the full one does."""
  maps = np.random.default_rng(9).uniform(size=(1, 8, 8, 2)).astype("f4")
  shift = jnp.array([2 / 8, -2 / 8])
  fine = by_correspondence(maps, geometry.grid(8, 8)[None] + shift)
  coarse = by_correspondence(maps, geometry.grid(4, 4)[None] + shift)
  assert coarse.shape == maps.shape
  # The outer half cell of the field is replicated, not extrapolated.
  inner = np.s_[:, 1:-1, 1:-1]
  np.testing.assert_allclose(coarse[inner], fine[inner], atol=1e-5)
