"""Training and evaluation of a config in a working directory."""

import functools
import json
import logging
import pathlib
import time

import jax

from c3_jax.errors import UserError
from c3_jax.evaluation import diagnostics
from c3_jax.evaluation import evaluator as evaluate
from c3_jax.runs import log
from c3_jax.runs import trained as model_loader
from c3_jax.runs.checkpoints import Checkpoints
from c3_jax.runtime import hosts, parallel
from c3_jax.training import build, resume, steps
from c3_jax.training.terms import TERMS

logger = logging.getLogger(__name__)

MODES = ("train_and_evaluate", "train", "eval")


def train_and_evaluate(config, workdir, *, mode="train_and_evaluate"):
  """Runs what `main` was asked for.

  Args:
    config: `ml_collections.ConfigDict`; see configs/.
    workdir: folder of the run, made if missing. A run that was interrupted
      there goes on.
    mode: one of `MODES`.

  Returns:
    The report of the evaluation, or None where nothing is annotated or
    nothing was to be evaluated.

  Raises:
    UserError: a mistake in the config, the data or the workdir.
    log.Diverged: a term became NaN.
  """
  build.validate(config)
  workdir = pathlib.Path(workdir)
  if mode == "eval":
    result = None
    if jax.process_index() == 0:
      result = report(workdir, *trained(config, workdir))
    hosts.wait("evaluated")
    return result
  splits = build.load_splits(config)
  setup = build.setup(config)
  evaluator = evaluate.Evaluator(config, setup.model, splits)
  stages = build.stages(config, build.images_in(splits.train))
  build.check_shapes(config, setup, stages)
  start = None
  if not (workdir / "checkpoints").is_dir():
    # Before there is a folder: what the start is made of may be wrong.
    build.check_weights(config, setup)
    start = resume.first_state(config, setup.model)
  workdir.mkdir(parents=True, exist_ok=True)
  with Checkpoints(workdir, repair=True) as checkpoints:
    resume.check_config(config, workdir, stages, checkpoints.latest)
    resume.check_data(config, workdir, checkpoints, len(splits.train))
    state, notes = resume.newest(
      config, setup.model, stages, checkpoints, start
    )
    resume.write_config(config, workdir)
    given = config.weights.resnet50 or config.init.workdir
    if checkpoints.latest is None and given:
      # From here on nothing needs what was given: neither to go on, nor to say
      # how good the untrained network was.
      checkpoints.save(state, n_train=len(splits.train))
    finished = train(
      config,
      workdir,
      setup,
      stages,
      splits.train,
      evaluator,
      checkpoints,
      state,
      notes["pending"],
    )
  result = None
  if mode != "train" and finished and jax.process_index() == 0:
    result = report(workdir, *trained(config, workdir), splits, evaluator)
  hosts.wait("evaluated")
  return result


def trained(config, workdir):
  """The checkpoint to evaluate, and what to evaluate it on.

  Args:
    config: the one given now; its `data` and `eval` say what is measured and
      how. All else is that of the run.
    workdir: folder of the run.

  Returns:
    (config, `model_loader.Trained`).

  Raises:
    UserError: there is no such run or checkpoint, or the model of the config
      is another one.
  """
  step = None if config.eval.step < 0 else config.eval.step
  run = model_loader.load(workdir, step)
  before = resume.flat(json.loads(run.config.to_json()))
  now = resume.flat(json.loads(config.to_json()))
  for key in sorted(before.keys() & now.keys()):
    if key.startswith("model.") or key == "data.image_size":
      if before[key] != now[key]:
        raise UserError(
          f"{workdir} was trained with config.{key}={before[key]!r}, not "
          f"{now[key]!r}: use the same value, or another --workdir."
        )
  result = config.copy_and_resolve_references().unlock()
  for key, value in run.config.items():
    if key not in ("data", "eval"):
      result[key] = value
  if config.data.name != run.config.data.name and not config.eval.name:
    # The figures of the dataset trained on stay.
    result.eval.name = config.data.name
  return result.lock(), run


def train(
  config,
  workdir,
  setup,
  stages,
  data,
  evaluator,
  checkpoints,
  state,
  pending=(),
):
  """The loop: from a state to the end of the last stage.

  Args:
    config, workdir: of the run.
    setup, stages: of `build`.
    data: training images.
    evaluator: `evaluate.Evaluator`.
    checkpoints: `Checkpoints`.
    state: `TrainState` to go on from, host arrays.
    pending: metrics of the steps before it that are in no line of the log.

  Returns:
    Whether the end was reached; False after an interruption, which saves.
  """
  step, end = int(state.step), stages[-1].end
  introduce(config, state, stages, data)
  if step == end:
    return True
  state = parallel.replicate(state)
  frozen = parallel.replicate(build.frozen(config, setup.vgg))
  resume.note_weights(config, workdir, step)
  batches = data.batches(
    config.batch_size,
    seed=config.seed,
    start_step=step,
    shard=(jax.process_index(), jax.process_count()),
  )
  recent = list(pending)
  diagnose = diagnostics.Diagnostics(config, evaluator, data, stages)
  with log.Writer(workdir, step) as writer, hosts.Interrupt() as interrupt:
    for stage in stages:
      if step >= stage.end:
        continue
      if step == stage.start:
        state = parallel.replicate(build.enter(state, stage))
      p_step, clock = None, Clock(config.batch_size, end)
      while step < stage.end:
        batch = parallel.shard({"image": next(batches)["image"]})
        if p_step is None:
          logger.info("Compiling stage %s.", stage.name)
          p_step = parallel.pmap_step(
            functools.partial(steps.train_step, setup, stage)
          )
          hosts.compile_together(p_step, state, frozen, batch)
        state, values = p_step(state, frozen, batch)
        step += 1
        recent.append(values)
        jax.block_until_ready(recent[-1 - parallel.AHEAD : -parallel.AHEAD])
        # Read once: a signal may come at any time.
        asked = interrupt.asked(step)
        saving = step % config.checkpoint_every == 0 or step == stage.end
        first = step == stage.start + 1
        writing = saving or first or step % config.log_every == 0
        if not writing and not asked:
          continue
        record = _average(step, recent, stage, checkpoints)
        error = None
        if writing:
          record |= clock.read(step)
          if saving:
            error = evaluator.held_out_error(_variables(state))
            record |= diagnose(_variables(state))
          if error is not None:
            record["held_out_error"] = error
          # Before the checkpoint: a kill in between then loses no line.
          writer.write(step, stage.name, record)
          recent = []
        if saving or asked:
          checkpoints.save(
            state,
            # Only checkpoints of the last stage compete for the best: before
            # it, the flow head may have learned nothing yet.
            error=error if stage is stages[-1] else None,
            pending=log.as_floats(recent),
            n_train=len(data),
          )
        if writing:
          clock.log(step, stage, record)
        if asked:
          logger.info("Interrupted; saved step %d. Run again to go on.", step)
          return False
  return True


def introduce(config, state, stages, data):
  """Logs what is about to be trained, and on what."""
  logger.info(
    "%d parameters, %d training examples, %d device(s), steps %d to %d: %s",
    sum(x.size for x in jax.tree.leaves(state.params)),
    len(data),
    jax.device_count(),
    state.step,
    stages[-1].end,
    ", ".join(f"{stage.name} {stage.steps}" for stage in stages),
  )
  logger.info("%s", build.describe_weights(config))


def _average(step, recent, stage, checkpoints):
  """`log.average`, whose error also says what to go back to."""
  try:
    return log.average(step, recent)
  except log.Diverged as error:
    last = checkpoints.latest
    last = "no checkpoint yet" if last is None else f"step {last}"
    raise log.Diverged(
      f"{error} of stage {stage.name}; last good checkpoint: {last}."
    ) from None


def _variables(state):
  return {"params": state.params, "batch_stats": state.batch_stats}


class Clock:
  """Speed since the last reading, and the time left at that speed."""

  def __init__(self, batch_size, end):
    self._batch_size, self._end = batch_size, end
    self._step, self._time = None, time.monotonic()

  def read(self, step):
    """images_per_second since the last call.

    The first reading of a stage holds its compilation: it only starts the
    clock, and 0 is returned.
    """
    now, speed = time.monotonic(), 0.0
    if self._step is not None:
      elapsed = max(now - self._time, 1e-9)
      speed = (step - self._step) * self._batch_size / elapsed
    self._step, self._time = step, now
    return {"images_per_second": speed}

  def log(self, step, stage, record):
    """Logs a line, and takes the pause of a checkpoint off the clock."""
    speed = record["images_per_second"]
    left = ""
    if speed:
      seconds = (self._end - step) * self._batch_size / speed
      left = f", {speed:.0f} images/s, {_duration(seconds)} left"
    shown = [*(name for name in TERMS if name in record)]
    shown += ["held_out_error"] if "held_out_error" in record else []
    values = ", ".join(f"{name} {record[name]:.4g}" for name in shown)
    logger.info("%s %d/%d: %s%s", stage.name, step, self._end, values, left)
    self._time = time.monotonic()


def _duration(seconds):
  minutes, seconds = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  if hours:
    return f"{hours} h {minutes} min"
  return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def untrained(workdir, config, run):
  """The variables before any training; the arguments are those of `report`.

  A matter of the seed, but for a ported backbone, which the first checkpoint
  holds. A run that began with the networks of another (`config.init`) is
  compared with a network from scratch.
  """
  if config.weights.resnet50 and not config.init.workdir:
    return model_loader.load(workdir, 0).variables
  return _variables(build.initial_state(config, run.model))


def report(workdir, config, run, splits=None, evaluator=None):
  """Evaluates a checkpoint: eval/DATASET.json, figures, the final table.

  Args:
    workdir: folder of the run.
    config, run: of `trained`.
    splits, evaluator: `build.Splits` and `evaluate.Evaluator` where they are
      at hand already.
  """
  splits = splits or build.load_splits(config)
  evaluator = evaluator or evaluate.Evaluator(config, run.model, splits)
  variables = parallel.replicate(run.variables)
  result = None
  if evaluator.annotated:
    start = parallel.replicate(untrained(workdir, config, run))
    result = evaluate.evaluate(
      config, evaluator, variables, start, run.step, workdir
    )
  # Not at the top: it imports Matplotlib, and days may go by without a figure.
  from c3_jax.figures import draw

  draw.draw(config, workdir, run.model, splits, variables, evaluator, result)
  if result is None:
    logger.info("No annotated train and test images: no regression.")
  else:
    print(evaluate.table(result), flush=True)
  print(f"figures: {workdir / 'figures' / config.eval.name}", flush=True)
  return result
