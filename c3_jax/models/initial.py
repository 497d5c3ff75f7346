"""Makes the networks of a config, and the variables they start from.

These are drawn from a seed, or ported from networks trained by others.
"""

import jax
import jax.numpy as jnp

from c3_jax.errors import UserError
from c3_jax.models import c3, porting, weight_files
from c3_jax.models.vgg import VGG


def networks(config):
  """Makes the (C3, VGG) of a config."""
  vgg = VGG(
    arch=config.perceptual.arch,
    taps=tuple(config.perceptual.taps),
    width=config.perceptual.width,
    reduce=config.perceptual.reduce,
    dtype=jnp.dtype(config.model.dtype),
  )
  return c3.from_config(config), vgg


def untrained(config, model):
  """Draws {"params": .., "batch_stats": ..} of a C3 from the config's seed."""
  variables = _compiled(_draw(config, model, config.seed))
  # Without batch norm there are no statistics, but always the entry.
  return {"batch_stats": {}} | dict(variables)


def shapes(config, model):
  """Gives the shapes and dtypes of `untrained`, without computing it.

  Raises:
    ValueError, TypeError, KeyError: the networks do not fit the image size.
  """
  found = jax.eval_shape(_draw(config, model, config.seed))
  return {"batch_stats": {}} | dict(found)


def with_ported_backbone(config, variables):
  """Puts the ResNet-50 in `config.weights.resnet50` into a C3's variables.

  Raises:
    UserError: the ported weights are missing, or of another network.
  """
  folder = config.weights.resnet50
  ported = weight_files.load(folder, "resnet50", key="weights.resnet50")
  own = {name: tree.get("backbone", {}) for name, tree in variables.items()}
  try:
    backbone = weight_files.fit(ported, porting.flat_shapes(own))
  except ValueError as error:
    raise UserError(
      f"config.weights.resnet50={folder!r} does not fit config.model.backbone "
      f"({error}): use a config with the paper's backbone, such as "
      "configs/folder.py without cpu, or leave config.weights.resnet50 empty."
    ) from error
  return {
    name: tree | {"backbone": backbone[name]}
    for name, tree in variables.items()
  }


def perceptual(config, vgg):
  """Reads the frozen variables of the perceptual network, or draws them (He).

  Raises:
    UserError: the ported weights are missing, or of another network.
  """
  folder, options = config.weights.vgg, config.perceptual
  if not folder:
    return _compiled(_draw(config, vgg, options.seed))
  ported = weight_files.load(folder, options.arch, key="weights.vgg")
  try:
    return weight_files.fit(ported, porting.shapes(vgg), exactly=False)
  except ValueError as error:
    raise UserError(
      f"config.weights.vgg={folder!r} does not fit config.perceptual "
      f"({error}): set config.perceptual.width=1, or leave config.weights.vgg "
      "empty."
    ) from error


def describe(config):
  """Says in one sentence what the networks start from."""
  weights, options = config.weights, config.perceptual
  backbone = "from scratch"
  if config.init.workdir:
    backbone = f"from that of {config.init.workdir}"
  elif weights.resnet50:
    backbone = f"from the ResNet-50 ported to {weights.resnet50}"
  vgg = f"random (He, seed {options.seed})"
  if weights.vgg:
    vgg = f"ported to {weights.vgg}"
  return (
    f"The backbone starts {backbone}; the perceptual distance is that of a "
    f"frozen {options.arch} of width {options.width:g}, {vgg}."
  )


def _draw(config, network, seed):
  """Makes the function that draws a network's variables.

  They are float32, or as wide as the computation.
  """
  size = config.data.image_size
  dtype = jnp.promote_types(config.model.dtype, jnp.float32)

  def draw():
    images = jnp.zeros((2, size, size, 3))
    variables = network.init(jax.random.key(seed), images)
    return jax.tree.map(lambda x: x.astype(dtype), variables)

  return draw


def _compiled(function):
  """Runs a function once: unoptimised, XLA compiles it four times faster."""
  options = {"xla_backend_optimization_level": 0}
  return jax.jit(function, compiler_options=options)()
