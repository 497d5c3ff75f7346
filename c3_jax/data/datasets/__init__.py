"""Readers of the datasets, one module each: the file layouts that they expect.

Each module has one loader of (root, frame, ..) and checks what it reads before
it decodes images. `tfds_source` and `tfds_builders`, which need
tensorflow-datasets, are imported where they are used.
"""

from c3_jax.data.datasets.aflw import load_aflw
from c3_jax.data.datasets.celeba import load_celeba
from c3_jax.data.datasets.folder import load_folder
from c3_jax.data.datasets.lsun import load_lsun
from c3_jax.data.datasets.packed import load_packed
from c3_jax.data.datasets.pf_pascal import load_pf_pascal

__all__ = [
  "load_aflw",
  "load_celeba",
  "load_folder",
  "load_lsun",
  "load_packed",
  "load_pf_pascal",
]
