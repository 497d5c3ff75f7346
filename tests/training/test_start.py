"""What holds the folder of a run, from its start to the end of evaluation."""

import shutil

import pytest

from c3_jax.errors import UserError
from c3_jax.training import loop
from c3_jax.training.experiment import Experiment


@pytest.fixture
def trained(tmp_path, monkeypatch):
  """The experiment of a run that has nothing left to train."""
  run = object.__new__(Experiment)
  object.__setattr__(run, "workdir", tmp_path / "run")
  (run.workdir / "checkpoints").mkdir(parents=True)
  monkeypatch.setattr(loop, "go_on", lambda *_: True)
  return run


def test_a_folder_that_goes_while_it_is_evaluated_is_named(trained):
  """Whatever the evaluation stumbles over: what it was about to write is lost.

  So it is where it makes the folder again, without the run.
  """
  with pytest.raises(UserError, match="run was removed or replaced while"):
    with loop.start(trained):
      shutil.rmtree(trained.workdir)
      (trained.workdir / "report.json").write_text("{}")
  (trained.workdir / "checkpoints").mkdir(parents=True)
  with pytest.raises(UserError, match="run was removed or replaced while"):
    with loop.start(trained):
      shutil.rmtree(trained.workdir)
      (trained.workdir / "eval").mkdir(parents=True)


def test_other_faults_of_an_evaluation_stay_what_they_are(trained):
  """The folder is there, and free again afterwards."""
  for _ in range(2):
    with pytest.raises(ValueError, match="another"), loop.start(trained) as end:
      assert end and (trained.workdir / "lock").exists()
      raise ValueError("another")
    assert not (trained.workdir / "lock").exists()
