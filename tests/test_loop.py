"""The loop: a whole run, its resumption, its ends."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest

from c3_jax import build, metrics, parallel, steps, train
from c3_jax.checkpoints import Checkpoints
from c3_jax.errors import UserError
from configs import synthetic

TERMS = {
  "pairs": {"pairs"},
  "flow": {"flow"},
  "cycle": {"cycle", "inv", "equiv"},
}


@pytest.fixture(scope="module")
def config():
  """The test configuration, unlocked."""
  return synthetic.get_config("test").unlock()


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
  """The workdir of an undisturbed run."""
  workdir = tmp_path_factory.mktemp("run") / "work"
  train.train_and_evaluate(config, workdir)
  return workdir


def records(workdir):
  """The lines of metrics.jsonl."""
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


def final_state(config, workdir):
  """The newest checkpoint."""
  setup = build.setup(config)
  stages = build.stages(config, config.data.n_train)
  with Checkpoints(workdir) as checkpoints:
    return train.restore(
      config, setup.model, stages, checkpoints, checkpoints.latest
    )


def assert_same_run(config, a, b):
  """Parameters, statistics and metrics agree bit for bit."""
  jax.tree.map(
    np.testing.assert_array_equal,
    final_state(config, a),
    final_state(config, b),
  )
  drop = "images_per_second"
  strip = lambda row: {k: v for k, v in row.items() if k != drop}  # noqa: E731
  assert [strip(row) for row in records(a)] == [strip(r) for r in records(b)]


def test_metrics_hold_every_term_of_every_stage_once(finished):
  """Each logged step appears once, with the finite terms of its stage."""
  rows = records(finished)
  assert [row["step"] for row in rows] == sorted({row["step"] for row in rows})
  assert {row["stage"] for row in rows} == set(TERMS)
  for row in rows:
    assert set(row) & set(steps.TERMS) == TERMS[row["stage"]]
    assert all(np.isfinite(v) for k, v in row.items() if k != "stage")
    raw = [key for key in row if key.startswith("raw_")]
    assert len(raw) == (0 if row["stage"] == "flow" else 4)
  assert rows[-1]["step"] == 30


def test_files_of_a_run(finished):
  """Report, figures and the newest and best checkpoints are there."""
  report = json.loads((finished / "eval" / "synthetic.json").read_text())
  assert report["dataset"] == "synthetic"
  assert (report["k"], report["n_train"], report["n_test"]) == (10, 60, 20)
  for convention in ("no_intercept", "intercept"):
    assert report["error"][convention] > 0
    regressor = report["regressor"][convention]
    assert np.shape(regressor["weights"]) == (20, 10)
    assert np.shape(regressor["bias"]) == (10,)
  assert set(report["baseline"]) == {"mean_shape", "untrained"}
  names = {path.name for path in (finished / "figures").iterdir()}
  assert names >= {"landmarks.png", "swaps.png", "template.png", "curves.png"}
  errors = {
    row["step"]: row["held_out_error"]
    for row in records(finished)
    if "held_out_error" in row and row["stage"] == "cycle"
  }
  best = min(errors, key=errors.get)
  kept = {int(path.name) for path in (finished / "checkpoints").iterdir()}
  assert {28, 30, best} <= kept and len(kept) <= 3
  assert report["step"] == best


def test_stage_flow_moves_only_the_flow_head(config, finished, tmp_path):
  """After a stage, what it does not train is the same, bit for bit."""
  del finished
  with config.copy_and_resolve_references().unlocked() as short:
    short.stages.cycle.steps = 0
  with config.copy_and_resolve_references().unlocked() as shorter:
    shorter.stages.cycle.steps = shorter.stages.flow.steps = 0
  states = []
  for i, each in enumerate((shorter, short)):
    if i:
      shutil.copytree(tmp_path / "0", tmp_path / "1")
    train.train_and_evaluate(each, tmp_path / str(i), mode="train")
    states.append(final_state(each, tmp_path / str(i)))
  for name, before in states[0].params.items():
    same = jax.tree.map(np.array_equal, before, states[1].params[name])
    if name == "flow":
      assert not any(jax.tree.leaves(same))
    else:
      assert all(jax.tree.leaves(same)), name


@pytest.mark.parametrize("step", [7, 23])
def test_an_interrupted_run_ends_as_if_it_had_not_been(
  config, finished, tmp_path, monkeypatch, step
):
  """SIGTERM saves; the next start gives the same parameters and metrics."""
  calls = []

  def interrupting(batch, **kwargs):
    if len(batch["image"]) == config.batch_size:  # Not an evaluation.
      calls.append(None)
    if len(calls) == step:
      os.kill(os.getpid(), signal.SIGTERM)
    return shard(batch, **kwargs)

  shard = parallel.shard
  monkeypatch.setattr(parallel, "shard", interrupting)
  workdir = tmp_path / "work"
  assert train.train_and_evaluate(config, workdir, mode="train") is None
  with Checkpoints(workdir) as checkpoints:
    assert checkpoints.latest == step
  monkeypatch.undo()
  train.train_and_evaluate(config, workdir, mode="train")
  assert_same_run(config, finished, workdir)


def test_a_finished_run_trains_no_further(config, finished, tmp_path):
  """Starting it again evaluates again and changes nothing else."""
  again = tmp_path / "work"
  shutil.copytree(finished, again)
  report = train.train_and_evaluate(config, again)
  assert report == json.loads((finished / "eval/synthetic.json").read_text())
  assert_same_run(config, finished, again)


def test_another_config_is_refused(config, finished):
  """A changed key is named; evaluation keys may change."""
  changed = config.copy_and_resolve_references()
  changed.model.k = 7
  with pytest.raises(UserError, match="config.model.k=10, not 7"):
    train.train_and_evaluate(changed, finished)
  changed = config.copy_and_resolve_references()
  changed.eval.perturb = True
  report = train.train_and_evaluate(changed, finished, mode="eval")
  assert report["perturbed"]["error"]["intercept"] > 0


def test_nan_stops_the_run(config, tmp_path):
  """A rate that blows up is reported with its term; checkpoints stay good."""
  wild = config.copy_and_resolve_references()
  wild.stages.cycle.learning_rate = 1e30
  with pytest.raises(metrics.Diverged, match="at step 2[0-9] of stage cycle"):
    train.train_and_evaluate(wild, tmp_path / "work", mode="train")
  state = final_state(wild, tmp_path / "work")
  assert int(state.step) == 20
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(state.params))


def test_eval_needs_checkpoints(config, tmp_path):
  """Evaluating an empty folder is a mistake, and makes no folder."""
  with pytest.raises(UserError, match="no checkpoints"):
    train.train_and_evaluate(config, tmp_path / "none", mode="eval")
  assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
  ("cell", "terms"),
  [
    ("cycle=1,flow=1", {"cycle", "inv", "equiv"}),
    ("cycle=1,flow=0", {"cycle", "inv"}),
    ("cycle=0,flow=1", {"pairs", "equiv"}),
    ("cycle=0,flow=0", {"pairs"}),
  ],
)
def test_cells_of_the_ablation(cell, terms):
  """A cell of Table 2 is a set of weights of the last stage, and no more."""
  given = synthetic.get_config(f"test,{cell}")
  stage = build.stages(given, 64)[-1]
  assert {name for name, weight in stage.weights.items() if weight} == terms
  paper = synthetic.get_config("test").to_dict()
  given = given.to_dict()
  del paper["stages"]["cycle"]["weights"], given["stages"]["cycle"]["weights"]
  assert given == paper
