"""Runs of older versions go on, and lend their networks."""

import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from c3_jax import settings
from c3_jax.data import fake
from c3_jax.errors import UserError
from c3_jax.models import initial
from c3_jax.runs import Checkpoints, write_config
from c3_jax.training import resume
from c3_jax.training.experiment import Experiment
from c3_jax.training.state import enter, state_at_0
from configs import folder, synthetic


def test_a_shared_running_mean_starts_both_terms(tmp_path):
  """Checkpoints once had running/TAP; each term now goes on with that mean."""
  config = synthetic.get_config("test")
  run = Experiment.of(config, tmp_path)
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
    lambda x: rng.uniform(size=x.shape).astype(x.dtype),
    initial.shapes(config, run.model),
  )
  state = enter(state_at_0(config, variables), run.stages[0])
  shared = {tap: np.float32(i) for i, tap in enumerate(config.perceptual.taps)}
  write_config(config, tmp_path)
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(
      state.replace(step=np.int32(4), running=shared),
      n_train=len(run.splits.train),
    )
    resume.check(run, checkpoints)
    gone_on = resume.newest(run, checkpoints).state
  assert gone_on.step == 4
  other = config.copy_and_resolve_references().unlock()
  other.init.workdir = str(tmp_path)
  started = resume.first_state(Experiment.of(other, tmp_path / "other"))
  assert started.step == 0
  for found in (gone_on, started):
    assert found.running == {"pairs": shared, "cycle": shared}
    jax.tree.map(np.testing.assert_array_equal, found.variables, variables)


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory):
  """(root, workdir) of a run on a folder, saved at step 4."""
  root, workdir = (tmp_path_factory.mktemp(name) for name in ("images", "run"))
  fake.write_folder(root, train=8, test=4)
  run = experiment_on(root, workdir)
  with Checkpoints(workdir) as checkpoints:
    state = resume.newest(run, checkpoints).state
    identity = resume.identity(run.splits.train)
    checkpoints.save(state.replace(step=np.int32(4)), **identity)
  write_config(run.config, workdir)
  return root, workdir


def experiment_on(root, workdir, **changes):
  """The experiment of a small run on the images of a folder."""
  config = folder.get_config("test").unlock()
  changes = {name.replace("__", "."): x for name, x in changes.items()}
  config.update_from_flattened_dict({"data.root": str(root)} | changes)
  return Experiment.of(config, pathlib.Path(workdir))


def check(run):
  """Runs `resume.check` on the checkpoints of a run."""
  with Checkpoints(run.workdir) as checkpoints:
    resume.check(run, checkpoints)


def test_images_may_move_and_be_read_otherwise(folder_run, tmp_path):
  """The same images in another folder, not kept in memory, are the same."""
  root, workdir = folder_run
  moved = shutil.copytree(root, tmp_path / "moved")
  check(experiment_on(f"{root}/", workdir))
  check(experiment_on(moved, workdir, data__cache=False))


def without(config, defaults):
  """Nested dicts less what is the same in others; `k` and `name` stay."""
  return {
    key: without(value, defaults[key]) if isinstance(value, dict) else value
    for key, value in config.items()
    if isinstance(value, dict) or value != defaults[key]
  }


def test_a_run_goes_on_without_the_keys_that_came_later(folder_run, tmp_path):
  """A key that its config.json lacks has the default: "as before".

  So it is with `parallel`, and with every other key that its version may not
  have had; the state, and what a later change is held against, are the same.
  """
  root, workdir = folder_run
  older = shutil.copytree(workdir, tmp_path / "older")
  paper = json.loads(settings.paper(k=1, cycle=True, flow=True).to_json())
  stored = json.loads((older / "config.json").read_text())
  kept = without(stored, paper)
  assert "parallel" not in kept and "perceptual" in kept
  (older / "config.json").write_text(json.dumps(kept))
  check(experiment_on(root, older, parallel="shard_map"))
  with pytest.raises(UserError, match=r"perceptual\.decay=0\.99, not 0\.5"):
    check(experiment_on(root, older, perceptual__decay=0.5))
  run = experiment_on(root, older)
  with Checkpoints(older) as checkpoints:
    assert resume.newest(run, checkpoints).state.step == 4


def rename(image):
  """Gives an image file another name."""
  image.rename(image.with_name(f"0{image.name}"))


def enlarge(image):
  """Gives an image file another content."""
  Image.new("RGB", (70, 80)).save(image)


@pytest.mark.parametrize("change", [rename, enlarge])
def test_other_images_are_refused_unless_accepted(folder_run, tmp_path, change):
  """As many images of other names, or other sizes, are not those of the run."""
  root, workdir = folder_run
  other = shutil.copytree(root, tmp_path / "other")
  run = experiment_on(other, workdir)
  change(other / "images" / run.splits.train.names[0])
  if change is rename:
    (other / "landmarks.csv").unlink()
    # Also out of the number of training images.
    for name in experiment_on(root, workdir).splits.test.names:
      (other / "images" / name).unlink()
  with pytest.raises(UserError, match=r"other names .*accept_changes=data\."):
    check(experiment_on(other, workdir))
  check(experiment_on(other, workdir, accept_changes="data"))


@pytest.mark.slow
def test_a_checkpoint_without_digests_is_compared_by_place(
  folder_run, tmp_path
):
  """Runs of older versions go on where their images lie, however spelt."""
  root, workdir = folder_run
  workdir = shutil.copytree(workdir, tmp_path / "old")
  run = experiment_on(root, workdir)
  with Checkpoints(workdir) as checkpoints:
    state = resume.newest(run, checkpoints).state
    checkpoints.save(
      state.replace(step=np.int32(6)), n_train=len(run.splits.train)
    )
  check(experiment_on(f"{root}/../{root.name}", workdir))
  moved = shutil.copytree(root, tmp_path / "moved")
  with pytest.raises(UserError, match="accept_changes=data.root"):
    check(experiment_on(moved, workdir))
