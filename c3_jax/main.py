"""Command line: trains and evaluates a config.

python -m c3_jax.main --config=configs/synthetic.py --workdir=runs/faces
"""

from absl import flags

from c3_jax.runs import log
from c3_jax.runtime import cli, compilation, hosts
from c3_jax.training import loop


def define_flags():
  """Defines the flags of this command."""
  cli.define_config()
  cli.define_path("workdir", None, "Folder of the run.")
  flags.DEFINE_enum(
    "mode", loop.MODES[0], loop.MODES, "What to do in the workdir."
  )
  flags.DEFINE_string(
    "coordinator",
    "",
    "For several processes: HOST:PORT of the first, or auto on a cluster that "
    "JAX knows (SLURM, Open MPI, TPU pods).",
  )
  flags.DEFINE_integer(
    "num_processes", None, "Number of processes, with HOST:PORT."
  )
  flags.DEFINE_integer(
    "process_id", None, "Number of this process, from 0, with HOST:PORT."
  )


def program():
  """Runs the mode that is asked for and returns the exit status."""
  hosts.initialize(
    flags.FLAGS.coordinator, flags.FLAGS.num_processes, flags.FLAGS.process_id
  )
  compilation.enable()
  try:
    with hosts.ending_together():
      loop.train_and_evaluate(
        flags.FLAGS.config, flags.FLAGS.workdir, mode=flags.FLAGS.mode
      )
  except log.Diverged as error:
    return cli.fail(error, status=1)
  return 0


if __name__ == "__main__":
  cli.main(program, define_flags, required=["config", "workdir"])
