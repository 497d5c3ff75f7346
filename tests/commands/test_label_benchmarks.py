"""The benchmarks of labels and of visibility compute what they say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks import labels, visibility
from c3_jax.training import augment


def test_points_are_seen_where_the_warp_shows_them():
  """The pull map takes the place of a point back to the point."""
  points = jnp.array(np.random.default_rng(0).uniform(-0.8, 0.8, (5, 2)))
  table = {"rotation": 15.0, "scale": 0.1, "shift": 0.15, "control_points": 4}
  table |= {"warp_all": 0.001, "warp_half": 0.005}

  @jax.jit
  def there_and_back(key):
    pull = augment.sample_warp(key, **table)
    return pull(labels.invert(pull, points)), labels.invert(pull, points)

  for seed in range(5):
    back, seen = there_and_back(jax.random.key(seed, impl="rbg"))
    np.testing.assert_allclose(back, points, atol=1e-5)
    assert np.abs(seen - points).max() > 0.02


def test_level_lies_where_the_curves_cross():
  """On a straight line over log n; None where they do not cross."""
  ours = {n: (10.0, None, 1) for n in (10, 100, 1000)}
  theirs = {10: (14.0, 1.0, 3), 100: (12.0, 1.0, 3), 1000: (8.0, None, 1)}
  np.testing.assert_allclose(labels.level(theirs, ours), 10**2.5)
  assert labels.level({10: (12.0, None, 1)}, ours) is None
  assert labels.level({10: (9.0, None, 1)}, ours) == 10


def test_a_file_of_results_goes_on(tmp_path):
  """Cells are kept at once; those of another run have another name."""
  path = tmp_path / "labels.json"
  labels.Results(path).add(kind="labels", n=10, repeat=0, error=9.0)
  results = labels.Results(path)
  assert results.has(kind="labels", n=10, repeat=0)
  assert not results.has(kind="C3", n=10, repeat=0)
  results.add(kind="labels", n=10, repeat=1, error=11.0)
  found = labels.summary(labels.Results(path).content["cells"])
  assert found == {"labels": {10: (10.0, pytest.approx(2**0.5), 2)}}


def test_auc_is_that_of_scikit_learn():
  """Ties count half; without hidden ones there is none."""
  rng = np.random.default_rng(0)
  values = rng.integers(0, 5, (40, 3)).astype(float)
  hidden = rng.uniform(size=(40, 3)) < 0.3
  want = roc_auc_score(~hidden.ravel(), values.ravel())
  np.testing.assert_allclose(visibility.auc(values, hidden), want)
  assert np.isnan(visibility.auc(values, np.zeros_like(hidden)))


@pytest.mark.parametrize("kind", visibility.PATCHES)
def test_patches_cover_what_changes(kind):
  """The centres of changed pixels are covered, those of others are not."""
  rng = np.random.default_rng(1)
  images = rng.uniform(size=(6, 16, 16, 3)).astype("f4")
  patched, *squares = visibility.paste(images, kind, seed=3)
  centre = (2 * np.arange(16) + 1) / 16 - 1
  grid = np.stack(np.meshgrid(centre, centre), -1).reshape(1, -1, 2)
  under = visibility.covered(np.repeat(grid, 6, 0), *squares)
  changed = (patched != images).any(-1).reshape(6, -1)
  np.testing.assert_array_equal(under, changed)
