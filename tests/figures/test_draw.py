"""What the figures of a run show is what was measured."""

import types

import jax
import numpy as np
import pytest

from c3_jax.data import pairs as pairs_lib
from c3_jax.data.in_memory import ArrayDataset
from c3_jax.evaluation import Evaluator, Subject
from c3_jax.figures import draw
from c3_jax.models import initial
from configs import synthetic

SIZE, LOAD = 16, 20


def images(n, load=LOAD):
  """Random images, uint8 [n, load, load, 3]."""
  return np.random.default_rng(0).integers(
    0, 256, (n, load, load, 3), dtype=np.uint8
  )


@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_images_are_the_frames_of_the_first_images(n):
  """An even number of central crops in [0, 1], with their points."""
  points = np.random.default_rng(1).uniform(-1, 1, (n, 3, 2))
  data = ArrayDataset(images(n), points, image_size=SIZE)
  shown, where = draw.shown_images(data, SIZE)
  assert len(shown) % 2 == 0 and len(shown) <= draw.SHOWN
  real = min(n, len(shown))
  expected = data.images[:real, 2:-2, 2:-2] / np.float32(255)
  np.testing.assert_array_equal(shown[:real], expected)
  np.testing.assert_array_equal(where[:real], data.points[:real])


def test_listed_pairs_stand_side_by_side():
  """Rows 2m and 2m + 1 are target and source of a pair, without points."""
  n = 3
  data = pairs_lib.PairDataset(
    images(n + 1, SIZE),
    [f"{i}.jpg" for i in range(n + 1)],
    np.full((n + 1, 2), 100),
    np.stack([np.arange(n), np.arange(n) + 1], 1),
    flips=np.zeros(n, bool),
    categories=np.zeros(n, int),
    points=np.zeros((n, 2, 4, 2)),
    visible=np.ones((n, 4), bool),
  )
  shown, where = draw.shown_images(data, SIZE)
  assert where is None
  expected = data.images[[1, 0, 2, 1, 3, 2]] / np.float32(255)
  np.testing.assert_array_equal(shown, expected)


def test_error_curves_have_the_errors_of_the_report():
  """The mean of each curve is the number in eval/DATASET.json."""
  config = synthetic.get_config("test")
  rng = np.random.default_rng(2)
  fit, test = (
    ArrayDataset(
      images(n)[::-1], rng.uniform(-0.5, 0.5, (n, 5, 2)), image_size=SIZE
    )
    for n in (30, 9)
  )
  splits = types.SimpleNamespace(train=fit, fit=fit, test=test)
  model, _ = initial.networks(config)
  variables = initial.untrained(config, model)
  evaluator = Evaluator(config, model, splits)
  report = evaluator.regress(variables, variables)
  errors = draw.image_errors(Subject("", evaluator, 0, variables), report)
  assert all(value.shape == (9,) for value in errors.values())
  expected = {
    "intercept": report["error"]["intercept"],
    "no intercept": report["error"]["no_intercept"],
    "mean shape": report["baseline"]["mean_shape"],
  }
  means = jax.tree.map(lambda x: x.mean(), errors)
  assert means.keys() == expected.keys()
  for name, value in expected.items():
    np.testing.assert_allclose(means[name], value, rtol=1e-5)
