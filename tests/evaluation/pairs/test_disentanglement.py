"""Disentanglement of networks of which it is known.

The images hold a dot in the first channel, whose place is the pose, and a
colour in the other two, which is the appearance.
"""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3_jax import geometry
from c3_jax.data.in_memory import ArrayDataset
from c3_jax.evaluation.pairs import disentanglement, matching

SIZE = 16


class Toy:
  """Stands for `C3`: the decoder takes the colour from a share of p."""

  def __init__(self, leak):
    self._leak = leak

  def apply(self, variables, images, *, method):
    del variables
    return method(self, images)

  def encode(self, images):
    weight = images[..., :1]
    # The colour is hidden in the maps too, where a leaky decoder finds it.
    points = jnp.einsum(
      "nyxk,yxd->nkd",
      weight / weight.sum((1, 2), keepdims=True),
      geometry.grid(SIZE, SIZE),
    )
    return types.SimpleNamespace(
      appearance=images[..., 1:],
      pose=types.SimpleNamespace(points=points, maps=images),
      features=images,
    )

  def decode(self, a, p):
    colour = (1 - self._leak) * a + self._leak * p[..., 1:]
    return jnp.concatenate([p[..., :1], colour], -1)


def dataset(n=13):
  """(ArrayDataset, points [n, 2], colours [n, 2])."""
  rng = np.random.default_rng(0)
  points = rng.uniform(-0.5, 0.5, (n, 2))
  colours = rng.integers(20, 230, (n, 2))
  centre = (2 * np.arange(SIZE) + 1) / SIZE - 1
  images = np.zeros((n, SIZE, SIZE, 3), np.uint8)
  for image, (x, y), colour in zip(images, points, colours, strict=True):
    square = (centre - x) ** 2 + (centre[:, None] - y) ** 2
    image[..., 0] = np.rint(255 * np.exp(-square / 0.02))
    image[..., 1:] = colour
  return ArrayDataset(images), points, colours


def measure(leak, batch_size=4):
  """The report of a network with a leak, over six pairs."""
  pairs = matching.Neighbours(dataset()[0], SIZE)
  function = disentanglement.swap_function(Toy(leak), SIZE)
  return disentanglement.measure(function, np.float32(0), pairs, batch_size)


def test_a_disentangled_network_is_found_to_be_one():
  """Swaps have the pose asked for and the colours of the other."""
  _, points, _ = dataset()
  report = measure(0.0)
  between = 50 * np.linalg.norm(points[0:12:2] - points[1:12:2], axis=-1)
  pose = report["pose_error"]
  assert report["pairs"] == 6
  assert pose["to_pose"] < 1e-4 and pose["reconstruction"] < 1e-4
  np.testing.assert_allclose(pose["to_appearance"], between.mean(), rtol=0.01)
  np.testing.assert_allclose(
    pose["between_pictures"], pose["to_appearance"], rtol=1e-5
  )
  for change in report["appearance_change"].values():
    assert change["to_appearance"] < 0.02
    np.testing.assert_allclose(change["to_pose"], 1, atol=0.02)


@pytest.mark.parametrize("leak", [0.25, 1.0])
def test_a_leak_of_colour_into_the_pose_shows(leak):
  """The share of the colour that comes with p is the appearance change."""
  change = measure(leak)["appearance_change"]["features"]
  np.testing.assert_allclose(change["to_appearance"], leak, atol=0.01)
  np.testing.assert_allclose(change["to_pose"], 1 - leak, atol=0.01)


def test_template_variance_is_numpys():
  """Variance over the twelve templates D(0, p) and reconstructions."""
  data, _, _ = dataset()
  images = data.images[:12] / 255.0
  template = images * [1, 0.25, 0.25]  # The leak draws on p alone.
  found = measure(0.25)["template_variance"]
  for name, group in (("template", template), ("reconstruction", images)):
    np.testing.assert_allclose(
      found["pixels"][name], group.var(0).mean(), rtol=1e-4
    )
    np.testing.assert_allclose(
      found["colour"][name], group.mean((1, 2)).var(0).mean(), rtol=1e-4
    )


def test_batches_change_nothing():
  """Any number of pairs at a time gives the same numbers."""
  reports = measure(0.25, 4), measure(0.25, 8)
  numbers = [jax.tree.leaves(report) for report in reports]
  np.testing.assert_allclose(*numbers, atol=1e-6)


def test_images_that_are_all_alike_have_no_scale():
  """Nothing to measure by gives None, not a division by zero."""
  one = dataset()[0].images[:1]
  pairs = matching.Neighbours(ArrayDataset(np.repeat(one, 8, 0)), SIZE)
  function = disentanglement.swap_function(Toy(0.0), SIZE)
  report = disentanglement.measure(function, np.float32(0), pairs, 4)
  for change in report["appearance_change"].values():
    assert change == {"to_appearance": None, "to_pose": None}
