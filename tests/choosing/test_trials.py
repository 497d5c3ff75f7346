"""Trials: short runs of several K."""

import json
import sys

import pytest
from absl import flags

from c3_jax.choosing import choose_k, trials
from c3_jax.errors import UserError
from c3_jax.runs import flat
from configs import pf_pascal, synthetic


def test_a_trial_is_the_config_with_another_k_and_length():
  """Stage pairs shortened, the others left out, nothing else touched."""
  config = synthetic.get_config("stages=pairs+flow+cycle")
  trial = trials.shortened(config, 7, 0.1)
  before, now = flat(config), flat(trial)
  assert {key: now[key] for key in now if now[key] != before[key]} == {
    "model.k": 7,
    "stages.pairs.steps": 400,
    "stages.flow.steps": 0,
    "stages.cycle.steps": 0,
  }
  assert config.model.k == 10


@pytest.mark.parametrize(
  ("k", "share", "words"),
  [(1, 0.5, "--ks=1"), (5, 0, "share"), (5, 2, "share")],
)
def test_what_makes_no_sense_is_refused(k, share, words):
  """A single landmark, no training, more than all."""
  with pytest.raises(UserError, match=words):
    trials.shortened(synthetic.get_config(), k, share)


def test_without_landmarks_there_is_nothing_to_choose():
  """A config that trains the flow alone."""
  with pytest.raises(UserError, match="no stage"):
    trials.shortened(pf_pascal.get_config(), 5, 0.5)


@pytest.mark.slow
def test_finished_trials_are_kept(tmp_path, monkeypatch, capsys):
  """The same command trains nothing twice; another config trains again."""
  trained = []
  real = trials.run

  def run(config, workdir):
    trained.append(config.model.k)
    return real(config, workdir)

  monkeypatch.setattr(trials, "run", run)
  config = synthetic.get_config("test").unlock()
  values = flags.FlagValues()
  monkeypatch.setattr(flags, "FLAGS", values)
  flags.DEFINE_list("ks", ["2", "3"], "", flag_values=values)
  flags.DEFINE_float("share", 0.2, "", flag_values=values)
  flags.DEFINE_string("workdir", str(tmp_path / "ck"), "", flag_values=values)
  flags.DEFINE_string("config", "", "", flag_values=values)
  values(sys.argv[:1])
  values["config"].value = config
  choose_k.program()
  choose_k.program()
  assert trained == [2, 3]
  found = json.loads((tmp_path / "ck" / "choose_k.json").read_text())
  assert [each["k"] for each in found["trials"]] == [2, 3]
  assert found["recommended"] in (2, 3)
  for k in (2, 3):
    assert (tmp_path / "ck" / f"k{k}" / "report.html").is_file()
  assert (tmp_path / "ck" / "choose_k.png").is_file()
  assert "Recommended: K = " in capsys.readouterr().out
