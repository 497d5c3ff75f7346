"""Tests of the loop: whole runs of the test configuration, and their ends."""

import dataclasses
import json
import os
import shutil
import signal
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from c3_jax import geometry
from c3_jax.data import in_memory
from c3_jax.data.load import Splits, load_splits
from c3_jax.errors import UserError
from c3_jax.evaluation import diagnostics
from c3_jax.models import initial
from c3_jax.runs import load_trained, log
from c3_jax.runs.checkpoints import Checkpoints
from c3_jax.runtime import parallel
from c3_jax.training import experiment, loop, resume
from c3_jax.training.experiment import Experiment
from configs import synthetic

TERMS = {
  "pairs": {"pairs", "warp", "apart"},
  "flow": {"flow"},
  "cycle": {"pairs", "cycle", "warp", "apart", "inv", "equiv"},
}
END = 30  # Three stages of ten steps.
SAVED = [4, 8, 10, 12, 16, 20, 24, 28, 30]


def get_config(**changes):
  """The test configuration with dotted keys changed, __ for a dot."""
  config = synthetic.get_config("test").unlock()
  config.average = 0.9
  config.update_from_flattened_dict(
    {key.replace("__", "."): value for key, value in changes.items()}
  )
  return config


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  """(workdir, report) of an undisturbed run."""
  workdir = tmp_path_factory.mktemp("straight") / "a" / "b"
  report = loop.train_and_evaluate(get_config(), workdir)
  return workdir, report


@pytest.fixture
def copy(straight, tmp_path):
  """A copy of the undisturbed run's workdir."""
  return shutil.copytree(straight[0], tmp_path / "copy")


def records(workdir):
  """Lines of metrics.jsonl, without what depends on the clock."""
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  rows = [json.loads(line) for line in lines]
  for row in rows:
    del row["images_per_second"]
  return rows


def kept(workdir):
  """Steps of the checkpoints."""
  return sorted(int(p.name) for p in (workdir / "checkpoints").iterdir())


def state_of(workdir, step=None):
  """(step, state) of a checkpoint, by default of the newest."""
  run = Experiment.of(get_config(), workdir)
  with Checkpoints(workdir) as checkpoints:
    step = checkpoints.latest if step is None else step
    return step, resume.restore(run, checkpoints, step)


def assert_same_run(a, b):
  """Two workdirs agree bit by bit in metrics, checkpoints and last state."""
  assert records(a) == records(b)
  assert kept(a) == kept(b)
  jax.tree.map(np.testing.assert_array_equal, state_of(a), state_of(b))


def test_metrics_of_a_run(straight):
  """Each logged step has one line with the terms of its stage, all finite."""
  rows = records(straight[0])
  # Every second step, every checkpoint, and the first step of a stage.
  expected = sorted({*range(2, END + 1, 2), *SAVED, 1, 11, 21})
  assert [row["step"] for row in rows] == expected
  taps = get_config().perceptual.taps
  for row in rows:
    stage = ("pairs", "flow", "cycle")[(row["step"] - 1) // 10]
    assert row["stage"] == stage
    names = TERMS[stage] | {"loss", "gradient_norm", "learning_rate"}
    names |= {
      f"raw_{term}_{tap}"
      for term in ("pairs", "cycle")
      if term in TERMS[stage]
      for tap in taps
    }
    if row["step"] in SAVED:
      names |= {"held_out_error"}
      names |= {f"landmarks_{kind}" for kind in diagnostics.ADVICE}
    assert row.keys() == names | {"step", "stage"}
    assert all(np.isfinite(row[name]) for name in names)
  raw = (straight[0] / "metrics.jsonl").read_text().splitlines()
  speed = [json.loads(line)["images_per_second"] for line in raw]
  # The first reading of a stage would only time its compilation.
  assert [s > 0 for s in speed] == [row["step"] % 10 != 1 for row in rows]


def test_newest_and_best_checkpoints_are_kept(straight):
  """Left are the last two and the best of the last stage, which is reported."""
  workdir, report = straight
  errors = {
    row["step"]: row["held_out_error"]
    for row in records(workdir)
    if row["stage"] == "cycle" and row["step"] in SAVED
  }
  best = min(errors, key=errors.get)
  assert kept(workdir) == sorted({28, 30, best})
  assert report["step"] == best


@pytest.mark.slow
def test_report_can_be_computed_from_the_checkpoint(straight):
  """The errors follow from the best checkpoint and the regressors on file."""
  workdir, report = straight
  assert json.loads((workdir / "eval" / "synthetic.json").read_text()) == report
  assert (report["dataset"], report["k"]) == ("synthetic", 10)
  assert (report["n_train"], report["n_test"]) == (60, 20)
  config = get_config()
  splits = load_splits(config)
  model, _ = initial.networks(config)
  _, state = state_of(workdir, report["step"])
  images = geometry.network_input(np.asarray(splits.test.images), 16)
  encode = jax.jit(lambda v, x: model.apply(v, x, method="encode").pose.points)
  found = np.asarray(encode(state.variables, jnp.asarray(images)), np.float64)
  points = 8 * (splits.test.points.astype(np.float64) + 1)
  eyes = np.linalg.norm(points[:, 0] - points[:, 1], axis=-1)

  def error(estimate):
    distance = np.linalg.norm(estimate - points, axis=-1)
    return 100 * np.mean(distance / eyes[:, None])

  for convention in ("no_intercept", "intercept"):
    value = report["error"][convention]
    regressor = report["regressor"][convention]
    weights, bias = np.array(regressor["weights"]), np.array(regressor["bias"])
    estimate = 8 * (found.reshape(20, 20) + 1) @ weights + bias
    np.testing.assert_allclose(
      error(estimate.reshape(20, 5, 2)), value, rtol=1e-3
    )
  mean_shape = 8 * (splits.fit.points.mean(0, dtype=np.float64) + 1)
  baseline = report["baseline"]
  assert baseline.keys() == {"mean_shape", "untrained"}
  np.testing.assert_allclose(error(mean_shape), baseline["mean_shape"])
  assert np.isfinite(baseline["untrained"])


def test_evaluation_and_prediction_take_the_average(straight):
  """`load_trained` gives the mean of the parameters, where one was kept."""
  workdir, report = straight
  _, state = state_of(workdir, report["step"])
  found = load_trained(workdir).variables
  jax.tree.map(np.testing.assert_array_equal, found, state.variables)
  jax.tree.map(np.testing.assert_array_equal, found["params"], state.average)
  first = jax.tree.leaves(state.params)[0]
  assert np.any(jax.tree.leaves(state.average)[0] != first)


def test_files_of_a_run(straight):
  """Config, figures and events are there, and nothing half-written."""
  workdir, _ = straight
  assert json.loads((workdir / "config.json").read_text()) == json.loads(
    get_config().to_json()
  )
  names = {path.stem for path in (workdir / "figures").glob("*.png")}
  assert names == {
    "landmarks",
    "swaps",
    "template",
    "transfer",
    "curves",
    "errors",
  }
  for path in (workdir / "figures").iterdir():
    with Image.open(path) as picture:
      assert min(picture.size) > 100
      assert np.ptp(np.asarray(picture.convert("L"))) > 100
  quality = json.loads((workdir / "quality" / "synthetic.json").read_text())
  assert (quality["n_train"], quality["images"]) == (64, 20)
  assert (workdir / "report.html").read_text().count("<img") == 5
  assert len(list(workdir.glob("events.out.tfevents.*"))) == 1
  assert not list(workdir.rglob("*.part"))


def interrupt(monkeypatch, step, act):
  """Calls `act` when the batch of a step is about to be trained on."""
  batches, shard = [], parallel.shard

  def counting(batch, **options):
    if batch.keys() == {"image"} and len(batch["image"]) == 8:
      batches.append(None)
      if len(batches) == step:
        act()
    return shard(batch, **options)

  monkeypatch.setattr(parallel, "shard", counting)


def poisoned(step):
  """A `parallel_step` whose parameters are NaN after the given step."""
  parallel_step = parallel.parallel_step

  def poison(function, **options):
    mapped = parallel_step(function, **options)

    def run(state, frozen, batch):
      state, values = mapped(state, frozen, batch)
      if int(state.step) == step:
        params = jax.tree.map(lambda x: x * np.nan, state.params)
        state = state.replace(params=params)
      return state, values

    return run

  return poison


@pytest.mark.slow
def test_unlucky_run_ends_as_if_nothing_had_been(
  straight, tmp_path, monkeypatch
):
  """Interrupted, killed and poisoned, a run ends bit by bit the same."""

  def start():
    return loop.train_and_evaluate(get_config(), tmp_path)

  def terminate():
    os.kill(os.getpid(), signal.SIGTERM)

  def die():
    raise MemoryError("as good as SIGKILL: nothing is saved")

  signals = (signal.SIGTERM, signal.SIGINT)
  handlers = [signal.getsignal(number) for number in signals]
  # SIGTERM between two lines of the log: the step at hand is saved.
  with monkeypatch.context() as patch:
    interrupt(patch, 7, terminate)
    assert start() is None
  assert kept(tmp_path) == [4, 7]
  assert [signal.getsignal(number) for number in signals] == handlers

  # Killed at step 15: steps 13 and 14 are lost, and half a line is left.
  with monkeypatch.context() as patch:
    interrupt(patch, 15 - 7, die)
    with pytest.raises(MemoryError):
      start()
  assert kept(tmp_path) == [10, 12]
  assert records(tmp_path)[-1]["step"] == 14
  with open(tmp_path / "metrics.jsonl", "a") as file:
    file.write('{"step": 14, "st')

  # SIGTERM at the end of a stage, and again at a checkpoint.
  for before, step in ((12, 20), (20, 24)):
    with monkeypatch.context() as patch:
      interrupt(patch, step - before, terminate)
      assert start() is None
    assert kept(tmp_path)[-1] == step

  # NaN: term, step and stage are named, and what is left loads.
  with monkeypatch.context() as patch:
    patch.setattr(parallel, "parallel_step", poisoned(26))
    with pytest.raises(log.Diverged) as error:
      start()
  words = str(error.value)
  # All terms are; the first of them is named.
  term, _, rest = words.partition(" ")
  assert term in TERMS["cycle"]
  assert rest.startswith("became nan at step 27 of stage cycle")
  assert "step 24" in words
  assert kept(tmp_path)[-1] == 24
  assert records(tmp_path)[-1]["step"] == 26
  assert all(
    np.isfinite(x).all() for x in jax.tree.leaves(state_of(tmp_path)[1])
  )
  assert not (tmp_path / "eval").exists()

  loop.train_and_evaluate(get_config(), tmp_path, mode="train")
  assert not (tmp_path / "eval").exists()
  assert_same_run(tmp_path, straight[0])


@pytest.mark.slow
def test_a_workdir_that_goes_ends_the_run(tmp_path, monkeypatch):
  """Removed while it trains: an error, not a success that left nothing."""
  workdir = tmp_path / "run"
  interrupt(monkeypatch, 3, lambda: shutil.rmtree(workdir))
  with pytest.raises(UserError, match="run was removed or replaced while"):
    loop.train_and_evaluate(get_config(), workdir)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_and_keeps_what_was_saved(
  straight, tmp_path, monkeypatch
):
  """One line names the checkpoint that stays; with more space it goes on."""
  usage = types.SimpleNamespace(free=1000)
  with monkeypatch.context() as patch:
    full = lambda: patch.setattr(shutil, "disk_usage", lambda _: usage)  # noqa: E731
    interrupt(patch, 7, full)
    with pytest.raises(UserError, match="8 cannot be saved .*that of step 4"):
      loop.train_and_evaluate(get_config(), tmp_path)
  assert kept(tmp_path) == [4]
  loop.train_and_evaluate(get_config(), tmp_path, mode="train")
  assert_same_run(tmp_path, straight[0])


@pytest.mark.slow
def test_divergence_before_any_checkpoint_says_so(tmp_path, monkeypatch):
  """Parameters that blow up at once leave no checkpoint to name."""
  monkeypatch.setattr(parallel, "parallel_step", poisoned(1))
  with pytest.raises(log.Diverged, match="stage pairs; .*no checkpoint"):
    loop.train_and_evaluate(get_config(), tmp_path)


@pytest.mark.slow
def test_finished_run_is_evaluated_again_and_not_trained(straight, copy):
  """Starting a finished run draws and measures again, and changes nothing.

  How it is watched may change.
  """
  shutil.rmtree(copy / "figures")
  (copy / "eval" / "synthetic.json").unlink()
  config = get_config(log_every=7, checkpoint_every=9)
  assert loop.train_and_evaluate(config, copy) == straight[1]
  assert_same_run(copy, straight[0])
  assert len(list(copy.glob("events.out.tfevents.*"))) == 1
  assert len(list((copy / "figures").iterdir())) == 6
  written = json.loads((copy / "eval" / "synthetic.json").read_text())
  assert written == straight[1]


@pytest.mark.slow
def test_without_annotations_there_are_figures_only(copy, monkeypatch):
  """A dataset without points gives no report, but shows what was learned."""
  monkeypatch.setattr(
    experiment,
    "load_splits",
    lambda config: Splits(load_splits(config).train, None, None),
  )
  shutil.rmtree(copy / "figures")
  shutil.rmtree(copy / "eval")
  assert loop.train_and_evaluate(get_config(), copy, mode="eval") is None
  assert not (copy / "eval").exists()
  assert (copy / "figures" / "landmarks.png").exists()
  assert "no annotated" in (copy / "report.html").read_text()


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("batch_size", 16),
    ("seed", 1),
    ("model.k", 7),
    ("stages.pairs.learning_rate", 0.5),
    ("data.n_train", 32),
    ("optimizer.weight_decay", 0.5),
  ],
)
def test_another_config_is_refused(straight, key, value):
  """The key that differs is named, with both values; the run stays as it is."""
  workdir, _ = straight
  before = (workdir / "config.json").read_bytes()
  config = get_config(**{key.replace(".", "__"): value})
  with pytest.raises(UserError, match=f"config.{key}=.*not {value}"):
    loop.train_and_evaluate(config, workdir)
  assert (workdir / "config.json").read_bytes() == before


@pytest.mark.slow
def test_all_changes_are_named_and_can_be_accepted(copy, caplog):
  """Every key that differs is in the line; told to, the run goes on."""
  changes = {"optimizer__weight_decay": 0.5, "perceptual__decay": 0.5}
  with pytest.raises(UserError) as error:
    loop.train_and_evaluate(get_config(**changes), copy, mode="train")
  words = str(error.value)
  assert "config.optimizer.weight_decay=0.0, not 0.5" in words
  assert "config.perceptual.decay=0.99, not 0.5" in words
  keys = "optimizer.weight_decay,perceptual.decay"
  assert f"--config.accept_changes={keys}." in words and "\n" not in words
  with pytest.raises(UserError, match="config.perceptual.decay=0.99, not 0.5"):
    loop.train_and_evaluate(
      get_config(**changes, accept_changes="optimizer"), copy
    )
  with pytest.raises(UserError, match="accept_changes=True is no key"):
    loop.train_and_evaluate(get_config(**changes, accept_changes="True"), copy)
  config = get_config(**changes, accept_changes=keys)
  loop.train_and_evaluate(config, copy, mode="train")
  assert "config.perceptual.decay=0.99, not 0.5" in caplog.text
  written = json.loads((copy / "config.json").read_text())
  assert written["optimizer"]["weight_decay"] == 0.5


@pytest.mark.slow
def test_a_key_that_a_run_did_not_have_had_its_default(copy):
  """A run of an older version goes on, unless a key now has another value."""
  path = copy / "config.json"
  config = json.loads(path.read_text())
  del config["data"]["category"], config["augment"]["mask_margin"]
  del config["init"]
  path.write_text(json.dumps(config))
  loop.train_and_evaluate(get_config(), copy, mode="train")
  path.write_text(json.dumps(config))
  with pytest.raises(UserError, match="category='car', not 'bedroom'"):
    loop.train_and_evaluate(get_config(data__category="bedroom"), copy)


def test_another_number_of_images_is_refused(copy, monkeypatch):
  """As when pictures were put into the folder of a run, or taken out."""

  def fewer(config):
    splits = load_splits(config)
    images = splits.train.images[:-1]
    return dataclasses.replace(splits, train=in_memory.ArrayDataset(images))

  monkeypatch.setattr(experiment, "load_splits", fewer)
  with pytest.raises(UserError, match="on 64 images .*not on 63"):
    loop.train_and_evaluate(get_config(), copy)


def damage(path):
  """Changes one bit in the middle of the largest file below a folder."""
  files = [file for file in path.rglob("*") if file.is_file()]
  largest = max(files, key=lambda file: file.stat().st_size)
  data = bytearray(largest.read_bytes())
  data[len(data) // 2] ^= 1
  largest.write_bytes(data)


@pytest.mark.slow
def test_damaged_newest_checkpoint(straight, copy, caplog):
  """It is named, the one before is used, and the run ends as it had."""
  damage(copy / "checkpoints" / "30")
  loop.train_and_evaluate(get_config(), copy, mode="train")
  assert "checkpoints/30 is damaged" in caplog.text
  assert [path.name for path in (copy / "damaged").iterdir()] == ["0_step30"]
  assert_same_run(copy, straight[0])
  for step in kept(copy):
    damage(copy / "checkpoints" / str(step))
  with pytest.raises(UserError, match="is damaged.*another --workdir"):
    loop.train_and_evaluate(get_config(), copy, mode="train")


@pytest.mark.slow
def test_any_stage_starts_from_any_checkpoint(straight, tmp_path):
  """`config.init` gives the networks and running means, not the optimiser."""
  workdir, report = straight
  changes = {
    "stages__pairs__steps": 0,
    "stages__cycle__steps": 2,
    "stages__flow__steps": 0,
    "init__workdir": str(workdir),
  }
  for step, source in ((0, report["step"]), (28, 28)):
    copy = tmp_path / str(step)
    config = get_config(**changes, init__step=step)
    loop.train_and_evaluate(config, copy, mode="train")
    _, given = state_of(workdir, source)
    with Checkpoints(copy) as checkpoints:
      assert checkpoints.steps == [0, 2]
      found = resume.restore(Experiment.of(config, copy), checkpoints, 0)
    assert int(found.step) == 0
    jax.tree.map(np.testing.assert_array_equal, found.average, found.params)
    for name in ("params", "batch_stats", "running"):
      jax.tree.map(
        np.testing.assert_array_equal,
        getattr(found, name),
        getattr(given, name),
      )
    assert not np.any(jax.tree.leaves(found.opt_state[1].mu)[0])


@pytest.mark.slow
def test_nothing_to_start_from(straight, tmp_path):
  """An `init` that is no run, or another model's, makes no folder."""
  for workdir in ("none", "empty"):
    (tmp_path / "empty").mkdir(exist_ok=True)
    config = get_config(init__workdir=str(tmp_path / workdir))
    with pytest.raises(UserError, match=f"config.init.workdir=.*{workdir}"):
      loop.train_and_evaluate(config, tmp_path / "work")
  for changes in ({"init__step": 29}, {"model__k": 3}):
    config = get_config(init__workdir=str(straight[0]), **changes)
    with pytest.raises(UserError, match=str(straight[0])):
      loop.train_and_evaluate(config, tmp_path / "work")
  assert not (tmp_path / "work").exists()


def test_nothing_to_evaluate(tmp_path):
  """Without a checkpoint, mode eval is a mistake, and makes no folder."""
  with pytest.raises(UserError, match="folder of a run that has checkpoints"):
    loop.train_and_evaluate(get_config(), tmp_path / "work", mode="eval")
  assert not (tmp_path / "work").exists()
  # As a run leaves it that was stopped before its first checkpoint.
  (tmp_path / "work" / "checkpoints").mkdir(parents=True)
  with pytest.raises(UserError, match="folder of a run that has checkpoints"):
    loop.train_and_evaluate(get_config(), tmp_path / "work", mode="eval")
  assert not (tmp_path / "work" / "eval").exists()
