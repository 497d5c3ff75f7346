"""config.json of runs of other versions."""

import json

import pytest

from c3_jax.data import frame_of
from c3_jax.runs import load_config, write_config
from configs import celeba, synthetic


def _write(folder, config, *without):
  """Writes config.json without dotted keys, as an older version did."""
  write_config(config, folder)
  path = folder / "config.json"
  stored = json.loads(path.read_text())
  for key in without:
    *rooms, last = key.split(".")
    part = stored
    for room in rooms:
      part = part[room]
    del part[last]
  path.write_text(json.dumps(stored))
  return load_config(folder)


def test_keys_that_are_missing_have_the_default(tmp_path):
  """A key that came later has the value that means "as before"."""
  keys = ("objective.flow_reach", "stages.pairs.weights.match", "accumulate")
  config = _write(tmp_path, synthetic.get_config("test"), *keys)
  assert config.objective.flow_reach == 0
  assert config.stages.pairs.weights.match == 0
  assert config.accumulate == 1
  assert config.data.image_size == 16  # What is given stays.


@pytest.mark.parametrize("older", [True, False])
def test_aflw_before_protocols_is_seen_as_its_keys_say(tmp_path, older):
  """Without the key, crop and load_size count; today's default is IMM's."""
  config = celeba.get_config("aflw").unlock()
  config.data.update({"crop": "square", "load_size": 160, "protocol": ""})
  found = _write(tmp_path, config, *(["data.protocol"] if older else []))
  seen = (128, 160, "square") if older else (128, 128, "imm")
  assert frame_of(found) == seen
