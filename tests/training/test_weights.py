"""Runs on ported weights: what they change, and when they are needed."""

import json
import logging
import shutil

import flax.traverse_util
import jax
import numpy as np
import pytest

from c3_jax import settings
from c3_jax.errors import UserError
from c3_jax.models import initial, porting, weight_files
from c3_jax.runs.checkpoints import Checkpoints
from c3_jax.training import loop, resume
from c3_jax.training.experiment import Experiment
from configs import folder, synthetic

STEPS = 4


def get_config(**changes):
  """One short stage of the test configuration; __ stands for a dot."""
  config = synthetic.get_config("test").unlock()
  changes = {
    "checkpoint_every": 2,
    "stages__pairs__steps": STEPS,
    "stages__flow__steps": 0,
    "stages__cycle__steps": 0,
    "perceptual__taps": ("input", "conv1_2"),
  } | changes
  config.update_from_flattened_dict(
    {key.replace("__", "."): value for key, value in changes.items()}
  )
  return config


def with_weights(place, **changes):
  """The configuration that takes both networks from a folder."""
  place = str(place)
  return get_config(weights__resnet50=place, weights__vgg=place, **changes)


def write_weights(place, *, sha="1"):
  """Makes a folder of ported weights for the small networks; random ones."""
  model, vgg = initial.networks(get_config())
  rng = np.random.default_rng(0)
  for name, module in (("resnet50", model.backbone), ("vgg16", vgg)):
    variables = {
      path: rng.uniform(0.05, 0.1, shape).astype("f4")
      for path, shape in porting.shapes(module).items()
    }
    about = {"network": name, "source": f"{name}.pth", "source_sha256": sha}
    weight_files.save(variables, about, place, name)
  return place


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """(workdir, log, weights) of a run; the weights are then elsewhere."""
  tmp = tmp_path_factory.mktemp("ported")
  place = write_weights(tmp / "weights")
  lines = []
  handler = logging.Handler()
  handler.emit = lambda record: lines.append(record.getMessage())
  logger = logging.getLogger("c3_jax.training.loop")
  level = logger.level
  logger.addHandler(handler)
  logger.setLevel(logging.INFO)
  loop.train_and_evaluate(with_weights(place), tmp / "run", mode="train")
  logger.removeHandler(handler)
  logger.setLevel(level)
  place.rename(tmp / "elsewhere")
  return tmp / "run", lines, tmp / "elsewhere"


def state_of(run, step):
  """The state of a checkpoint."""
  # Without the VGG, whose folder is gone.
  config = get_config(weights__resnet50="gone")
  with Checkpoints(run) as checkpoints:
    return resume.restore(Experiment.of(config, run), checkpoints, step)


def test_norm_follows_the_weights():
  """Ported statistics are frozen, those from scratch trained; if not told."""
  norm = lambda config: initial.networks(config)[0].backbone.norm  # noqa: E731
  assert norm(get_config()) == "batch"
  assert norm(get_config(weights__vgg="x")) == "batch"
  assert norm(get_config(weights__resnet50="x")) == "frozen"
  for told in ("batch", "frozen", "group"):
    config = get_config(weights__resnet50="x", model__backbone__norm=told)
    assert norm(config) == told
  assert settings.paper(k=1, cycle=1, flow=1).model.backbone.norm == "auto"


def test_perceptual_network_has_the_models_type():
  """bfloat16 is for the VGG as well."""
  config = get_config(model__dtype="bfloat16")
  assert initial.networks(config)[1].dtype.name == "bfloat16"


@pytest.mark.slow
def test_the_first_checkpoint_holds_the_ported_backbone(finished):
  """Step 0 is kept, with every number of the ported file."""
  run, _, place = finished
  state = state_of(run, 0)
  ported = weight_files.load(place, "resnet50", key="weights.resnet50")
  found = flax.traverse_util.flatten_dict(
    {
      "params": state.params["backbone"],
      "batch_stats": state.batch_stats["backbone"],
    },
    sep="/",
  )
  assert found.keys() == ported.keys()
  for path, value in ported.items():
    np.testing.assert_array_equal(found[path], value)


@pytest.mark.slow
def test_training_moves_the_weights_not_the_statistics(finished):
  """Kernels of the backbone learn; its statistics stay the ported ones."""
  run, *_ = finished
  first, last = state_of(run, 0), state_of(run, STEPS)
  assert last.step == STEPS
  jax.tree.map(
    np.testing.assert_array_equal,
    first.batch_stats["backbone"],
    last.batch_stats["backbone"],
  )
  kernels = (x.params["backbone"]["conv1"]["kernel"] for x in (first, last))
  assert np.any(next(kernels) != next(kernels))


@pytest.mark.slow
def test_perceptual_network_is_the_ported_one(finished):
  """Every parameter of the frozen VGG comes from the folder."""
  config = with_weights(finished[2])
  frozen = initial.perceptual(config, initial.networks(config)[1])
  found = flax.traverse_util.flatten_dict(frozen, sep="/")
  ported = weight_files.load(finished[2], "vgg16", key="weights.vgg")
  assert found.keys() == ported.keys()
  for path, value in ported.items():
    np.testing.assert_array_equal(found[path], value)


@pytest.mark.slow
def test_log_says_what_is_used(finished):
  """One line names both folders; without them, what is used instead."""
  (line,) = [line for line in finished[1] if "perceptual" in line]
  assert line.count("/weights") == 2 and "ResNet-50" in line
  line = initial.describe(get_config())
  assert "from scratch" in line
  assert "vgg16 of width 0.125, random (He, seed 0)" in line
  assert "\n" not in line


@pytest.mark.slow
def test_evaluation_needs_no_source_weights(finished):
  """Both networks that are measured come from the run, the folder is gone."""
  workdir = finished[0]
  config = with_weights("gone", eval__step=STEPS)
  experiment, run = Experiment.to_evaluate(config, workdir)
  assert run.step == STEPS and run.model.backbone.norm == "frozen"
  untrained = loop.untrained(experiment, run)
  for variables, step in ((run.variables, STEPS), (untrained, 0)):
    jax.tree.map(
      np.testing.assert_array_equal,
      variables,
      state_of(workdir, step).variables,
    )
  # There is nothing left to train, either.
  loop.train_and_evaluate(with_weights("gone"), workdir, mode="train")


@pytest.mark.slow
def test_run_notes_its_weights(finished):
  """weights.json says which files the networks came from."""
  noted = json.loads((finished[0] / "weights.json").read_text())
  assert {key: about["source"] for key, about in noted.items()} == {
    "resnet50": "resnet50.pth",
    "vgg": "vgg16.pth",
  }


@pytest.fixture
def begun(finished, tmp_path):
  """A copy of the run that has two steps to go."""
  run = shutil.copytree(finished[0], tmp_path / "begun")
  shutil.rmtree(run / "checkpoints" / str(STEPS))
  return run


@pytest.mark.slow
def test_resuming_needs_the_vgg_only(finished, begun, tmp_path):
  """The backbone is in the checkpoint; the VGG may have moved."""
  place = tmp_path / "moved"
  place.mkdir()
  shutil.copy(finished[2] / "vgg16.safetensors", place)
  loop.train_and_evaluate(with_weights(place), begun, mode="train")
  jax.tree.map(
    np.testing.assert_array_equal,
    state_of(begun, STEPS),
    state_of(finished[0], STEPS),
  )


@pytest.mark.slow
def test_resuming_without_the_vgg_is_refused(finished, begun, tmp_path):
  """Gone, another one, or none: one line with the key."""
  refused = {
    "gone": (with_weights("gone"), r"config\.weights\.vgg='gone' has no vgg16"),
    "another": (
      with_weights(write_weights(tmp_path / "another", sha="2")),
      r"VGG of vgg16.pth \(SHA-256 1\).*of vgg16.pth \(SHA-256 2\)",
    ),
    "none": (get_config(weights__resnet50="x"), r"config\.weights\.vgg=.*''"),
    "scratch": (get_config(), r"config\.weights\.resnet50=.*''"),
  }
  for config, message in refused.values():
    with pytest.raises(UserError, match=message) as error:
      loop.train_and_evaluate(config, begun)
    assert "\n" not in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize(
  "key, change, message",
  [
    ("resnet50", {}, r"config\.weights\.resnet50=.*has no resnet50\.safe"),
    ("vgg", {}, r"config\.weights\.vgg=.*has no vgg16\.safetensors"),
    (
      "resnet50",
      {"model__backbone__width": 8},
      r"does not fit config.model.backbone .*\(16,\) there and \(8,\) in",
    ),
    (
      "vgg",
      {"perceptual__width": 1.0},
      "does not fit config.perceptual .*conv1_1.*config.perceptual.width=1",
    ),
  ],
)
def test_weights_that_cannot_be_used(finished, tmp_path, key, change, message):
  """Missing or of another shape: one line with the key and what to do."""
  place = finished[2] if change else finished[2] / "none"
  config = get_config(**{f"weights__{key}": str(place)}, **change)
  with pytest.raises(UserError, match=message) as error:
    loop.train_and_evaluate(config, tmp_path / "run", mode="train")
  assert "\n" not in str(error.value)
  assert not (tmp_path / "run").exists()


def test_a_run_without_its_weights_leaves_nothing(tmp_path):
  """They are looked for before the workdir is made."""
  with pytest.raises(UserError, match=r"config\.weights\.resnet50='gone'"):
    loop.train_and_evaluate(with_weights("gone"), tmp_path / "run")
  assert not (tmp_path / "run").exists()


def test_the_papers_configuration_takes_ported_networks():
  """ResNet-50 and VGG16 of the port are exactly what folder.py builds."""
  model, vgg = initial.networks(folder.get_config())
  (resnet50, _), (vgg16, _) = (
    porting.NETWORKS[name] for name in ("resnet50", "vgg16")
  )
  assert porting.shapes(model.backbone) == porting.shapes(resnet50)
  assert porting.shapes(vgg).items() <= porting.shapes(vgg16).items()
