"""What --mode=eval measures: which checkpoint, on which data, under which name.

The network and its training are those of the run, data and evaluation those of
the command line.
"""

import json

import pytest

from c3_jax.errors import UserError
from c3_jax.training import experiment
from configs import synthetic


@pytest.fixture(scope="module")
def workdir(tmp_path_factory, save_run):
  """A run that keeps the checkpoints 7 (the best) and 9."""
  workdir = tmp_path_factory.mktemp("eval_mode") / "run"
  save_run(workdir, {3: 20.0, 7: 10.0, 9: 30.0})
  return workdir


def given(**keys):
  """The configuration of a command line; the keys have __ for a dot."""
  config = synthetic.get_config("test")
  with config.unlocked():
    config.update_from_flattened_dict(
      {key.replace("__", "."): value for key, value in keys.items()}
    )
  return config


@pytest.fixture(autouse=True)
def without_data(monkeypatch):
  """No data is read: most of it is not there."""
  monkeypatch.setattr(experiment, "load_splits", lambda config: None)
  monkeypatch.setattr(experiment, "Evaluator", lambda *_: None)


def chosen_for(config, workdir):
  """(config, `Trained`) that are evaluated."""
  each, run = experiment.Experiment.to_evaluate(config, workdir)
  return each.config, run


@pytest.mark.parametrize(("step", "chosen"), [(-1, 7), (9, 9)])
def test_the_best_or_the_named_checkpoint(workdir, step, chosen):
  """-1 is the best; a step that is not there is named with those that are."""
  assert chosen_for(given(eval__step=step), workdir)[1].step == chosen
  with pytest.raises(UserError, match="no checkpoint of step 5: use one of"):
    chosen_for(given(eval__step=5), workdir)


def test_data_and_evaluation_are_those_given(workdir, caplog):
  """All else comes from the run, which is told, and config.json stays."""
  caplog.set_level("INFO")
  before = (workdir / "config.json").read_bytes()
  config, _ = chosen_for(
    given(
      data__name="folder",
      data__root="somewhere",
      eval__normaliser=(2, 3),
      seed=5,
      batch_size=64,
      stages__cycle__steps=99,
    ),
    workdir,
  )
  run = json.loads(before)
  assert (config.data.name, config.data.root) == ("folder", "somewhere")
  assert config.eval.normaliser == (2, 3)
  assert (config.seed, config.batch_size) == (run["seed"], run["batch_size"])
  assert config.stages.cycle.steps == run["stages"]["cycle"]["steps"]
  assert (workdir / "config.json").read_bytes() == before
  (line,) = (line for line in caplog.messages if "not those given" in line)
  keys = "config.batch_size, config.seed, config.stages.cycle.steps"
  assert line.endswith(f" of: {keys}.")


@pytest.mark.parametrize(
  ("keys", "name"),
  [
    ({}, ""),
    ({"data__name": "aflw"}, "aflw"),
    ({"data__name": "aflw", "eval__name": "aflw_mtfl"}, "aflw_mtfl"),
    ({"eval__name": "again"}, "again"),
  ],
)
def test_another_dataset_has_a_name_of_its_own(workdir, keys, name):
  """So neither numbers nor figures of the first one are written over."""
  assert chosen_for(given(**keys), workdir)[0].eval.name == name


@pytest.mark.parametrize(
  ("key", "value"),
  [("model__k", 7), ("data__image_size", 20), ("model__pose__gain", 1.0)],
)
def test_another_network_is_refused(workdir, key, value):
  """The key that differs is named, with both values."""
  name = key.replace("__", ".")
  with pytest.raises(UserError, match=f"config.{name}=.*not {value}"):
    chosen_for(given(**{key: value}), workdir)
