"""Where images come from: datasets, image files, the order of examples.

`load_splits` reads what `config.data` names. Each split is a `Dataset`, of
listed pairs a `PairedDataset`; its batches are a function of (seed, step)
alone. `frame_of` reads what a run sees of image files. Importing this room
imports neither TensorFlow nor matplotlib.
"""

from c3_jax.data.contract import Dataset, PairedDataset
from c3_jax.data.image_files import Unreadable, read_batches
from c3_jax.data.in_memory import ArrayDataset
from c3_jax.data.load import SPLITS, Splits, load_split, load_splits
from c3_jax.data.pairs import PairDataset
from c3_jax.data.published import frame_of
from c3_jax.data.streaming import StreamingDataset
