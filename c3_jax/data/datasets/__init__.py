"""Readers of the datasets, one module each: the file layouts that they expect.

Each loader takes the folder, a `geometry.Frame` and

  split   "train", to learn from, without points; "fit", annotated training
          images, for the regression; or "test"
  cache   keep the decoded images in memory: an ArrayDataset, else a
          StreamingDataset

and raises `UserError` if the folder is not as its module describes.
`tfds_source` and `tfds_builders`, which need tensorflow-datasets, are imported
where they are used.
"""

from c3_jax.data.datasets.aflw import load_aflw
from c3_jax.data.datasets.celeba import load_celeba
from c3_jax.data.datasets.folder import load_folder
from c3_jax.data.datasets.lsun import load_lsun
from c3_jax.data.datasets.packed import load_packed
from c3_jax.data.datasets.pf_pascal import load_pf_pascal
