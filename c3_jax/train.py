"""Training and evaluation of a config in a working directory."""

import functools
import json
import logging
import os
import pathlib
import signal
import time

import jax

from c3_jax import build, metrics, parallel, steps
from c3_jax.checkpoints import Checkpoints
from c3_jax.errors import UserError
from c3_jax.evaluation import evaluate, showcase

logger = logging.getLogger(__name__)

MODES = ("train_and_evaluate", "train", "eval")
# What may differ between a run and its continuation.
FREE = ("eval", "log_every", "checkpoint_every")


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
    metrics.Diverged: a term became NaN.
  """
  build.validate(config)
  workdir = pathlib.Path(workdir)
  nothing = UserError(
    f"{workdir} has no checkpoints to evaluate: train there first, or name "
    "another --workdir."
  )
  if mode == "eval" and not (workdir / "checkpoints").is_dir():
    raise nothing
  splits = build.load_splits(config)
  setup = build.setup(config)
  evaluator = evaluate.Evaluator(config, setup.model, splits)
  stages = build.stages(config, len(splits.train))
  build.check_shapes(config, setup, stages)
  if mode != "eval" and not (workdir / "checkpoints").is_dir():
    build.check_weights(config, setup)
  workdir.mkdir(parents=True, exist_ok=True)
  with Checkpoints(workdir) as checkpoints:
    check_config(config, workdir, stages, checkpoints.latest)
    if mode != "eval":
      write_config(config, workdir)
      finished = train(
        config, workdir, setup, stages, splits.train, evaluator, checkpoints
      )
      if mode == "train" or not finished:
        return None
    if checkpoints.best is None:
      raise nothing
    state = restore(config, setup.model, stages, checkpoints, checkpoints.best)
    # With ported weights the first checkpoint is the untrained network.
    first = 0 if config.weights.resnet50 else None
    untrained = restore(config, setup.model, stages, checkpoints, first)
  return report(
    config, workdir, setup.model, evaluator, splits, state, untrained
  )


def check_config(config, workdir, stages, step):
  """Refuses to continue a run under another config.

  What only matters later may change: evaluation, logging, and the stages that
  have not begun.

  Args:
    config: the one given now.
    workdir: folder of the run.
    stages: of the config given now.
    step: of the newest checkpoint, or None.

  Raises:
    UserError: names the first key that differs.
  """
  path = workdir / "config.json"
  if step is None or not path.exists():
    return
  free = FREE + tuple(
    f"stages.{stage.name}" for stage in stages if stage.start >= step
  )
  before = _flat(json.loads(path.read_text()))
  now = _flat(json.loads(config.to_json()))
  for key in sorted(before.keys() | now.keys()):
    if any(f"{key}.".startswith(f"{prefix}.") for prefix in free):
      continue
    # Ported weights may have moved; whether they are used may not change.
    moved = key.startswith("weights.") and before.get(key) and now.get(key)
    if before.get(key) != now.get(key) and not moved:
      raise UserError(
        f"{workdir} was trained with config.{key}={before.get(key)!r}, not "
        f"{now.get(key)!r}: use the same value, or another --workdir."
      )


def _flat(tree, prefix=""):
  if not isinstance(tree, dict):
    return {prefix[:-1]: tree}
  result = {}
  for key, value in tree.items():
    result |= _flat(value, f"{prefix}{key}.")
  return result


def write_config(config, workdir):
  """Writes config.json: whole, or not at all."""
  if jax.process_index() == 0:
    part = workdir / "config.part"
    part.write_text(json.dumps(json.loads(config.to_json()), indent=1) + "\n")
    os.replace(part, workdir / "config.json")


def stage_of(stages, step):
  """The stage that a checkpoint of `step` belongs to."""
  return next(stage for stage in stages if step <= stage.end)


def restore(config, model, stages, checkpoints, step):
  """The state of a checkpoint; for step None, one drawn from the seed."""
  state = build.initial_state(config, model)
  if step is None:
    return build.enter(state, stages[0])
  if step > stages[-1].end:
    raise UserError(
      f"the checkpoint of step {step} lies beyond the {stages[-1].end} steps "
      "of this config: pass the config it was trained with."
    )
  abstract = build.enter(state, stage_of(stages, step))
  return checkpoints.restore(abstract, step)


class Interrupt:
  """Turns SIGTERM and the first Ctrl-C into a flag that the loop reads."""

  def __init__(self):
    self.asked = False

  def __enter__(self):
    self._before = {
      number: signal.signal(number, self._ask)
      for number in (signal.SIGTERM, signal.SIGINT)
    }
    return self

  def __exit__(self, *args):
    for number, handler in self._before.items():
      signal.signal(number, handler)

  def _ask(self, number, frame):
    del frame
    self.asked = True
    signal.signal(number, self._before[number])


def train(config, workdir, setup, stages, data, evaluator, checkpoints):
  """The loop: from the newest checkpoint to the end of the last stage.

  Returns:
    Whether the end was reached; False after an interruption, which saves.
  """
  latest = checkpoints.latest
  state = restore(config, setup.model, stages, checkpoints, latest)
  if latest is None and config.weights.resnet50:
    state = build.with_ported_backbone(config, state)
    # From here on nothing needs the ported ResNet.
    checkpoints.save(state)
  step, end = int(state.step), stages[-1].end
  parameters = sum(x.size for x in jax.tree.leaves(state.params))
  logger.info(
    "%d parameters, %d training images, %d device(s), steps %d to %d: %s",
    parameters,
    len(data),
    jax.device_count(),
    step,
    end,
    ", ".join(f"{stage.name} {stage.steps}" for stage in stages),
  )
  if step == end:
    return True
  state = parallel.replicate(state)
  frozen = parallel.replicate(build.frozen(config, setup.vgg))
  logger.info("%s", build.describe_weights(config))
  build.note_weights(config, workdir, fresh=latest is None)
  batches = data.batches(
    config.batch_size,
    seed=config.seed,
    start_step=step,
    shard=(jax.process_index(), jax.process_count()),
  )
  recent = checkpoints.pending
  with metrics.Writer(workdir, step) as writer, Interrupt() as interrupt:
    for stage in stages:
      if step >= stage.end:
        continue
      if step == stage.start:
        state = parallel.replicate(build.enter(state, stage))
      p_step = parallel.pmap_step(
        functools.partial(steps.train_step, setup, stage)
      )
      clock = Clock(config.batch_size, end)
      while step < stage.end:
        batch = parallel.shard({"image": next(batches)["image"]})
        state, values = p_step(state, frozen, batch)
        step += 1
        recent.append(values)
        # Read once: a signal may come at any time.
        asked = interrupt.asked
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
          if error is not None:
            record["held_out_error"] = error
          # Before the checkpoint: a kill in between then loses no line.
          writer.write(step, stage.name, record)
          recent = []
        if saving or asked:
          pending = metrics.as_floats(recent)
          # Only checkpoints of the last stage compete for the best: before
          # it, the flow head may have learned nothing yet.
          competing = error if stage is stages[-1] else None
          checkpoints.save(state, error=competing, pending=pending)
        if writing:
          clock.log(step, stage, record)
        if asked:
          logger.info("Interrupted; saved step %d. Run again to go on.", step)
          return False
  return True


def _average(step, recent, stage, checkpoints):
  """`metrics.average`, whose error also says what to go back to."""
  try:
    return metrics.average(step, recent)
  except metrics.Diverged as error:
    last = checkpoints.latest
    last = "no checkpoint yet" if last is None else f"step {last}"
    raise metrics.Diverged(
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
    shown = [*(name for name in steps.TERMS if name in record)]
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


def report(config, workdir, model, evaluator, splits, state, untrained):
  """Evaluates a state: eval/DATASET.json, figures, the final table.

  Args:
    state: `TrainState`, the trained one.
    untrained: `TrainState`, a baseline.

  Returns:
    The report, or None where nothing is annotated.
  """
  variables = parallel.replicate(_variables(state))
  result = None
  if evaluator.annotated:
    start = parallel.replicate(_variables(untrained))
    result = evaluate.evaluate(
      config, evaluator, variables, start, state.step, workdir
    )
  showcase.draw(config, workdir, model, splits, variables, result)
  if result is None:
    logger.info("No annotated train and test images: no regression.")
  else:
    print(evaluate.table(result), flush=True)
  print(f"figures: {workdir / 'figures'}", flush=True)
  return result
