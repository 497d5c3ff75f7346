"""Command line: trains and evaluates a config.

python -m c3_jax.main --config=configs/synthetic.py --workdir=runs/faces
"""

from absl import flags
from ml_collections import config_flags

from c3_jax import cli, compilation, metrics, train

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Config file, configs/X.py[:arguments].", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_MODE = flags.DEFINE_enum(
  "mode", train.MODES[0], train.MODES, "What to do in the workdir."
)


def program():
  """Runs what the flags say: the exit status."""
  compilation.enable()
  try:
    train.train_and_evaluate(_CONFIG.value, _WORKDIR.value, mode=_MODE.value)
  except metrics.Diverged as error:
    return cli.fail(error, status=1)
  return 0


if __name__ == "__main__":
  cli.main(program, required=["config", "workdir"])
