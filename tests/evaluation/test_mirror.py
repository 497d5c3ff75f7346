"""Mirror partners and swaps, on landmarks that are known."""

import numpy as np
from scipy.optimize import linear_sum_assignment

from c3_jax.evaluation import mirror
from c3_jax.geometry import grid, warp

PARTNER = np.array([1, 0, 2, 4, 3])


def _faces(n=50, noise=0.01):
  """Landmarks of symmetric faces, and of their mirror images mapped back."""
  rng = np.random.default_rng(0)
  shape = np.array([[-0.4, -0.2], [0.4, -0.2], [0, 0], [-0.3, 0.4], [0.3, 0.4]])
  points = shape + rng.uniform(-0.3, 0.3, (n, 1, 2))
  mirrored = points[:, PARTNER]
  return points, mirrored + rng.normal(0, noise, mirrored.shape)


def test_partners_are_found():
  """Of pairs and of a point on the middle, as by a search without symmetry."""
  points, mirrored = _faces()
  partner, distance = mirror.partners(points, mirrored)
  np.testing.assert_array_equal(partner, PARTNER)
  cost = np.linalg.norm(points[:, :, None] - mirrored[:, None], axis=-1).mean(0)
  rows, columns = linear_sum_assignment(cost)
  np.testing.assert_array_equal(columns, PARTNER)
  np.testing.assert_allclose(distance, cost[rows, columns] / 2)
  assert mirror.line(partner + 1) == "1-2 3 4-5"


def test_a_pair_that_changed_sides_is_found():
  """In the image or in its mirror image, and no other landmark with it."""
  points, mirrored = _faces()
  want = np.zeros(points.shape[:2], bool)
  points[3, [0, 1]] = points[3, [1, 0]]
  mirrored[7, [3, 4]] = mirrored[7, [4, 3]]
  want[3, :2] = want[7, 3:] = True
  np.testing.assert_array_equal(mirror.swapped(points, mirrored, PARTNER), want)


def test_who_has_no_partner_is_never_swapped():
  """A landmark on the middle, and a cycle of three, which noise can make."""
  points, mirrored = _faces()
  found = mirror.swapped(points, points, np.array([1, 2, 0, 3, 4]))
  assert not found.any()


def test_the_warp_mirrors_an_image():
  """An image seen under MIRROR is its mirror image."""
  image = np.random.default_rng(0).uniform(size=(8, 8, 3)).astype(np.float32)
  seen = warp.sample(image, warp.affine(mirror.MIRROR, grid(8, 8)))
  np.testing.assert_allclose(seen, image[:, ::-1], atol=1e-6)
  np.testing.assert_array_equal(mirror.back([[0.5, 0.2]]), [[-0.5, 0.2]])
