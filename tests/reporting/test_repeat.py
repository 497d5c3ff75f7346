"""The command that repeats a run."""

import json
import shlex

import pytest
from absl import flags
from ml_collections import config_flags

from c3_jax.reporting import repeat
from c3_jax.settings import find


@pytest.fixture
def parsed(monkeypatch):
  """Parses a command as a shell and the flags of training do: flat config."""

  def parse(words):
    given, *rest = shlex.split(" ".join(words))[4:]
    # Where ml_collections looks for the keys.
    monkeypatch.setattr("sys.argv", ["train", *rest])
    return _parse(given, rest)

  return parse


def _parse(given, rest):
  config = find.load(given.removeprefix("--config="))
  values = flags.FlagValues()
  config_flags.DEFINE_config_dict("config", config, flag_values=values)
  flags.DEFINE_string("workdir", "", "", flag_values=values)
  values(["train", *rest])
  return repeat.flatten(config), values.workdir


@pytest.mark.parametrize(
  ("name", "changes"),
  [
    ("synthetic", {}),
    ("synthetic:k=7,flow=0", {"seed": 3}),
    (
      "folder:cpu,k=20",
      {
        "data.root": "my 'own' images; rm",
        "data.cache": False,
        "augment.source.rotation": 12.5,
        "stages.pairs.drops": (0.5, 0.75),
        "stages.flow.drops": (0.5,),
        "stages.cycle.train": ("pose",),
        "perceptual.taps": ("input", "conv1_2"),
      },
    ),
    ("celeba:k=30,cycle=0,flow=0", {"data.root": "$HOME/celeba"}),
    ("pf_pascal", {"eval.perturb": True}),
  ],
)
def test_the_command_makes_the_config_again(parsed, name, changes):
  """Through a shell and the parser of the flags, whatever was changed."""
  config = find.load(name).unlock()
  config.update_from_flattened_dict(changes)
  stored = json.loads(config.to_json())
  words = repeat.command(stored, "runs/a b")
  found, workdir = parsed(words)
  assert found == repeat.flatten(stored)
  assert workdir == "runs/a b"
  assert len(words) == 3 + len(changes)


def test_the_shortest_name_is_taken():
  """Arguments that are defaults are not spelled out."""
  stored = json.loads(find.load("synthetic:k=10,cycle=1").to_json())
  assert repeat.command(stored, "r")[1] == "--config=synthetic"
