"""Refusal of configs that would fail later, or silently do the wrong thing."""

import contextlib

import jax

from c3_jax.errors import UserError
from c3_jax.models import initial
from c3_jax.runtime import files
from c3_jax.training import optim, rules


def validate(config):
  """Checks the values of a config that need neither data nor networks.

  Raises:
    UserError: names the key and what to set it to.
  """
  rules.check(config)
  dtype = config.model.dtype
  if dtype == "float64" and not jax.config.jax_enable_x64:
    raise UserError(
      "config.model.dtype='float64' needs the environment variable "
      "JAX_ENABLE_X64=True: set it, or use float32."
    )
  devices = jax.device_count()
  # Pairs, and the neighbouring pair that gives the negatives.
  unit = devices * (4 if config.objective.natural_positives else 2)
  unit *= config.accumulate
  if config.batch_size % unit:
    parts = f" {config.accumulate} parts of" if config.accumulate > 1 else ""
    raise UserError(
      f"config.batch_size={config.batch_size} does not give each of {devices} "
      f"device(s){parts} whole pairs of images; use a multiple of {unit}."
    )
  margin = config.data.load_size - config.data.image_size
  if margin < 0 or margin % 2:
    raise UserError(
      f"config.data.load_size={config.data.load_size} is not "
      f"config.data.image_size={config.data.image_size} plus an even number "
      "of pixels, 0 or more: set it so."
    )


def check_shapes(config, setup, stages):
  """Traces the networks, so that what does not fit fails before a run starts.

  Raises:
    UserError: the networks cannot be built for this image size, or a stage
      trains a parameter that is not there.
  """
  with _naming("config.model"):
    variables = initial.shapes(config, setup.model)
  with _naming("config.perceptual"):
    initial.shapes(config, setup.vgg)
  for stage in stages:
    with _naming(f"config.stages.{stage.name}.train"):
      optim.partition(variables["params"], stage.train)


@contextlib.contextmanager
def _naming(key):
  """Turns what goes wrong in the block into a line that names a key."""
  try:
    yield
  except Exception as error:  # Networks that do not fit raise anything.
    raise UserError(
      f"{key} does not fit the rest of the config ({files.reason(error)}): "
      "change it, or start from one of configs/."
    ) from error
