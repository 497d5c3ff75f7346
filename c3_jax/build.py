"""From a config to the objects that training and evaluation share."""

import json
import math
import os
import tempfile
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import ml_collections

from c3_jax import optim, pretrained, steps
from c3_jax.data import arrays, example, folder, synthetic
from c3_jax.errors import UserError
from c3_jax.models import c3
from c3_jax.models.vgg import VGG

ORDER = ("pairs", "flow", "cycle")


@dataclass(frozen=True)
class Splits:
  """The three views of a dataset.

  Attributes:
    train: all images to learn from, without points.
    fit: annotated training images for the regression, or None.
    test: annotated test images, or None.
  """

  train: object
  fit: object
  test: object


def load_splits(config) -> Splits:
  """Reads the dataset that `config.data` names.

  Args:
    config: `config.data` is used.

  Returns:
    `Splits` of datasets with `batches` and `eval_batches`.

  Raises:
    UserError: unknown name, or the data is missing or wrong.
  """
  data = config.data
  size = {"image_size": data.image_size, "load_size": data.load_size}
  if data.name == "synthetic":

    def load(split, n):
      faces = synthetic.dataset(data.seed, split=split, n=n, **size)
      return arrays.ArrayDataset(
        faces["images"], faces["points"], image_size=data.image_size
      )

    counts = {"train": data.n_train, "fit": data.n_fit, "test": data.n_test}
    return Splits(**{split: load(split, n) for split, n in counts.items()})
  if data.name == "folder":
    if data.root:
      return _folder_splits(data.root, data, size)
    if not data.example:
      raise UserError(
        "config.data.root is empty: give the folder of your pictures with "
        "--config.data.root=DIR."
      )
    with tempfile.TemporaryDirectory() as root:
      example.write_folder(root, train=data.example, test=data.example // 2)
      return _folder_splits(root, data, size)
  raise UserError(
    f"config.data.name is {data.name!r}: use synthetic or folder."
  )


def _folder_splits(root, data, size):
  return Splits(
    **{
      split: folder.load_folder(
        root,
        split=split,
        landmarks=data.landmarks,
        extra_root=data.extra_root or None,
        # The example folder is gone when this returns.
        cache=data.cache or not data.root,
        **size,
      )
      for split in ("train", "fit", "test")
    }
  )


def networks(config):
  """(C3, VGG) of a config."""
  options = config.model.to_dict()
  if options["backbone"]["norm"] == "auto":
    # ImageNet's statistics are worth keeping; a network from scratch has none.
    norm = "frozen" if config.weights.resnet50 else "batch"
    options["backbone"]["norm"] = norm
  model = c3.build(image_size=config.data.image_size, **options)
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
  )


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
    with_ported_backbone(config, initial_state(config, setup.model))
  if config.weights.vgg:
    frozen(config, setup.vgg)


def with_ported_backbone(config, state) -> steps.TrainState:
  """The state with the ported ResNet-50 in place of the backbone's variables.

  Raises:
    UserError: the ported weights are missing, or of another network.
  """
  folder = config.weights.resnet50
  ported = pretrained.load(folder, "resnet50", key="weights.resnet50")
  own = {"params": state.params, "batch_stats": state.batch_stats}
  own = {name: tree.get("backbone", {}) for name, tree in own.items()}
  try:
    ported = pretrained.fit(ported, pretrained.flat_shapes(own))
  except ValueError as error:
    raise UserError(
      f"config.weights.resnet50={folder!r} does not fit config.model.backbone "
      f"({error}): use a config with the paper's backbone, such as "
      "configs/folder.py without cpu, or leave config.weights.resnet50 empty."
    ) from error
  return state.replace(
    params=state.params | {"backbone": ported["params"]},
    batch_stats=state.batch_stats | {"backbone": ported["batch_stats"]},
  )


def frozen(config, vgg):
  """The VGG's variables, under "vgg": ported, or random from a fixed seed.

  Raises:
    UserError: the ported weights are missing, or of another network.
  """
  folder, options = config.weights.vgg, config.perceptual
  if not folder:
    size = config.data.image_size
    return {"vgg": _init(vgg, options.seed, (1, size, size, 3))}
  ported = pretrained.load(folder, options.arch, key="weights.vgg")
  wanted = pretrained.shapes(vgg)
  try:
    return {"vgg": pretrained.fit(ported, wanted, exactly=False)}
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
  if weights.resnet50:
    backbone = f"from the ResNet-50 ported to {weights.resnet50}"
  vgg = f"random (He, seed {perceptual.seed})"
  if weights.vgg:
    vgg = f"ported to {weights.vgg}"
  return (
    f"The backbone starts {backbone}; the perceptual distance is that of a "
    f"frozen {perceptual.arch} of width {perceptual.width:g}, {vgg}."
  )


def note_weights(config, workdir, *, fresh):
  """Notes in workdir/weights.json which ported weights a run uses.

  Args:
    config: `config.weights` and `config.perceptual.arch`.
    workdir: `pathlib.Path` of the run.
    fresh: whether the run begins; it then needs no earlier note.

  Raises:
    UserError: the run goes on, and its VGG was another one.
  """
  path = workdir / "weights.json"
  known = {}
  if path.exists() and not fresh:
    known = json.loads(path.read_text())
  now = dict(known)
  for key, network in (("resnet50",) * 2, ("vgg", config.perceptual.arch)):
    folder = config.weights[key]
    # A run that goes on has its backbone in the checkpoint.
    if folder and (fresh or key == "vgg"):
      now[key] = pretrained.about(folder, network, key=f"weights.{key}")
  digest = "source_sha256"
  if "vgg" in known and known["vgg"][digest] != now["vgg"][digest]:
    raise UserError(
      f"{workdir} was trained with another VGG ({known['vgg']['source']}, "
      f"SHA-256 {known['vgg'][digest]}) than {config.weights.vgg} holds: pass "
      "its folder with --config.weights.vgg=DIR."
    )
  if now != known and jax.process_index() == 0:
    part = path.with_suffix(".part")
    part.write_text(json.dumps(now, indent=1) + "\n")
    os.replace(part, path)


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
    "log_every": config.log_every,
    "checkpoint_every": config.checkpoint_every,
    "eval.batch_size": config.eval.batch_size,
    "model.k": config.model.k,
  }.items():
    if value < 1:
      raise UserError(f"config.{key}={value}: use 1 or more.")
  devices = jax.device_count()
  # Pairs, and the neighbouring pair that gives the negatives.
  unit = devices * (4 if config.objective.natural_positives else 2)
  if config.batch_size % unit:
    raise UserError(
      f"config.batch_size={config.batch_size} does not give each of {devices} "
      f"device(s) whole pairs of images; use a multiple of {unit}."
    )
  margin = config.data.load_size - config.data.image_size
  if margin < 0 or margin % 2:
    raise UserError(
      f"config.data.load_size={config.data.load_size} is not "
      f"config.data.image_size={config.data.image_size} plus an even number "
      "of pixels, 0 or more: set it so."
    )
