"""C3: landmarks without annotations, by cycle-consistent correspondence.

Prediction with a trained run:

  import c3_jax

  model = c3_jax.load("runs/mine")
  for found in model.predict("photos/"):
    print(found.name, found.points, found.confidence)

The commands, `c3-jax train` among them, are listed by `c3-jax --help`.
"""

import os
import sys
from typing import TYPE_CHECKING

from c3_jax.errors import UserError
from c3_jax.runtime import stop

# To import a command takes seconds, in which it may be stopped. Other programs
# keep their handlers.
if sys.argv[:1] == ["-m"] and stop.is_command(sys.orig_argv):
  stop.at_once()

if TYPE_CHECKING:
  from c3_jax.inference import Predictor

__all__ = ["UserError", "__version__", "load"]

__version__ = "0.2.0"


def load(
  workdir: str | os.PathLike,
  step: int | None = None,
  *,
  regressor: str | os.PathLike = "",
  batch_size: int = 32,
) -> "Predictor":
  """Loads a trained run: a `c3_jax.inference.Predictor`.

  Args:
    workdir: folder of the run.
    step: int, of a checkpoint; by default the one with the best evaluation.
    regressor: eval/DATASET.json of the run, to estimate annotated points too.
    batch_size: images that the network sees at once.

  Raises:
    UserError: there is no such run or checkpoint.
  """
  # JAX and the networks take seconds to import.
  from c3_jax import inference

  return inference.load(
    workdir, step, regressor=regressor, batch_size=batch_size
  )
