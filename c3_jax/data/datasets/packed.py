"""Datasets that `c3_jax.pack` wrote: one .npz file a split."""

import os

from c3_jax.data import in_memory, pairs
from c3_jax.data.contract import Dataset
from c3_jax.errors import UserError
from c3_jax.geometry import Frame
from c3_jax.runtime import arrays


def load_packed(path: str | os.PathLike, frame: Frame) -> Dataset:
  """Reads a packed split: an ArrayDataset or PairDataset.

  The file keeps the crop rule it was packed by.

  Raises:
    UserError: if the file is no such file, or its images have another size.
  """
  if "pairs" in arrays.names(path):
    dataset = pairs.PairDataset.load(path)
  else:
    dataset = in_memory.ArrayDataset.load(path, image_size=frame.image_size)
  if dataset.load_size != frame.load_size:
    raise UserError(
      f"{path} holds images of {dataset.load_size} pixels and "
      f"config.data.load_size is {frame.load_size}: set it to "
      f"{dataset.load_size}, or pack them again."
    )
  return dataset
