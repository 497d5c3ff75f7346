"""Where images come from: datasets, image files, the order of examples.

`load_splits` reads what `config.data` names. Each split is a `Dataset`, of
listed pairs a `PairedDataset`; batches are functions of (seed, step) alone.
Importing this room imports neither TensorFlow nor matplotlib.
"""

from c3_jax.data.protocols import Dataset, PairedDataset

__all__ = ["Dataset", "PairedDataset"]
