"""What lies in the folder of a run: config, checkpoints, metrics, reports."""

import importlib
from typing import TYPE_CHECKING

from c3_jax.runs.config import flat, load_config, under, write_config

if TYPE_CHECKING:
  from c3_jax.runs.checkpoints import Checkpoints, Damaged, open_to_read
  from c3_jax.runs.lock import Lock
  from c3_jax.runs.trained import Trained, load_trained

# These need JAX and Orbax, which take seconds to import; configs and reports
# are read without.
_LATER = {
  "Checkpoints": "checkpoints",
  "Damaged": "checkpoints",
  "open_to_read": "checkpoints",
  "Lock": "lock",
  "Trained": "trained",
  "load_trained": "trained",
}
__all__ = [*_LATER, "flat", "load_config", "under", "write_config"]


def __getattr__(name):
  if name not in _LATER:
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
  return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
