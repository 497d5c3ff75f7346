"""Tests of the evaluation with a detector that finds coloured dots.

The images hold two dots, a red and a green one, and the "network" returns
the centres of gravity of these colours: what it should find is known exactly.
"""

import dataclasses
import functools
import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3_jax import geometry
from c3_jax.data import synthetic as synthetic_faces
from c3_jax.data.in_memory import ArrayDataset
from c3_jax.errors import UserError
from c3_jax.evaluation import conventions
from c3_jax.evaluation.detect import (
  detect,
  landmark_function,
  random_similarities,
  see_through,
)
from c3_jax.evaluation.evaluator import Evaluator, check_options
from c3_jax.evaluation.report import evaluate, table
from c3_jax.evaluation.subject import Subject
from c3_jax.models import flow
from c3_jax.models.extractors import Pose
from c3_jax.runs import load_trained
from c3_jax.runtime import parallel
from configs import synthetic

SIZE, LOAD = 24, 36
LIMITS = {"rotation": 20.0, "scale": 0.15, "shift": 0.1, "seed": 0}


class Dots:
  """Stands for `C3`: variables is a factor for the points it finds."""

  def apply(self, variables, *args, method):
    return method(Dots.bound(variables), *args)

  @staticmethod
  def bound(factor):
    def pose(images):
      weight = images[..., :2] / images[..., :2].sum((1, 2), keepdims=True)
      points = jnp.einsum(
        "nyxk,yxd->nkd", weight, geometry.grid(*images.shape[1:3])
      )
      return Pose(factor * points, images, weight)

    return types.SimpleNamespace(
      features=lambda images: (images[:, ::4, ::4], images),
      pose=pose,
      match=flow.correlation,
      decode=lambda a, maps: a,
      encode=lambda images: types.SimpleNamespace(
        appearance=images,
        pose=pose(images),
        features=images[:, ::4, ::4],
      ),
    )


def draw(points):
  """Images [n, LOAD, LOAD, 3] with dots at points [n, 2, 2] of the frame."""
  pixels = np.arange(LOAD)
  images = np.zeros((len(points), LOAD, LOAD, 3), np.uint8)
  for image, dots in zip(images, points, strict=True):
    for channel, (x, y) in enumerate(dots):
      # Pixels of the frame, which lies in the middle of the image.
      x, y = (((v + 1) * SIZE - 1) / 2 + (LOAD - SIZE) / 2 for v in (x, y))
      square = (pixels - x) ** 2 + (pixels[:, None] - y) ** 2
      image[..., channel] = np.rint(255 * np.exp(-square / 4))
  return images


def dots(n, seed):
  """A dataset of n images whose dots are its points."""
  points = np.random.default_rng(seed).uniform(-0.4, 0.4, (n, 2, 2))
  points += [[-0.1, 0], [0.1, 0]]
  return ArrayDataset(draw(points), points, image_size=SIZE)


def evaluator(*, fit=40, test=30, batch_size=7):
  """(config, Evaluator) of the dots; None leaves a split out."""
  config = synthetic.get_config("test").unlock()
  config.data.update({"image_size": SIZE, "load_size": LOAD})
  config.model.k = 2
  config.eval.batch_size = batch_size
  config.eval.perturb = True
  splits = types.SimpleNamespace(
    fit=None if fit is None else dots(fit, 1),
    test=None if test is None else dots(test, 2),
  )
  return config, Evaluator(config, Dots(), splits)


def test_similarities_are_within_their_limits():
  """Each is R s x + t, uniform in the limits given, the same for a seed."""
  matrices = random_similarities(4000, LIMITS)
  assert matrices.shape == (4000, 2, 3) and matrices.dtype == np.float32
  linear, shift = matrices[:, :, :2].astype(float), matrices[:, :, 2]
  scale = np.sqrt(np.linalg.det(linear))
  rotation = linear / scale[:, None, None]
  np.testing.assert_allclose(
    rotation @ rotation.transpose(0, 2, 1),
    np.broadcast_to(np.eye(2), rotation.shape),
    atol=1e-6,
  )
  angle = np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
  # The side of the frame is 2 in coordinates.
  for value, half in (
    (angle, 20.0),
    (scale - 1, 0.15),
    (shift[:, 0], 0.2),
    (shift[:, 1], 0.2),
  ):
    assert np.abs(value).max() <= half * (1 + 1e-5)
    np.testing.assert_allclose(value.std(), half / np.sqrt(3), rtol=0.05)
    assert abs(value.mean()) < 0.05 * half
  again = random_similarities(4000, LIMITS)
  np.testing.assert_array_equal(matrices, again)
  other = random_similarities(4000, LIMITS | {"seed": 1})
  assert not np.array_equal(matrices, other)


def test_points_seen_through_a_warp_map_back():
  """The pull map takes the point seen to the point of the image."""
  matrices = random_similarities(50, LIMITS).astype(float)
  points = np.random.default_rng(0).uniform(-1, 1, (50, 3, 2))
  seen = see_through(matrices, points)
  for matrix, at, expected in zip(matrices, seen, points, strict=True):
    for p, q in zip(at, expected, strict=True):
      np.testing.assert_allclose(matrix @ [*p, 1], q, atol=1e-5)


@pytest.mark.parametrize("warped", [False, True])
def test_dots_are_found_where_the_warp_moves_them(warped):
  """Detection sees the frame or the warped frame, to a tenth of a pixel."""
  data = dots(30, 3)
  warps, expected = None, data.points
  if warped:
    warps = random_similarities(30, LIMITS)
    expected = see_through(warps, data.points)
    assert np.abs(expected - data.points).max() > 0.2
  found = detect(
    landmark_function(Dots(), SIZE),
    jnp.float32(1),
    data,
    batch_size=8,
    warps=warps,
  )
  np.testing.assert_allclose(found, expected, atol=2 / SIZE / 10)


@pytest.mark.parametrize("devices", [1, 2, 4])
@pytest.mark.parametrize("batch_size", [4, 8, 12, 32])
def test_every_example_is_detected_in_order(devices, batch_size):
  """No batch size or number of devices loses, repeats or mixes examples."""
  n = 11
  images = np.zeros((n, 2, 2, 3), np.uint8)
  images += np.arange(n, dtype=np.uint8)[:, None, None, None]
  warps = np.arange(n, dtype=np.float32)[:, None, None] * np.ones((2, 3), "f4")

  def index_and_warp(variables, batch):
    index = batch["image"][:, 0, 0, 0].astype(jnp.float32)
    return jnp.stack([index, batch["warp"][:, 0, 0]], -1)[:, None] + variables

  function = parallel.pmap_eval(
    index_and_warp, devices=jax.local_devices()[:devices]
  )
  found = detect(
    function,
    np.float32(0.5),
    ArrayDataset(images),
    batch_size=batch_size,
    warps=warps,
  )
  expected = np.arange(n)[:, None].repeat(2, 1)[:, None] + 0.5
  np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_numbers_do_not_depend_on_devices_or_batches(
  save_run, tmp_path, monkeypatch
):
  """All images of a real network are counted, and errors agree to 1e-6.

  That is relative: the landmarks of this untrained network are nearly
  collinear, so that the fit makes much of their rounding.
  """
  save_run(tmp_path, {1: 1.0})
  trained = load_trained(tmp_path)
  arrays = []
  for split, n in (("fit", 301), ("test", 101)):
    size = {"image_size": 16, "load_size": 20}
    faces = synthetic_faces.dataset(0, split=split, n=n, **size)
    arrays.append(ArrayDataset(faces["images"], faces["points"], image_size=16))
  pmap_eval, results = parallel.pmap_eval, []
  for count, batch_size in ((1, 7), (4, 12), (4, 32)):
    devices = jax.local_devices()[:count]
    monkeypatch.setattr(
      parallel, "pmap_eval", functools.partial(pmap_eval, devices=devices)
    )
    function = landmark_function(trained.model, 16)
    variables = parallel.replicate(trained.variables, devices=devices)
    found = [
      detect(function, variables, data, batch_size=batch_size)
      for data in arrays
    ]
    results.append(
      conventions.evaluate(
        conventions.Data.of(
          found[0],
          arrays[0].points,
          found[1],
          arrays[1].points,
          size=16,
          normaliser=(0, 1),
        )
      )
    )
  for result in results:
    assert (result["n_train"], result["n_test"]) == (301, 101)
    for name, error in result["error"].items():
      assert error == pytest.approx(results[0]["error"][name], rel=1e-6)


def test_batch_size_need_not_suit_the_devices():
  """`config.eval.batch_size` is rounded up to the devices; numbers stay."""
  results = [
    evaluator(batch_size=batch_size)[1].landmarks(jnp.float32(1), dots(30, 2))
    for batch_size in (1, 7, 64)
  ]
  for result in results[1:]:
    np.testing.assert_allclose(result, results[0], atol=1e-6)


def test_held_out_error_is_that_of_the_last_tenth():
  """The fit images alone are used: nine tenths to fit, one to measure."""
  _, each = evaluator(fit=60)
  found = each.landmarks(jnp.float32(1), dots(60, 1))
  points = dots(60, 1).points.astype(float)
  design = np.concatenate([found.reshape(60, 4), np.ones((60, 1))], 1)
  weights = np.linalg.lstsq(design[:54], points[:54].reshape(54, 4))[0]
  estimate = (design[54:] @ weights).reshape(6, 2, 2)
  distance = np.linalg.norm(estimate - points[54:], axis=-1)
  eyes = np.linalg.norm(points[54:, 0] - points[54:, 1], axis=-1)
  expected = 100 * np.mean(distance / eyes[:, None])
  error = each.held_out_error(jnp.float32(1))
  np.testing.assert_allclose(error, expected, rtol=1e-3)


@pytest.mark.parametrize("fit", [None, 44])
def test_too_few_annotations_have_no_held_out_error(fit):
  """Without annotations, or with under five to measure on, there is none."""
  assert evaluator(fit=fit)[1].held_out_error(jnp.float32(1)) is None


def test_regression_needs_both_annotated_splits():
  """`annotated` says whether there is something to fit and to test."""
  assert evaluator()[1].annotated
  assert not evaluator(fit=None)[1].annotated
  assert not evaluator(test=None)[1].annotated


def test_perturbed_images_move_their_points_along():
  """A detector that makes no error makes none on perturbed images."""
  _, each = evaluator()
  variables = jnp.float32(1), jnp.float32(0)
  plain = each.regress(*variables)
  perturbed = each.regress(*variables, perturb=True)
  for result in (plain, perturbed):
    assert result["error"]["intercept"] < 1
    assert result["error"]["no_intercept"] < 1
  shapes = [x["baseline"]["mean_shape"] for x in (plain, perturbed)]
  assert abs(shapes[1] - shapes[0]) > 1
  assert perturbed == each.regress(*variables, perturb=True)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
  """(`Subject`, its report)."""
  workdir, (_, each) = tmp_path_factory.mktemp("measured"), evaluator()
  subject = Subject(workdir, each, 12, jnp.float32(1), jnp.float32(0))
  return subject, evaluate(subject)


def test_report_says_what_was_measured(measured):
  """The file holds the keys that others read, each number of its own kind."""
  subject, report = measured
  (path,) = (subject.workdir / "eval").iterdir()
  assert path.name == "synthetic.json"
  assert json.loads(path.read_text()) == report
  assert (report["dataset"], report["step"], report["k"]) == (
    "synthetic",
    12,
    2,
  )
  assert (report["n_train"], report["n_test"]) == (40, 30)
  points = dots(30, 2).points
  mean = dots(40, 1).points.mean(0)
  eyes = np.linalg.norm(points[:, 0] - points[:, 1], axis=-1)
  distance = np.linalg.norm(points - mean, axis=-1)
  mean_shape = 100 * np.mean(distance / eyes[:, None])
  for part in (report, report["perturbed"]):
    assert part["error"].keys() == part["conventions"].keys()
    assert {"no_intercept", "intercept"} <= part["error"].keys()
    assert max(part["error"].values()) < 1
    # Points that are all zero tell no more than the mean shape.
    baseline = part["baseline"]
    assert baseline.keys() == {"mean_shape", "untrained"}
    np.testing.assert_allclose(
      baseline["untrained"], baseline["mean_shape"], rtol=1e-5
    )
    for regressor in part["regressor"].values():
      assert np.shape(regressor["weights"]) == (4, 4)
      assert np.shape(regressor["bias"]) == (4,)
  np.testing.assert_allclose(
    report["baseline"]["mean_shape"], mean_shape, rtol=1e-5
  )


def test_report_says_what_was_seen_of_the_files(
  measured, tmp_path, monkeypatch
):
  """The share, and the protocol, of a test split that knows them."""
  subject, report = measured
  assert not {"seen", "protocol"} & report.keys()
  published = {"paper": "aflw", "name": "imm", "release": "lmdis"}
  monkeypatch.setattr(ArrayDataset, "seen", 64.0)
  monkeypatch.setattr(ArrayDataset, "protocol", published)
  report = evaluate(dataclasses.replace(subject, workdir=tmp_path))
  assert (report["seen"], report["protocol"]) == (64.0, published)


def test_table_shows_the_numbers_of_the_report(measured):
  """Every error stands in a line that names its convention."""
  _, report = measured
  head, *lines = table(report).splitlines()
  assert "K = 2" in head and "step 12" in head
  assert "40 images to fit, 30 to test" in head
  assert " mean distance / distance of points 0 and 1, %" in lines

  def assert_shown(name, value):
    (line,) = [x for x in lines if x.startswith(f"  {name} ")]
    head, shown = line.rsplit(maxsplit=1)
    assert (head.strip(), shown) == (name, f"{value:.2f}")

  for part, title in ((report, ""), (report["perturbed"], "perturbed: ")):
    for name, words in part["conventions"].items():
      assert_shown(f"{title}regression {words}", part["error"][name])
    baseline = part["baseline"]
    untrained = "same network untrained, with intercept"
    assert_shown(title + untrained, baseline["untrained"])
    assert_shown(f"{title}mean shape", baseline["mean_shape"])
  assert_shown(
    "divided by image side", report["normalised_by"]["image side"]["intercept"]
  )
  few = report["few_shot"]["5"]["intercept"]
  name = f"from 5 training images, 10 choices, deviation {few['deviation']:.2f}"
  assert_shown(name, few["mean"])


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("name", "a/b"),
    ("ridge", -0.1),
    ("repeats", 0),
    ("few_shot", (5, 0)),
    ("few_shot", (0.5,)),
  ],
)
def test_options_that_mean_nothing_are_refused(key, value):
  """The key is named before anything is measured."""
  config = synthetic.get_config("test").unlock()
  del config.eval[key]
  config.eval[key] = value
  with pytest.raises(UserError, match=f"config.eval.{key}="):
    check_options(config.eval)
