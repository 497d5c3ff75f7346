"""ONNX models give JAX's landmarks, whatever network a config makes."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest

from c3_jax import runs, settings
from c3_jax.evaluation.detect import confidence
from c3_jax.exporting import detector, files, onnx_model
from c3_jax.models import c3
from configs import folder, synthetic

# Name -> changes to the small network's config.model.
NETWORKS = {
  "small": {},
  "raw_logits": {"pose": {"gain": 0.0, "temperature": 0.1}},
  "marginal": {"pose": {"marginal": True}},
  "layout": {"appearance": {"pool": False, "norm": "none"}},
  "group": {"backbone": {"norm": "group"}},
  "frozen": {"backbone": {"norm": "frozen"}},
  "dilated": {
    "backbone": {"output_stride": 2, "stage_sizes": (1, 2, 1, 1)},
    "swap_features": True,
  },
  "bottleneck": {
    "backbone": {"bottleneck": True, "stem": "imagenet", "output_stride": 8}
  },
  "bfloat16": {"dtype": "bfloat16"},
}


def trained(config):
  """Makes a `runs.Trained` with drawn variables, no norm of which is idle."""
  model = c3.from_config(config)
  size = config.data.image_size
  images = jnp.zeros((2, size, size, 3))
  detect = functools.partial(model.init, method=c3.C3.detect)
  shapes = jax.eval_shape(detect, jax.random.key(0), images)
  rng = np.random.default_rng(0)

  def draw(path, leaf):
    if leaf.ndim > 1:
      deviation = np.sqrt(2 / np.prod(leaf.shape[:-1]))
      return rng.normal(0, deviation, leaf.shape).astype(np.float32)
    # Small scales: deep networks would otherwise give maps of one cell.
    ends = {"scale": (0.2, 0.5), "var": (0.5, 2)}
    low, high = ends.get(path[-1].key, (-0.3, 0.3))
    return rng.uniform(low, high, leaf.shape).astype(np.float32)

  variables = jax.tree_util.tree_map_with_path(draw, dict(shapes))
  return runs.Trained(config, model, variables, 7)


def check(config):
  """Compares landmarks and confidences of three images."""
  given = trained(config)
  images = detector.random_images(3, config.data.image_size, "uint8", seed=5)
  data = onnx_model.dump(given, "uint8", {})
  points, certain = onnx_model.load(data)(images)
  model = given.model.clone(
    backbone=given.model.backbone.clone(dtype=jnp.float32),
    pose=given.model.pose.clone(dtype=jnp.float32),
  )
  pose = jax.jit(functools.partial(model.apply, method="detect"))(
    given.variables, (images / 255).astype(np.float32)
  )
  assert np.ptp(np.asarray(pose.points), axis=0).max() > 0.01
  # Coordinates span two units.
  np.testing.assert_allclose(points, pose.points, atol=2e-4)
  want = confidence(pose.points, pose.probability)
  # Neither flat maps nor single cells, which hide differences.
  assert 0.02 < np.mean(want) < 0.9
  np.testing.assert_allclose(certain, want, atol=1e-4)


def slow_but_small(name):
  """Marks a network, unless it is the one of the fast lane."""
  return name if name == "small" else pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [*map(slow_but_small, NETWORKS)])
def test_every_network_is_that_of_jax(name):
  """Landmarks within 1e-4 of the side, confidences within 1e-4."""
  config = synthetic.get_config("test").unlock()
  config.data.image_size = 20  # Not a power of two.
  for key, value in NETWORKS[name].items():
    if isinstance(value, dict):
      config.model[key].update(value)
    else:
      config.model[key] = value
  check(config)


@pytest.mark.slow
def test_the_papers_network_is_that_of_jax():
  """ResNet-50, dilated, with all its channels, at 48 px."""
  config = folder.get_config().unlock()
  config.data.image_size = 48
  # Untrained logits are small.
  config.model.pose.temperature = 0.02
  check(config)


def test_every_config_is_covered():
  """What configs choose about the networks is a key of the tests above."""
  paper = settings.paper(k=10, cycle=True, flow=True).model
  assert set(paper.backbone) == {
    *("stage_sizes", "width", "widths", "bottleneck", "stem"),
    *("output_stride", "norm"),
  }
  assert set(paper.pose) == {
    *("features", "sigma", "temperature", "marginal", "gain", "init_std"),
  }


def test_a_model_says_what_it_takes_and_gives(run):
  """Names, types, shapes with a free number of images, and a description."""
  data, about = files.dump(runs.load_trained(run), "onnx", "float32")
  model = onnx.load_from_string(data)
  shape = lambda end: [  # noqa: E731
    d.dim_param or d.dim_value for d in end.type.tensor_type.shape.dim
  ]
  (images,) = model.graph.input
  assert (images.name, shape(images)) == ("images", ["n", 16, 16, 3])
  assert images.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
  outputs = {end.name: shape(end) for end in model.graph.output}
  assert outputs == {"points": ["n", 10, 2], "confidence": ["n", 10]}
  (entry,) = model.metadata_props
  assert json.loads(entry.value) == about
  assert about["step"] == 4
  assert about["frame"] == {
    "image_size": 16,
    "load_size": 20,
    "crop": "square",
  }
