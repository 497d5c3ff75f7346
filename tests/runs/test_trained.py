"""A trained model from its folder alone."""

import json

import jax
import numpy as np
import pytest

from c3_jax.errors import UserError
from c3_jax.runs import load_trained, write_config


@pytest.fixture(scope="module")
def run(tmp_path_factory, save_run):
  """(workdir, config, variables) of `save_run`; step 7 is the best."""
  workdir = tmp_path_factory.mktemp("restore") / "run"
  return workdir, *save_run(workdir, {3: 20.0, 7: 10.0, 9: 30.0})


@pytest.mark.parametrize(("asked", "step"), [(None, 7), (9, 9)])
def test_parameters_and_statistics_are_those_saved(run, asked, step):
  """The best checkpoint, or the one asked for, and the model they fit."""
  workdir, config, variables = run
  trained = load_trained(workdir, asked)
  assert trained.step == step
  assert json.loads(trained.config.to_json()) == json.loads(config.to_json())
  assert trained.variables.keys() == {"params", "batch_stats"}
  # The step is added to all, to tell the checkpoints apart.
  jax.tree.map(
    lambda x, y: np.testing.assert_array_equal(x, y + np.float32(step / 1000)),
    trained.variables,
    variables,
  )
  encode = lambda images: trained.model.apply(  # noqa: E731
    trained.variables, images, method="encode"
  )
  encoding = jax.eval_shape(encode, np.zeros((2, 16, 16, 3), np.float32))
  assert encoding.pose.points.shape == (2, 10, 2)


def test_what_is_no_run_is_named(run, tmp_path):
  """Each mistake is one line that says what is missing."""
  workdir, config, _ = run
  with pytest.raises(UserError, match="none/config.json does not exist"):
    load_trained(tmp_path / "none")
  with pytest.raises(UserError, match="no checkpoint of step 5: use one of"):
    load_trained(workdir, 5)
  write_config(config, tmp_path)
  with pytest.raises(UserError, match="has no checkpoints yet"):
    load_trained(tmp_path)
  assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
  for text, match in (
    ("{", "is not the config of a run"),
    ("[1]", "is not the config of a run"),
    ("{}", "does not describe a model"),
  ):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=match):
      load_trained(tmp_path)
