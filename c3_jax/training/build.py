"""From a config to the objects that training and evaluation share."""

import math

import jax
import jax.numpy as jnp
import ml_collections

from c3_jax.data import pairs
from c3_jax.data.load import Splits as Splits
from c3_jax.data.load import load_splits as load_splits
from c3_jax.errors import UserError
from c3_jax.models import c3, porting
from c3_jax.models.vgg import VGG
from c3_jax.training import optim, steps

ORDER = ("pairs", "flow", "cycle")
DTYPES = ("float32", "bfloat16")


def networks(config):
  """(C3, VGG) of a config."""
  model = c3.from_config(config)
  vgg = VGG(
    arch=config.perceptual.arch,
    taps=tuple(config.perceptual.taps),
    width=config.perceptual.width,
    dtype=jnp.dtype(config.model.dtype),
  )
  return model, vgg


def setup(config) -> steps.Setup:
  """The static part of the train step."""
  model, vgg = networks(config)
  tables = config.augment.to_dict()
  rest = {name: tables.pop(name) for name in ("mask_margin", "recolour")}
  points = tables.pop("control_points")
  warp_natural = tables.pop("warp_natural")
  tables = {
    view: table | {"control_points": points} for view, table in tables.items()
  }
  if not warp_natural:
    tables["natural"] = None
  return steps.Setup(
    model=model,
    vgg=vgg,
    image_size=config.data.image_size,
    seed=config.seed,
    augment=tables | rest,
    decay=config.perceptual.decay,
    stop_gradient=config.objective.stop_gradient,
    hard_flow=config.objective.hard_flow,
    flow_temperature=config.objective.flow_temperature,
    natural_positives=config.objective.natural_positives,
    apart=config.objective.apart,
    accumulate=config.accumulate,
    remat=config.remat,
  )


def images_in(dataset):
  """Number of pictures in an epoch of a dataset; a listed pair has two."""
  return len(dataset) * (2 if isinstance(dataset, pairs.PairDataset) else 1)


def stages(config, n_train) -> list[steps.Stage]:
  """The stages of a run in their order; those of length 0 are left out.

  Args:
    config: `config.stages`, `config.optimizer` and `config.batch_size`.
    n_train: images in an epoch, for lengths given in epochs.

  Returns:
    A list of `Stage`, laid end to end.
  """
  result, start = [], 0
  for name in ORDER:
    options = config.stages[name]
    if min(options.steps, options.epochs) < 0 or options.steps * options.epochs:
      raise UserError(
        f"config.stages.{name} has steps={options.steps} and "
        f"epochs={options.epochs:g}: set one of them to 0, the other to its "
        "length."
      )
    length = options.steps
    if options.epochs:
      length = math.ceil(options.epochs * n_train / config.batch_size)
    if not length:
      continue
    weights = options.weights.to_dict()
    if not any(weights.values()):
      raise UserError(
        f"config.stages.{name}.weights are all 0: set one, or set "
        f"config.stages.{name}.steps=0 and epochs=0 to leave the stage out."
      )
    if weights["inv"] and not weights["cycle"]:
      raise UserError(
        f"config.stages.{name}.weights.inv needs the swapped images of cycle: "
        "give weights.cycle a value above 0, or set inv=0."
      )
    if weights["equiv"] and not (weights["pairs"] or weights["cycle"]):
      raise UserError(
        f"config.stages.{name}.weights.equiv needs the images of pairs or "
        "cycle: give one of them a value above 0, or set equiv=0."
      )
    rate = optim.schedule(
      options.learning_rate,
      steps=length,
      drops=options.drops,
      warmup=options.warmup,
    )
    tx = optim.adam(
      rate,
      weight_decay=config.optimizer.weight_decay,
      decoupled=config.optimizer.decoupled,
    )
    result.append(
      steps.Stage(name, start, length, weights, options.train, tx, rate)
    )
    start += length
  if not result:
    raise UserError("config.stages has no stage of a length above 0.")
  return result


def initial_state(config, model) -> steps.TrainState:
  """The untrained state: a function of the config's seed alone.

  It has no ported weights; `with_ported_backbone` puts them in. Its
  `opt_state` is None; `enter` makes one for a stage.
  """
  size = config.data.image_size
  variables = _init(model, config.seed, (2, size, size, 3))
  return steps.TrainState(
    step=jnp.int32(0),
    params=variables["params"],
    batch_stats=variables.get("batch_stats", {}),
    opt_state=None,
    running={tap: jnp.float32(0) for tap in config.perceptual.taps},
  )


def enter(state, stage) -> steps.TrainState:
  """The state at the start of a stage: a fresh optimiser for what it moves."""
  moving, _ = optim.partition(state.params, stage.train)
  return state.replace(opt_state=jax.jit(stage.tx.init)(moving))


def check_shapes(config, setup, stages):
  """Finds what does not fit together before anything is written.

  Raises:
    UserError: the networks cannot be built for this image size, or a stage
      trains a parameter that is not there.
  """
  size = config.data.image_size
  images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
  key = jax.random.key(0)
  try:
    variables = jax.eval_shape(setup.model.init, key, images)
    jax.eval_shape(setup.vgg.init, key, images)
    for stage in stages:
      optim.partition(variables["params"], stage.train)
  except (ValueError, TypeError, KeyError) as error:
    raise UserError(
      "config.model, config.perceptual or config.stages does not fit: "
      f"{str(error).splitlines()[0]}"
    ) from error


def check_weights(config, setup):
  """Finds ported weights that are missing or do not fit, before a run starts.

  Raises:
    UserError: names the key and the mend.
  """
  if config.weights.resnet50:
    size = config.data.image_size
    images = jax.ShapeDtypeStruct((2, size, size, 3), jnp.float32)
    _ported_backbone(
      config, jax.eval_shape(setup.model.init, jax.random.key(0), images)
    )
  if config.weights.vgg:
    frozen(config, setup.vgg)


def with_ported_backbone(config, state) -> steps.TrainState:
  """The state with the ported ResNet-50 in place of the backbone's variables.

  Raises:
    UserError: the ported weights are missing, or of another network.
  """
  ported = _ported_backbone(
    config, {"params": state.params, "batch_stats": state.batch_stats}
  )
  return state.replace(
    params=state.params | {"backbone": ported["params"]},
    batch_stats=state.batch_stats | {"backbone": ported["batch_stats"]},
  )


def _ported_backbone(config, variables):
  """Ported variables of the backbone, in the shapes of those of a C3."""
  folder = config.weights.resnet50
  ported = porting.load(folder, "resnet50", key="weights.resnet50")
  own = {name: tree.get("backbone", {}) for name, tree in variables.items()}
  try:
    return porting.fit(ported, porting.flat_shapes(own))
  except ValueError as error:
    raise UserError(
      f"config.weights.resnet50={folder!r} does not fit config.model.backbone "
      f"({error}): use a config with the paper's backbone, such as "
      "configs/folder.py without cpu, or leave config.weights.resnet50 empty."
    ) from error


def frozen(config, vgg):
  """The VGG's variables, under "vgg": ported, or random from a fixed seed.

  Raises:
    UserError: the ported weights are missing, or of another network.
  """
  folder, options = config.weights.vgg, config.perceptual
  if not folder:
    size = config.data.image_size
    return {"vgg": _init(vgg, options.seed, (1, size, size, 3))}
  ported = porting.load(folder, options.arch, key="weights.vgg")
  wanted = porting.shapes(vgg)
  try:
    return {"vgg": porting.fit(ported, wanted, exactly=False)}
  except ValueError as error:
    raise UserError(
      f"config.weights.vgg={folder!r} does not fit config.perceptual "
      f"({error}): set config.perceptual.width=1, or leave config.weights.vgg "
      "empty."
    ) from error


def describe_weights(config):
  """One sentence: what the backbone starts from, and what P is measured on."""
  weights, perceptual = config.weights, config.perceptual
  backbone = "from scratch"
  if config.init.workdir:
    backbone = f"from that of {config.init.workdir}"
  elif weights.resnet50:
    backbone = f"from the ResNet-50 ported to {weights.resnet50}"
  vgg = f"random (He, seed {perceptual.seed})"
  if weights.vgg:
    vgg = f"ported to {weights.vgg}"
  return (
    f"The backbone starts {backbone}; the perceptual distance is that of a "
    f"frozen {perceptual.arch} of width {perceptual.width:g}, {vgg}."
  )


def _init(network, seed, shape):
  """Variables of a network, as its initialisers draw them for a seed."""
  # XLA takes a quarter of the time over a hundred random draws that run once.
  options = {"xla_backend_optimization_level": 0}
  init = jax.jit(network.init, compiler_options=options)
  return init(jax.random.key(seed), jnp.zeros(shape))


def validate(config: ml_collections.ConfigDict):
  """Refuses what would only fail later, or silently do the wrong thing.

  Raises:
    UserError: names the key and the mend.
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
  if config.model.dtype not in DTYPES:
    raise UserError(
      f"config.model.dtype={config.model.dtype!r} is not one of "
      f"{', '.join(DTYPES)}."
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
