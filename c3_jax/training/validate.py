"""Refusal of configs that would fail later, or silently do the wrong thing."""

import jax

from c3_jax.errors import UserError
from c3_jax.models import initial
from c3_jax.runtime import parallel
from c3_jax.training import optim

DTYPES = ("float32", "bfloat16", "float64")


def validate(config):
  """Checks the values of a config that need neither data nor networks.

  Raises:
    UserError: names the key and what to set it to.
  """
  for key, value in {
    "batch_size": config.batch_size,
    "accumulate": config.accumulate,
    "log_every": config.log_every,
    "checkpoint_every": config.checkpoint_every,
    "eval.batch_size": config.eval.batch_size,
    "model.k": config.model.k,
  }.items():
    if value < 1:
      raise UserError(f"config.{key}={value}: use 1 or more.")
  if config.seed < 0:
    raise UserError(f"config.seed={config.seed}: use 0 or more.")
  if config.parallel not in parallel.KINDS:
    raise UserError(
      f"config.parallel={config.parallel!r} is not one of "
      f"{', '.join(parallel.KINDS)}."
    )
  dtype = config.model.dtype
  if dtype not in DTYPES:
    raise UserError(
      f"config.model.dtype={dtype!r} is not one of {', '.join(DTYPES)}."
    )
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
  try:
    variables = initial.shapes(config, setup.model)
    initial.shapes(config, setup.vgg)
    for stage in stages:
      optim.partition(variables["params"], stage.train)
  except Exception as error:  # A width of 0 divides, a kernel of 0 indexes ..
    raise UserError(
      "config.model, config.perceptual or config.stages does not fit: "
      f"{str(error).splitlines()[0]}"
    ) from error
