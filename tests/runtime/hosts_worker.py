"""One process of a run of several, on CPU devices; started by tests.

  python tests/hosts_worker.py PROCESS PROCESSES PORT WORKDIR

Trains five steps in WORKDIR/pmap and WORKDIR/shard_map, by these; then in
WORKDIR/stopped, until a SIGTERM; then in WORKDIR/lost, until process 1 kills
itself at the third step.
"""

import logging
import os
import pathlib
import signal
import sys

import jax

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from c3_jax.runs import checkpoints
from c3_jax.runtime import compilation, hosts, parallel
from c3_jax.training import loop
from configs import synthetic
from tests.reference import float64

DEVICES = 4
STEPS = 5
LONG = 10**6


def get_config(steps=STEPS):
  """The test configuration: some steps of one stage and few layers."""
  config = synthetic.get_config("test").unlock()
  config.batch_size = 16
  config.log_every = 1
  config.checkpoint_every = 1 if steps == STEPS else steps
  # Neither held-out images nor landmarks to look at: nothing to compile.
  config.data.n_fit = 4
  config.eval.diagnostics.images = 0
  config.model.backbone.stage_sizes = (0, 0, 1, 1)
  config.model.dtype = float64.DTYPE
  config.perceptual.taps = ("input", "conv1_2")
  config.stages.pairs.steps = steps
  config.stages.flow.steps = 0
  config.stages.cycle.steps = 0
  return config


class Death(logging.Handler):
  """Kills this process at the third step."""

  def emit(self, record):
    if f"pairs 3/{LONG}" in record.getMessage():
      os.kill(os.getpid(), signal.SIGKILL)


def main(process, processes, port, workdir):
  """Trains as process `process` of `processes`."""
  jax.config.update("jax_num_cpu_devices", DEVICES // processes)
  hosts.initialize(f"localhost:{port}", processes, process)
  compilation.enable()
  logger = logging.getLogger("c3_jax")
  logger.addHandler(logging.StreamHandler(sys.stdout))
  logger.setLevel(logging.INFO)
  logger.propagate = False
  sys.modules["tensorflow"] = None  # Events take long to import.
  checkpoints.RECENT = STEPS  # The first step is looked at, too.
  with float64.program():
    for kind in parallel.KINDS:
      config = get_config()
      config.parallel = kind
      loop.train_and_evaluate(config, f"{workdir}/{kind}", mode="train")
    config = get_config(steps=LONG)
    loop.train_and_evaluate(config, f"{workdir}/stopped", mode="train")
    if process == 1:
      logger.addHandler(Death())
    with hosts.ending_together():
      loop.train_and_evaluate(config, f"{workdir}/lost", mode="train")


if __name__ == "__main__":
  main(*map(int, sys.argv[1:4]), sys.argv[4])
