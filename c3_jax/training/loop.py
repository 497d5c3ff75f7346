"""Training and evaluation of a config in a working directory."""

import contextlib
import datetime
import functools
import logging
import time

import jax

from c3_jax import __version__, evaluation
from c3_jax.evaluation import quality
from c3_jax.evaluation.diagnostics import Diagnostics
from c3_jax.models import initial
from c3_jax.runs import (
  Checkpoints,
  Lock,
  Trained,
  load_trained,
  log,
  open_to_read,
  write_config,
)
from c3_jax.runtime import hosts, parallel
from c3_jax.training import resume, steps
from c3_jax.training.experiment import Experiment, load_run
from c3_jax.training.state import enter
from c3_jax.training.terms import TERMS

logger = logging.getLogger(__name__)

MODES = ("train_and_evaluate", "train", "eval")


def train_and_evaluate(config, workdir, *, mode="train_and_evaluate"):
  """Trains a config, or goes on with it, and evaluates it.

  Args:
    config: `ml_collections.ConfigDict`; see configs/.
    workdir: folder of the run, made if missing. A run that was interrupted
      there goes on.
    mode: one of `MODES`.

  Returns:
    The report of the evaluation, or None where there is none.

  Raises:
    UserError: a mistake in the config, the data or the workdir.
    log.Diverged: a term became NaN.
  """
  result, first = None, jax.process_index() == 0
  if mode == "eval":
    if first:
      result = evaluate(*Experiment.to_evaluate(config, workdir))
  else:
    experiment = Experiment.of(config, workdir)
    with start(experiment) as finished:
      if mode != "train" and finished and first:
        result = evaluate(experiment, load_run(config, workdir))
  hosts.wait("evaluated")
  return result


@contextlib.contextmanager
def start(experiment: Experiment):
  """Trains from where the run was left, and holds its folder for the block.

  Yields:
    Whether the end was reached.
  """
  workdir, first = experiment.workdir, None
  if not (workdir / "checkpoints").is_dir():
    # Before there is a folder: weights may be missing or wrong.
    first, _ = resume.first_state(experiment), experiment.frozen
  workdir.mkdir(parents=True, exist_ok=True)
  with Lock(workdir) as lock:
    finished = go_on(experiment, lock, first)
    lock.check()
    try:
      yield finished
    finally:
      # What else went wrong may come of that.
      lock.check()


def go_on(experiment: Experiment, lock, first=None):
  """Trains from the newest checkpoint, or from the state `first`."""
  config, workdir = experiment.config, experiment.workdir
  with Checkpoints(workdir, repair=True, check=lock.check) as checkpoints:
    resume.check(experiment, checkpoints)
    begin = resume.newest(experiment, checkpoints, first)
    write_config(config, workdir)
    given = config.weights.resnet50 or config.init.workdir
    if checkpoints.latest is None and given:
      # From here on the given weights are not needed: neither to go on, nor to
      # evaluate the untrained network.
      identity = resume.identity(experiment.splits.train)
      checkpoints.save(begin.state, **identity)
    return train(experiment, checkpoints, begin)


def train(experiment: Experiment, checkpoints, begin, hooks=()):
  """Runs the loop: from a state to the end of the last stage.

  Args:
    experiment, checkpoints: of the run.
    begin: `resume.Start`.
    hooks: functions (step, metrics) called after each step, whose metrics may
      still be being computed on the devices.

  Returns:
    Whether the end was reached; False after an interruption, which saves.
  """
  config, stages = experiment.config, experiment.stages
  data, evaluator = experiment.splits.train, experiment.evaluator
  state, recent = begin.state, list(begin.pending)
  step, end = int(state.step), stages[-1].end
  _introduce(experiment, state)
  if step == end:
    return True
  state = parallel.replicate(state)
  frozen = parallel.replicate(experiment.frozen)
  resume.note_weights(experiment, step)
  batches = data.batches(
    config.batch_size,
    seed=config.seed,
    start_step=step,
    shard=(jax.process_index(), jax.process_count()),
  )
  identity = resume.identity(data)
  diagnose = Diagnostics(config, evaluator, data, stages)
  with (
    log.Writer(experiment.workdir, step) as writer,
    hosts.Interrupt() as interrupt,
  ):
    for stage in stages:
      if step >= stage.end:
        continue
      if step == stage.start:
        state = parallel.replicate(enter(state, stage))
      p_step, clock = None, Clock(config.batch_size, end)
      while step < stage.end:
        batch = parallel.shard({"image": next(batches)["image"]})
        if p_step is None:
          logger.info("Compiling stage %s.", stage.name)
          p_step = parallel.parallel_step(
            functools.partial(steps.train_step, experiment.setup, stage),
            kind=config.parallel,
          )
          hosts.compile_together(p_step, state, frozen, batch)
        state, values = p_step(state, frozen, batch)
        step += 1
        recent.append(values)
        jax.block_until_ready(recent[-1 - parallel.AHEAD : -parallel.AHEAD])
        for hook in hooks:
          hook(step, values)
        # Read once: a signal may come at any time.
        asked = interrupt.asked(step)
        saving = step % config.checkpoint_every == 0 or step == stage.end
        first = step == stage.start + 1
        writing = saving or first or step % config.log_every == 0
        if not writing and not asked:
          continue
        checkpoints.check()
        record = _average(step, recent, stage, checkpoints)
        error = None
        if writing:
          record |= clock.read(step)
          if saving:
            error = evaluator.held_out_error(state.variables)
            record |= diagnose(state.variables)
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
            **identity,
          )
        if writing:
          clock.log(step, stage, record)
        if asked:
          logger.info("Interrupted; saved step %d. Run again to go on.", step)
          return False
    if interrupt.unanswered:
      logger.info("Interrupted; saved the end. Run again to evaluate it.")
      return False
  return True


def _introduce(experiment, state):
  logger.info(
    "%d parameters, %d training examples, %d device(s), steps %d to %d: %s",
    sum(x.size for x in jax.tree.leaves(state.params)),
    len(experiment.splits.train),
    jax.device_count(),
    state.step,
    experiment.stages[-1].end,
    ", ".join(f"{stage.name} {stage.steps}" for stage in experiment.stages),
  )
  logger.info("%s", initial.describe(experiment.config))


def _average(step, recent, stage, checkpoints):
  """Averages the metrics; an error also says what to go back to."""
  try:
    return log.average(step, recent, first=TERMS)
  except log.Diverged as error:
    last = checkpoints.latest
    last = "no checkpoint yet" if last is None else f"step {last}"
    raise log.Diverged(
      f"{error} of stage {stage.name}; last good checkpoint: {last}."
    ) from None


class Clock:
  """Measures the speed since the last reading, and the time left at it."""

  def __init__(self, batch_size, end):
    self._batch_size, self._end = batch_size, end
    self._step, self._time = None, time.monotonic()

  def read(self, step):
    """Gives images_per_second since the last call.

    It is 0 at the first call, which would time the compilation of the stage.
    """
    now, speed = time.monotonic(), 0.0
    if self._step is not None:
      elapsed = max(now - self._time, 1e-9)
      speed = (step - self._step) * self._batch_size / elapsed
    self._step, self._time = step, now
    return {"images_per_second": speed}

  def log(self, step, stage, record):
    """Logs a line, and takes the pause of a checkpoint off the clock."""
    speed, left = record["images_per_second"], ""
    if speed:
      seconds = round((self._end - step) * self._batch_size / speed)
      time_left = datetime.timedelta(seconds=seconds)
      left = f", {speed:.0f} images/s, {time_left} left"
    values = ", ".join(
      f"{name} {record[name]:.4g}"
      for name in (*TERMS, "held_out_error")
      if name in record
    )
    logger.info("%s %d/%d: %s%s", stage.name, step, self._end, values, left)
    self._time = time.monotonic()


def untrained(experiment, run: Trained):
  """Makes the variables before any training, to compare with.

  They follow from the seed, also for a run that began with the networks of
  another (`config.init`); a ported backbone lies in the first checkpoint.
  """
  config = experiment.config
  if config.weights.resnet50 and not config.init.workdir:
    return load_trained(experiment.workdir, 0).variables
  return initial.untrained(config, run.model)


def evaluate(experiment: Experiment, run: Trained):
  """Evaluates a checkpoint: eval/DATASET.json, figures, the final table."""
  workdir, evaluator = experiment.workdir, experiment.evaluator
  variables, before, result = parallel.replicate(run.variables), None, None
  if evaluator.annotated:
    before = parallel.replicate(untrained(experiment, run))
  subject = evaluation.Subject(workdir, evaluator, run.step, variables, before)
  if evaluator.annotated:
    result = evaluation.evaluate(subject)
  # Not at the top: it imports Matplotlib, and days may go by without a figure.
  from c3_jax import figures, reporting

  with open_to_read(workdir, workdir) as checkpoints:
    # Images of the run; those of another dataset may be evaluated.
    n_train = checkpoints.notes(run.step)["n_train"]
  quality.write(subject, result, version=__version__, n_train=n_train)
  figures.draw_run(subject, result)
  if result is None:
    logger.info("No annotated train and test images: no regression.")
  else:
    print(evaluation.table(result), flush=True)
  print(f"figures: {subject.figures}", flush=True)
  reporting.write_beside(workdir)
  return result
