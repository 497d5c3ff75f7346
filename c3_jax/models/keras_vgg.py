"""VGG weights in Keras' HDF5 files.

Every convolution is a kernel [h, w, in, out] and a bias [out], whose names say
block and place in one of three ways:

  ../block1_conv1/..                    Keras' VGG16 and VGG19, as downloaded,
                                        and model.save("NAME.h5")
  block1/layers/conv2d, conv2d_1, ..    models of blocks, such as HED's
  layers/conv2d, conv2d_1, ..           save_weights("NAME.weights.h5"): counted
                                        through the network
"""

import re

import numpy as np

from c3_jax.errors import UserError
from c3_jax.models.vgg import CONVOLUTIONS

SUFFIXES = (".h5", ".hdf5")
LARGEST = 512 * 512 * 9  # Numbers of the largest kernel.
OPTIMISER = re.compile(r"(.*/)?(optimizer|training_config)[^/]*/.*")
NAMED = re.compile(r"(?:.*/)?block(\d)_conv(\d)/.*")
BLOCKS = re.compile(r"block(\d)/layers/conv2d(?:_(\d+))?/vars/\d")
COUNTED = re.compile(r"(?:.*/)?layers/conv2d(?:_(\d+))?/vars/\d")


def read(path) -> dict[str, np.ndarray]:
  """Reads the convolutions of a file: "block1_conv1.weight" -> array.

  Arrays are in PyTorch's layout, as `porting.port` takes them.

  Raises:
    UserError: h5py is not installed, or the file is no sound one.
  """
  try:
    import h5py
  except ImportError as error:
    raise UserError(
      f"{path} can only be read with h5py, which is not installed: run pip "
      "install h5py, or give the weights as .safetensors."
    ) from error
  try:
    with h5py.File(path, "r") as file:
      found = {}
      # Links to elsewhere, in this file or in another, are not followed.
      file.visititems(
        lambda name, item: (
          found.update({name: item}) if isinstance(item, h5py.Dataset) else None
        )
      )
      arrays = _by_layer(found, path)
  except UserError:
    raise
  # A damaged or hostile file can make the library raise anything.
  except Exception as error:
    raise UserError(
      f"{path} is not a sound HDF5 file ({type(error).__name__}): get it again."
    ) from error
  return arrays


def _by_layer(datasets, path):
  """Names the datasets {name: HDF5 dataset} of convolutions by their layer."""
  arrays, counted = {}, {}
  for name, item in datasets.items():
    if item.ndim not in (1, 4) or OPTIMISER.fullmatch(name):
      continue
    leaf = "weight" if item.ndim == 4 else "bias"
    if match := NAMED.fullmatch(name):
      key = f"block{match[1]}_conv{match[2]}.{leaf}"
    elif match := BLOCKS.fullmatch(name):
      key = f"block{match[1]}_conv{int(match[2] or 0) + 1}.{leaf}"
    elif match := COUNTED.fullmatch(name):
      counted[int(match[1] or 0), leaf] = _array(item, name, path)
      continue
    else:
      continue
    if key in arrays:
      raise UserError(
        f"{path} holds several networks: {key} is there twice. Save one alone."
      )
    arrays[key] = _array(item, name, path)
  return arrays or _by_count(counted)


def _by_count(counted):
  """Names convolutions {(number, leaf): array} by what VGG has so many."""
  count = len({number for number, _ in counted})
  for blocks in CONVOLUTIONS.values():
    places = [(b + 1, i + 1) for b, n in enumerate(blocks) for i in range(n)]
    if len(places) == count:
      return {
        "block{}_conv{}.{}".format(*places[number], leaf): value
        for (number, leaf), value in sorted(counted.items())
        if number < count
      }
  return {f"conv2d_{number}.{leaf}": x for (number, leaf), x in counted.items()}


def _array(item, name, path):
  """Reads a dataset into PyTorch's layout."""
  if item.size > LARGEST:
    raise UserError(
      f"{path} is no VGG: {name} has {item.size:,} numbers, more than any "
      "convolution of one. Give the file of a VGG."
    )
  value = item[()]
  return value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
