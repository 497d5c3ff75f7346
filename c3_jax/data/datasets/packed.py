"""Datasets that `c3_jax.pack` wrote: one .npz file a split. No TensorFlow."""

from c3_jax.data import in_memory, pairs
from c3_jax.errors import UserError
from c3_jax.runtime import files


def load_packed(path, *, image_size, load_size):
  """Reads a packed split.

  Args:
    path: file of `ArrayDataset.save` or `PairDataset.save`.
    image_size: side of the model frame in pixels.
    load_size: side of the pictures in pixels.

  Returns:
    ArrayDataset or PairDataset.

  Raises:
    UserError: if the file is no such file, or its pictures have another size.
  """
  if files.is_npz_with(path, "pairs"):
    dataset = pairs.PairDataset.load(path)
  else:
    dataset = in_memory.ArrayDataset.load(path, image_size=image_size)
  if dataset.load_size != load_size:
    raise UserError(
      f"{path} holds pictures of {dataset.load_size} pixels and "
      f"config.data.load_size is {load_size}: set it to "
      f"{dataset.load_size}, or pack them again."
    )
  return dataset
