"""Measures a config on this machine: steps, detector, flow, input pipeline.

python -m c3_jax.benchmark --config=configs/X.py [--out=FILE] [--batch=N] \
  [--only=train,predict,flow,input]

Steps run on random images of the config's shape, so that reading data takes no
part in them; only `input` reads the dataset. Everything is timed warm.
"""

import functools
import logging
import os

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from c3_jax.data.load import load_splits
from c3_jax.errors import UserError
from c3_jax.evaluation.detect import landmark_function
from c3_jax.models import correspondence, flow, initial
from c3_jax.models.resnet import ResNet
from c3_jax.profiling import breakdown, flops, table, timing
from c3_jax.runtime import cli, files, parallel
from c3_jax.runtime.output import Output, begins
from c3_jax.training import steps
from c3_jax.training.setup import Setup, stages
from c3_jax.training.state import enter, initial_state
from c3_jax.training.validate import check_shapes, validate

logger = logging.getLogger(__name__)

SECTIONS = ("train", "predict", "flow", "input")
# Without --batch; a step of the paper's 200 images takes minutes on a CPU.
CPU_BATCH = 8


def define_flags():
  """Defines the flags of this command."""
  cli.define_config()
  cli.define_out("JSON file to write.")
  flags.DEFINE_integer(
    "batch",
    None,
    f"Images a step; the config's by default, at most {CPU_BATCH} on a CPU.",
  )
  flags.DEFINE_list("only", None, f"Some of {','.join(SECTIONS)}.")


def run(config, *, batch_size=None, only=None):
  """Measures the sections of a config: a dict for JSON, and the machine.

  Args:
    config: `ml_collections.ConfigDict`; see configs/.
    batch_size: images a step; None is the config's own, on a CPU at most
      `CPU_BATCH`.
    only: some of `SECTIONS`; None is all, without `input` where its data is
      missing.

  Raises:
    UserError: an unknown section, a batch that does not give each device whole
      pairs, a config that does not fit, or no data for `input` alone.
  """
  for name in only or ():
    if name not in SECTIONS:
      raise UserError(f"--only={name} is not one of {', '.join(SECTIONS)}.")
  config = config.copy_and_resolve_references()
  if batch_size is None:
    batch_size = config.batch_size
    if jax.default_backend() == "cpu":
      batch_size = min(batch_size, CPU_BATCH * jax.device_count())
  with config.unlocked():
    config.batch_size = batch_size
    # Speed does not depend on the values of the weights, which need not be
    # there; it does depend on the norm they imply.
    if config.weights.resnet50 and config.model.backbone.norm == "auto":
      config.model.backbone.norm = "frozen"
    config.weights.update({"resnet50": "", "vgg": ""})
  validate(config)
  dtype = config.model.dtype
  rate = timing.matmul_rate(dtype)
  result = {
    "device": jax.devices()[0].device_kind,
    "devices": jax.device_count(),
    "cpu_count": os.cpu_count(),
    "dtype": dtype,
    "batch_size": batch_size,
    "matmul_flops_per_second": rate,
  }
  sections = only or SECTIONS
  if "train" in sections:
    result["train_step"] = train_steps(config, rate=rate)
  if "predict" in sections:
    result |= detectors(config)
  if "flow" in sections:
    result["flow"] = flow_pair()
  if "input" in sections:
    try:
      result["input"] = input_pipeline(config)
    except (UserError, OSError) as error:
      if only:
        raise
      logger.info("No numbers for input: %s", error)
  return result


def random_images(config, n):
  """Draws loaded images: uint8 [n, s, s, 3]."""
  size = config.data.load_size
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (n, size, size, 3), np.uint8)


def train_steps(config, *, rate):
  """Measures the train step of each stage: dict name -> dict of numbers.

  `rate` is the FLOP per second of a matrix product on one device.
  """
  setup = Setup.of(config)
  # An epoch's length only sets the length of the stages.
  chosen = stages(config, n_train=config.batch_size)
  check_shapes(config, setup, chosen)
  frozen = parallel.replicate(initial.perceptual(config, setup.vgg))
  batch = parallel.shard({"image": random_images(config, config.batch_size)})
  result = {}
  for stage in chosen:
    state = enter(initial_state(config, setup.model), stage)
    state = parallel.replicate(state)
    step = functools.partial(steps.train_step, setup, stage)
    step = parallel.parallel_step(step, kind=config.parallel)
    step = train_step(setup, step, state, frozen, batch, rate)
    logger.info("%s: %.4g images/s", stage.name, step["images_per_second"])
    result[stage.name] = step
  return result


def train_step(setup, step, state, frozen, batch, rate):
  """Measures one stage's step: speed, FLOP, memory, share of each part."""
  lowered = step.lower(state, frozen, batch)
  compiled, compile_seconds = timing.compile_lowered(lowered)

  def advance():
    # The state is donated: each call continues from the last.
    nonlocal state
    state, metrics = compiled(state, frozen, batch)
    return metrics

  time = timing.warm(advance)
  shares = breakdown.shares(
    compiled, lambda: jax.block_until_ready([advance() for _ in range(2)])
  )
  devices, per_device = batch["image"].shape[:2]
  # Counted before compiling, which hides some convolutions in library calls;
  # of the loop over the parts of a batch, one turn is counted.
  flop = float(lowered.cost_analysis()["flops"]) * setup.accumulate
  return time.speed(devices * per_device) | {
    "flops_per_image": flop / per_device,
    "utilisation": flop / time.seconds / rate,
    "peak_bytes": timing.peak_bytes(compiled),
    "compile_seconds": compile_seconds,
    "parts": shares,
  }


def detectors(config):
  """Measures detection, from uint8 images to landmarks on the host.

  Returns:
    {"eval_step": numbers at the evaluation's batch size, at most that of
    training, "predict": {"1": numbers one by one, "N": numbers at the batch
    size N}}.
  """
  model, _ = initial.networks(config)
  variables = parallel.replicate(initial.untrained(config, model))
  detect = landmark_function(model, config.data.image_size)
  devices = jax.device_count()

  def measure(n):
    batch = {"image": random_images(config, n)}
    return timing.warm(lambda: detect(variables, batch)).speed(n)

  n = min(config.eval.batch_size, config.batch_size) // devices * devices
  sizes = sorted({devices, config.batch_size})
  return {
    "eval_step": {"batch_size": n} | measure(n),
    "predict": {str(n): measure(n) for n in sizes},
  }


def flow_pair():
  """Measures the flow of a pair at 400 px, and counts it for NC-Net, too.

  What runs goes from pixels to both maps of correspondences.
  """
  ours = flops.flow_pair_gflop(separable=True, backbone="resnet50")
  full = flops.flow_pair_gflop(separable=False, backbone="resnet101")
  backbone = ResNet(stage_sizes=flops.BACKBONES["resnet50"], norm="frozen")
  head = flow.Flow()

  def match(variables, images):
    f, _ = backbone.apply(variables["backbone"], images)
    c = head.apply(variables["head"], flow.correlation(f[:1], f[1:]))
    return [
      correspondence.hard_correspondence(x) for x in (c, flow.swap_images(c))
    ]

  images = jnp.zeros((2, flops.FLOW_SIZE, flops.FLOW_SIZE, 3))
  key = jax.random.key(0)
  shapes = {
    "backbone": jax.eval_shape(backbone.init, key, images),
    "head": jax.eval_shape(head.init, key, jnp.zeros((1, 1, 1, 1, 1))),
  }
  # The time does not depend on the values.
  variables = jax.tree.map(lambda x: jnp.full(x.shape, 0.01), shapes)
  lowered = jax.jit(match).lower(variables, images)
  compiled, seconds = timing.compile_lowered(lowered)
  time = timing.warm(lambda: compiled(variables, images), rounds=3)
  return {
    "separable_gflop": ours["total"],
    "full_4d_gflop": full["total"],
    "head_separable_gflop": ours["head"],
    "head_4d_gflop": full["head"],
    **time.speed(1, "pairs"),
    "peak_bytes": timing.peak_bytes(compiled),
    "compile_seconds": seconds,
  }


def input_pipeline(config):
  """Measures reading the training data, from the second batch on."""
  n = config.batch_size
  batches = load_splits(config).train.batches(n, seed=config.seed)
  return timing.warm(lambda: next(batches)["image"]).speed(n)


def _is_ours(path):
  return begins(path, rb'\{\s*"device": .{,999}"matmul_flops_per_second": ')


def program():
  """Measures as the flags say, prints the table, writes the file."""
  given = flags.FLAGS
  output = Output(given.out, _is_ours, overwrite=given.overwrite)
  if given.out:
    output.check()
  result = run(given.config, batch_size=given.batch, only=given.only)
  print(table.table(result), flush=True)
  if given.out:
    output.check()
    files.write_json(given.out, result)


if __name__ == "__main__":
  cli.main(program, define_flags, required=("config",))
