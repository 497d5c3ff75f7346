"""The rules of a config's values: none without, and what they refuse."""

import math
from fnmatch import fnmatchcase

import jax
import ml_collections
import pytest
from ml_collections import config_dict

from c3_jax import settings
from c3_jax.errors import UserError
from c3_jax.models import vgg
from c3_jax.runs import flat
from c3_jax.runtime import paths
from c3_jax.training import rules, validate
from configs import synthetic

PAPER = flat(settings.paper(k=1, cycle=True, flow=True))
# No key takes one of these.
NOWHERE = (
  *(math.nan, math.inf, -math.inf, 10**30, -7, -0.5, 1e30, None),
  *(b"x", "\0", {"a": 1}, object(), [[]], ["x", 1], [math.nan], lambda: 1),
)


def changed(key, value):
  """The test configuration with one key of any value."""
  config = synthetic.get_config("test").unlock()
  *groups, last = key.split(".")
  group = config
  for name in groups:
    group = group[name]
  with group.ignore_type():
    group[last] = value
  return config


def test_every_key_has_a_rule_that_its_default_keeps():
  """A key without a rule gets one in `rules.RULES`."""
  for key, value in PAPER.items():
    rule = rules.rule_of(key, value)
    assert rule is not None, f"add a rule of {key} to c3_jax/training/rules.py"
    assert rule.holds(value), key


def test_every_rule_is_of_a_key():
  """No pattern is left over, or hidden behind an earlier one."""
  used = {
    next(pattern for pattern in rules.RULES if fnmatchcase(key, pattern))
    for key, value in PAPER.items()
    if not isinstance(value, bool)
  }
  assert used == set(rules.RULES)


def test_values_without_sense_are_refused():
  """Numbers that are not finite or huge, and other kinds, break every rule."""
  for key, value in PAPER.items():
    rule = rules.rule_of(key, value)
    for wrong in (*NOWHERE, 3.5 + 1j, b"", not isinstance(value, bool)):
      if isinstance(value, bool) and isinstance(wrong, bool):
        continue
      assert not rule.holds(wrong), (key, wrong)
    if not isinstance(value, str | list):
      assert not rule.holds("1"), key


@pytest.mark.parametrize(
  ("key", "value"),
  [
    ("model.pose.sigma", 0.0),
    ("model.backbone.widths", (64, 128)),
    ("model.flow.kernel", 4),
    ("perceptual.decay", 2.0),
    ("perceptual.taps", ("input", "conv2_9")),
    ("perceptual.taps", ()),
    ("objective.flow_temperature", 0.0),
    ("objective.flow_smooth", 0.01),
    ("augment.mask_margin", 0.0),
    ("augment.target.rotation", math.nan),
    ("stages.cycle.drops", (0.5, 1.0)),
    ("stages.pairs.weights.pairs", -1.0),
    ("stages.pairs.train", ()),
    ("eval.batch_size", 0),
    ("eval.normaliser", (1, 1)),
    ("eval.normaliser", "eyes"),
    ("eval.name", "a/b"),
    ("eval.name", "x" * 300),
    ("eval.perturbation.scale", 1.0),
    ("seed", 2**32),
    ("seed", True),
    ("optimizer.weight_decay", math.inf),
    ("log_every", [1] * 1000),
  ],
)
def test_a_refusal_is_one_line_that_names_the_key(key, value):
  """It says what to use, and does not print a long value."""
  with pytest.raises(UserError) as error:
    validate.validate(changed(key, value))
  assert str(error.value).startswith(f"config.{key}=")
  assert ": use " in str(error.value)
  assert "\n" not in str(error.value)
  assert len(str(error.value)) < 500


def test_what_a_config_file_left_open_is_named():
  """A required value that was not given, and a group that is none."""
  for key, value in (
    ("data.root", config_dict.required_placeholder(str)),
    ("model.k", config_dict.required_placeholder(int)),
    ("data", 3),
  ):
    config = changed(key, value)
    paths.expand(config)
    with pytest.raises(UserError, match=rf"config\.{key}"):
      validate.validate(config)


def test_keys_are_those_of_every_config():
  """A key that is misspelt in a config file is named, as is one left out."""
  config = synthetic.get_config("test").unlock()
  config.model.pose.sigmma = 1.0
  with pytest.raises(UserError, match="config.model.pose.sigmma is no key"):
    validate.validate(config)
  config = synthetic.get_config("test").unlock()
  del config.stages.flow
  with pytest.raises(UserError, match=r"config.stages.flow.\w+ is missing"):
    validate.validate(config)
  with pytest.raises(UserError, match="is missing"):
    validate.validate(ml_collections.ConfigDict())


def test_every_tap_is_a_layer():
  """The largest VGG has the layers that the rules know, and no others."""
  network = vgg.VGG("vgg19", rules.TAPS, width=1 / 64)
  images = jax.ShapeDtypeStruct((1, 16, 16, 3), "float32")
  variables = jax.eval_shape(network.init, jax.random.key(0), images)
  assert {"input", *variables["params"]} == set(rules.TAPS)


def test_seeds_are_told_apart():
  """JAX takes a seed beyond the rule for a smaller one, and none within it."""
  highest = jax.random.key_data(jax.random.key(2**32 - 1))
  beyond = jax.random.key_data(jax.random.key(2**32))
  lowest = jax.random.key_data(jax.random.key(0))
  assert (highest != lowest).any()
  assert (beyond == lowest).all()
