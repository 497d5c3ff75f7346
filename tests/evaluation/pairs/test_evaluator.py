"""What is measured between images: whole, and the same however batched."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3_jax import geometry
from c3_jax.data import pairs as pairs_lib
from c3_jax.data.in_memory import ArrayDataset
from c3_jax.evaluation import Subject
from c3_jax.evaluation import report as report_lib
from c3_jax.evaluation.evaluator import Evaluator
from c3_jax.evaluation.pairs import matching
from c3_jax.evaluation.pairs.evaluator import PairEvaluator
from c3_jax.models import flow
from c3_jax.models.extractors import Pose
from configs import synthetic

SIZE = 16


class Toy:
  """Stands for `C3`: landmarks are centres of colours, f' is the image."""

  def apply(self, variables, images, *, method):
    return method(types.SimpleNamespace(**self.methods(variables)), images)

  def methods(self, factor):
    def pose(images):
      weight = images + 1e-3
      weight /= weight.sum((1, 2), keepdims=True)
      points = jnp.einsum("nyxk,yxd->nkd", weight, geometry.grid(SIZE, SIZE))
      return Pose(factor * points, images, weight)

    def features(images):
      patches = images.reshape(-1, 4, 4, 4, 4, 3).transpose(0, 1, 3, 2, 4, 5)
      return patches.reshape(-1, 4, 4, 48), images

    return {
      "features": features,
      "pose": pose,
      "match": flow.correlation,
      "decode": lambda a, p: (a + p) / 2,
      "encode": lambda images: types.SimpleNamespace(
        appearance=images, pose=pose(images), features=features(images)[0]
      ),
    }


def random_images(n, seed=0):
  """Random images, uint8 [n, SIZE, SIZE, 3]."""
  rng = np.random.default_rng(seed)
  return rng.integers(0, 256, (n, SIZE, SIZE, 3)).astype(np.uint8)


def listed(n, seed=0):
  """A `PairDataset` of n pairs of random images, one of them mirrored."""
  rng = np.random.default_rng(seed)
  points = rng.uniform(-0.9, 0.9, (n, 2, 6, 2))
  points[:, 0] = points[:, 1] + rng.uniform(-0.1, 0.1, (n, 6, 2))
  visible = np.arange(6) < rng.integers(2, 7, (n, 1))
  flips = np.zeros(n, bool)
  flips[1] = True
  return pairs_lib.PairDataset(
    random_images(n + 1, seed),
    [f"{i}.jpg" for i in range(n + 1)],
    rng.integers(60, 500, (n + 1, 2)),
    np.stack([np.arange(n), np.arange(n) + 1], 1),
    flips=flips,
    categories=np.arange(n) % 3,
    points=points,
    visible=visible,
    subsets={"new": np.arange(n) < 4, "none": np.zeros(n, bool)},
  )


def config(batch_size=6):
  """A config for images of this size."""
  result = synthetic.get_config("test").unlock()
  result.data.update({"image_size": SIZE, "load_size": SIZE, "name": "folder"})
  result.eval.batch_size = batch_size
  return result


@functools.cache
def report(name, batch_size=100):
  """What is measured with Toy on one of `DATASETS`."""
  each = PairEvaluator(config(batch_size), Toy(), DATASETS[name])
  return each.measure(jnp.float32(1), jnp.float32(0), normaliser="image")


DATASETS = {
  "listed": listed(7),
  "plain": ArrayDataset(random_images(11)),
  "annotated": ArrayDataset(
    random_images(5), np.random.default_rng(0).uniform(-1, 1, (5, 2, 2))
  ),
  "one": ArrayDataset(random_images(1)),
}


@pytest.mark.parametrize("name", ["listed", "plain"])
def test_batches_change_nothing(name):
  """The report is the same to 1e-6 for any batch size, on four devices."""
  one, other = report(name, 1), report(name)
  assert jax.tree.structure(one) == jax.tree.structure(other)
  np.testing.assert_allclose(
    jax.tree.leaves(one), jax.tree.leaves(other), rtol=1e-6, atol=1e-6
  )


def test_listed_pairs_are_measured_as_alignment():
  """Every pair counts, with its category and its list; no regression."""
  found = report("listed")
  assert found["alignment"]["pairs"] == found["consistency"]["pairs"] == 7
  assert found["alignment"]["lists"]["new"]["pairs"] == 4
  assert found["alignment"]["lists"].keys() == {"new"}
  categories = found["alignment"]["per_category"]
  assert {name: part["pairs"] for name, part in categories.items()} == {
    "aeroplane": 3,
    "bicycle": 2,
    "bird": 2,
  }
  assert found["pck"] == found["alignment"]["readings"]["flow"]
  assert "transfer" not in found
  # The untrained Toy has all its landmarks in one spot.
  assert found["alignment"]["untrained"].keys() == {
    "flow",
    "landmarks",
    "combined",
    "identity",
  }
  text = "\n".join(report_lib.pair_lines(found))
  for value in (
    found["pck"]["scnet@0.1"],
    found["consistency"]["flow"],
    found["disentanglement"]["pose_error"]["to_pose"],
  ):
    assert f"{value:.2f}" in text


def test_images_without_points_have_no_alignment():
  """Consistency and disentanglement need no annotation."""
  found = report("plain")
  assert found.keys() == {"consistency", "disentanglement"}
  assert found["consistency"]["pairs"] == 5
  assert report_lib.pair_lines(found)


def test_annotated_images_are_pairs_of_neighbours():
  """Image 2m is the target, 2m + 1 the source; an odd one is left out."""
  data, found = DATASETS["annotated"], report("annotated")
  assert found["alignment"]["pairs"] == 2
  distance = np.linalg.norm(data.points[0:4:2] - data.points[1:4:2], axis=-1)
  np.testing.assert_allclose(
    found["transfer"]["identity"], 50 * distance.mean(), rtol=1e-5
  )
  (batch,) = matching.Neighbours(data, SIZE).eval_batches(3)
  np.testing.assert_array_equal(batch["image_target"][:2], data.images[0:4:2])
  np.testing.assert_array_equal(batch["points_source"][:2], data.points[1:4:2])
  np.testing.assert_array_equal(batch["mask"], [1, 1, 0])


def test_one_image_is_no_pair():
  """Nothing is measured between one image and itself."""
  assert report("one") == {}


def test_checkpoints_of_listed_pairs_are_chosen_by_pck(tmp_path):
  """What PCK lacks of 100 on the validation list; the report has no error."""
  splits = types.SimpleNamespace(fit=DATASETS["listed"], test=listed(5, 2))
  each = Evaluator(config(), Toy(), splits)
  chosen = report("listed")["pck"]["scnet@0.1"]
  np.testing.assert_allclose(
    each.held_out_error(jnp.float32(1)), 100 - chosen, rtol=1e-6
  )
  assert each.annotated
  found = report_lib.evaluate(
    Subject(tmp_path, each, 3, jnp.float32(1), jnp.float32(0))
  )
  assert found["alignment"]["pairs"] == 5 and "error" not in found
  assert "PCK scnet@0.1 of 5 pairs" in report_lib.table(found)
