"""Command line: trains and evaluates a config.

python -m c3_jax.main --config=configs/synthetic.py --workdir=runs/faces
"""

import logging
import sys

import absl.logging
from absl import app, flags
from ml_collections import config_flags

from c3_jax import metrics, train
from c3_jax.errors import UserError

_CONFIG = config_flags.DEFINE_config_file(
  "config", None, "Config file, configs/X.py[:arguments].", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
_MODE = flags.DEFINE_enum(
  "mode", train.MODES[0], train.MODES, "What to do in the workdir."
)


def run(argv):
  """Parses nothing more; turns a user's mistake into one line and exit 2."""
  if len(argv) > 1:
    return fail(f"unknown argument {argv[1]!r}; every option starts with --.")
  log_to_stderr()
  try:
    train.train_and_evaluate(_CONFIG.value, _WORKDIR.value, mode=_MODE.value)
  except UserError as error:
    return fail(error)
  except OSError as error:
    return fail(str(error).strip().splitlines()[-1])
  except metrics.Diverged as error:
    return fail(error, status=1)
  return 0


def log_to_stderr():
  """Shows c3_jax's own log, not the libraries' (Orbax alone fills screens)."""
  absl.logging.set_verbosity(absl.logging.WARNING)
  handler = logging.StreamHandler()
  handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
  logger = logging.getLogger("c3_jax")
  logger.addHandler(handler)
  logger.setLevel(logging.INFO)
  logger.propagate = False


def fail(message, *, status=2):
  """Prints one line and gives the exit status."""
  print(f"c3_jax: {message}", file=sys.stderr, flush=True)
  return status


def parse(argv):
  """absl's flags; their errors, too, are one line and exit 2."""
  try:
    return flags.FLAGS(argv)
  except (
    flags.Error,
    UserError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    OSError,
  ) as error:
    sys.exit(fail(str(error).strip().splitlines()[0]))


if __name__ == "__main__":
  flags.mark_flags_as_required(["config", "workdir"])
  app.run(run, flags_parser=parse)
