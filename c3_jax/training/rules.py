"""Rules of the values of a config: one table, a rule for each key.

A value that breaks its rule would fail after hours, or silently train nothing.
What depends on several keys, on the data or on the networks is checked by
`validate` and by who uses it.
"""

import contextlib
import math
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from ml_collections.config_dict import RequiredValueError

from c3_jax import settings
from c3_jax.errors import UserError
from c3_jax.models import vgg
from c3_jax.runtime import parallel
from c3_jax.training import augment

LONGEST = 60  # Characters of a value in a message.
DTYPES = ("float32", "bfloat16", "float64")
NORMS = ("batch", "frozen", "group")


class Rule(NamedTuple):
  """What a value may be: in words, and as a function value -> bool."""

  words: str
  holds: Callable


def whole(low=0, high=2**31 - 1):
  """Makes the rule of a whole number from low to high."""
  words = f"a whole number from {low} to {high}"
  if high == 2**31 - 1:
    words = f"a whole number, {low} or more"

  def holds(value):
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return is_whole and low <= value <= high

  return Rule(words, holds)


def number(low=0.0, high=1e6):
  """Makes the rule of a finite number from low to high."""

  def holds(value):
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and low <= value <= high

  return Rule(f"a number from {low:g} to {high:g}", holds)


def one_of(*values):
  """Makes the rule of one of some texts."""
  return Rule(
    f"one of {', '.join(values)}",
    lambda value: isinstance(value, str) and value in values,
  )


def several(rule, *, least=1, most=100):
  """Makes the rule of a list, or tuple, of values of a rule."""

  def holds(value):
    return (
      isinstance(value, list | tuple)
      and least <= len(value) <= most
      and all(map(rule.holds, value))
    )

  return Rule(f"a tuple of {least} to {most}, each {rule.words}", holds)


def text(most=4096):
  """Makes the rule of a text without control characters, "" included."""
  return Rule(
    f"a text of at most {most} printed characters",
    lambda value: (
      isinstance(value, str) and len(value) <= most and value.isprintable()
    ),
  )


def _path(value):
  # Names of files may be bytes that are not UTF-8: lone surrogates.
  return isinstance(value, str) and "\0" not in value and len(value) <= 4096


def _normaliser(value):
  if isinstance(value, list | tuple) and len(value) == 1:
    (value,) = value  # Of --config.eval.normaliser=image.
  if isinstance(value, str):
    return value in ("box", "image")
  return _POINTS.holds(value) and value[0] != value[1]


_POINTS = several(whole(), least=2, most=2)
_POSITIVE = 1e-6  # Float32 divides by it and by its square.
SEED = whole(0, 2**32 - 1)  # JAX would take larger ones modulo 2**32.
TRUTH = Rule("True or False", lambda value: isinstance(value, bool))
PATH = Rule("a path, or empty", _path)
COUNT, SIDE = whole(1, 10**6), whole(1, 8192)
CHANNELS = whole(1, 2**15)
STD = number(0, 10)
TAPS = ("input",) + tuple(
  f"conv{block}_{i}"
  for block, count in enumerate(vgg.CONVOLUTIONS["vgg19"], start=1)
  for i in range(1, count + 1)
)

# Pattern of keys -> rule; the first that fits counts.
RULES = {
  "seed": SEED,
  "*.seed": SEED,
  "batch_size": COUNT,
  "accumulate": COUNT,
  "parallel": one_of(*parallel.KINDS),
  "log_every": whole(1),
  "checkpoint_every": whole(1),
  "accept_changes": text(),
  "init.workdir": PATH,
  "init.step": whole(),
  # Names of datasets and of their parts are checked by who reads them.
  "data.image_size": SIDE,
  "data.load_size": SIDE,
  "data.n_*": whole(0, 10**9),
  "data.example": whole(0, 10**5),
  "data.every": whole(1),
  "data.limit": whole(),
  "data.*root": PATH,
  "data.tfds_dir": PATH,
  "data.landmarks": PATH,
  "data.packed.*": PATH,
  "data.*": text(100),
  "weights.*": PATH,
  "model.k": whole(1, 4096),
  "model.dtype": one_of(*DTYPES),
  "model.backbone.stage_sizes": several(whole(0, 1000), least=4, most=4),
  "model.backbone.widths": several(CHANNELS, least=4, most=4),
  "model.backbone.width": CHANNELS,
  "model.backbone.stem": one_of("imagenet", "small"),
  "model.backbone.output_stride": whole(2, 64),
  "model.backbone.norm": one_of("auto", *NORMS),
  "model.flow_pool": whole(1, 64),
  "model.flow.channels": several(CHANNELS),
  "model.flow.kernel": Rule(
    "an odd number from 1 to 31",
    lambda value: whole(1, 31).holds(value) and value % 2 == 1,
  ),
  "model.pose.sigma": number(0.01, 1000),
  "model.pose.temperature": number(1e-3, 1e3),
  "model.pose.gain": number(0, 1e3),
  "model.*.norm": one_of("none", *NORMS),
  "model.*.init_std": STD,
  "model.*features": CHANNELS,
  "model.*channels": CHANNELS,
  "perceptual.arch": one_of(*vgg.CONVOLUTIONS),
  "perceptual.taps": several(one_of(*TAPS)),
  "perceptual.width": number(1 / 64, 64),
  "perceptual.reduce": whole(1, 64),
  "average": number(0, 1 - 1e-6),
  "perceptual.decay": number(0, 1),
  "objective.*_temperature": number(1e-4, 1e4),
  "objective.flow_reach": whole(0, 8192),
  "objective.flow_smooth": Rule(
    "0, or a number from 0.1 to 8192",
    lambda value: number(0.1, 8192).holds(value) or number(0, 0).holds(value),
  ),
  "objective.flow_check": number(0, 8192),
  "objective.apart": number(_POSITIVE, 4),
  "augment.control_points": whole(2, 100),
  "augment.recolour": STD,
  "augment.mask": one_of(*augment.MASKS),
  "augment.mask_margin": number(_POSITIVE, 2),
  "augment.*.rotation": number(0, 180),
  "augment.*.*": STD,
  "stages.*.steps": whole(0, 10**9),
  "stages.*.epochs": number(0, 1e6),
  "stages.*.learning_rate": number(0, 100),
  "stages.*.drops": several(number(_POSITIVE, 1 - 1e-6), least=0),
  "stages.*.warmup": whole(),
  "stages.*.train": several(text(200)),
  "stages.*.weights.*": number(),
  "optimizer.weight_decay": number(0, 100),
  "eval.batch_size": COUNT,
  "eval.step": whole(-1),
  "eval.name": Rule(
    "the name of a file of at most 100 characters, without its folder",
    lambda value: text(100).holds(value) and "/" not in value,
  ),
  "eval.normaliser": Rule(
    'two different indices of points, "box" or "image"', _normaliser
  ),
  "eval.ridge": number(),
  "eval.few_shot": several(whole(1), least=0),
  "eval.repeats": whole(1, 10**4),
  "eval.diagnostics.images": whole(0, 10**6),
  "eval.diagnostics.*": number(0, 2),
  "eval.perturbation.rotation": number(0, 180),
  "eval.perturbation.scale": number(0, 0.99),
  "eval.perturbation.shift": number(0, 1),
}


def rule_of(key, default=None):
  """Finds the rule of a key; that of a switch is known by its default."""
  if isinstance(default, bool):
    return TRUTH
  for pattern, rule in RULES.items():
    if fnmatchcase(key, pattern):
      return rule
  return None


def check(config):
  """Checks that a config has the keys of every config, and each a good value.

  Raises:
    UserError: names the key and what to set it to.
  """
  expected = _flat(settings.paper(k=1, cycle=False, flow=False))
  found = _flat(config)
  for key in sorted(expected.keys() - found.keys()):
    raise UserError(
      f"config.{key} is missing: begin with a config that has all keys, as "
      "configs/folder.py does."
    )
  for key in sorted(found.keys() - expected.keys()):
    raise UserError(
      f"config.{key} is no key: see c3_jax/settings/base.py for what there is."
    )
  for key, value in found.items():
    rule = rule_of(key, expected[key])
    if rule is None or not rule.holds(value):
      words = rule.words if rule else "its default"
      raise UserError(f"config.{key}={_shown(value)}: use {words}.")


def _flat(config, prefix=""):
  """Flattens a config to "a.b" -> value, empty groups among them."""
  result = {}
  for name in config:
    key, value = f"{prefix}{name}", None
    # A required value that was not given is none.
    with contextlib.suppress(RequiredValueError):
      value = config[name]
    if isinstance(value, Mapping) or hasattr(value, "to_dict"):
      result |= _flat(value, f"{key}.") or {key: value}
    else:
      result[key] = value
  return result


def _shown(value):
  words = repr(value)
  return words if len(words) <= LONGEST else f"{words[:LONGEST]}.."
