"""What lies in the folder of a run: config, checkpoints, metrics, reports."""

from c3_jax.runs.checkpoints import Checkpoints, Damaged, open_to_read
from c3_jax.runs.config import flat, load_config, under, write_config
from c3_jax.runs.lock import Lock
from c3_jax.runs.trained import Trained, load_trained
