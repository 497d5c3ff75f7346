"""Keras' HDF5 files, in the layouts that Keras writes, and hostile ones."""

import sys

import h5py
import numpy as np
import pytest

from c3_jax import port_weights
from c3_jax.errors import UserError
from c3_jax.models import keras_vgg
from c3_jax.models.vgg import CONVOLUTIONS


def layers(arch="vgg16"):
  """Tiny random convolutions: "block1_conv1" -> (kernel, bias), in order."""
  rng = np.random.default_rng(len(arch))
  result, channels = {}, 3
  for block, count in enumerate(CONVOLUTIONS[arch], start=1):
    for i in range(1, count + 1):
      kernel = rng.normal(size=(3, 3, channels, block)).astype("f4")
      result[f"block{block}_conv{i}"] = kernel, kernel[0, 0, 0].copy()
      channels = block
  return result


# Names of a layer's kernel and bias. The first is Keras' download of 2016, the
# others what Keras 3 writes: model.save, save_weights, and HED's.
def downloaded(name, number):
  """Names of Keras' published files."""
  return f"{name}/{name}_W_1:0", f"{name}/{name}_b_1:0"


def saved(name, number):
  """Names of model.save("NAME.h5")."""
  stem = f"model_weights/{name}/vgg16/{name}"
  return f"{stem}/kernel", f"{stem}/bias"


def counted(name, number):
  """Names of save_weights("NAME.weights.h5")."""
  layer = f"layers/conv2d_{number}" if number else "layers/conv2d"
  return f"{layer}/vars/0", f"{layer}/vars/1"


def blocks(name, number):
  """Names of a model of blocks, each with layers of its own."""
  block, i = name[5], int(name[-1])
  layer = f"block{block}/layers/conv2d" + (f"_{i - 1}" if i > 1 else "")
  return f"{layer}/vars/0", f"{layer}/vars/1"


LAYOUTS = (downloaded, saved, counted, blocks)


def write(path, layout, arch="vgg16", extra=None):
  """Writes the layers of a network, and whatever else: the path."""
  with h5py.File(path, "w") as file:
    for number, (name, arrays) in enumerate(layers(arch).items()):
      for key, array in zip(layout(name, number), arrays):
        file[key] = array
    for key, array in (extra or {}).items():
      file[key] = array
  return path


@pytest.mark.parametrize("arch", CONVOLUTIONS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_layers(tmp_path, layout, arch):
  """Kernels [out, in, h, w] and biases under Keras' names, nothing else."""
  extra = {
    "dsn1/vars/0": np.zeros((1, 1, 2, 1), "f4"),
    "fc1/fc1_W_1:0": np.zeros((4, 2), "f4"),
    "optimizer_weights/adam/block1_conv1/kernel/m": np.zeros((3, 3, 3, 1)),
  }
  found = keras_vgg.read(write(tmp_path / "x.h5", layout, arch, extra))
  want = layers(arch)
  assert len(found) == 2 * len(want)
  for name, (kernel, bias) in want.items():
    np.testing.assert_array_equal(
      found[f"{name}.weight"], np.moveaxis(kernel, (3, 2), (0, 1))
    )
    np.testing.assert_array_equal(found[f"{name}.bias"], bias)


def test_files_that_are_not_whole_are_named(tmp_path):
  """One line for a cut file, a text and a file of two networks."""
  path = write(tmp_path / "x.h5", downloaded)
  content = path.read_bytes()
  for part in (content[: len(content) // 2], b"", b"no weights"):
    path.write_bytes(part)
    with pytest.raises(UserError, match="x.h5 is not a sound HDF5 file"):
      keras_vgg.read(path)
  names = dict(zip(saved("block1_conv1", 0), layers()["block1_conv1"]))
  with pytest.raises(UserError, match="several networks.*block1_conv1"):
    keras_vgg.read(write(tmp_path / "two.h5", downloaded, extra=names))


def test_a_huge_array_is_not_read(tmp_path):
  """A file of a few kilobytes may claim any shape."""
  path = write(tmp_path / "x.h5", downloaded)
  with h5py.File(path, "a") as file:
    del file["block1_conv2"]
    file.create_dataset(
      "block1_conv2/W", (10**4,) * 4, chunks=(1, 1, 1, 100), dtype="f4"
    )
  with pytest.raises(UserError, match="no VGG: block1_conv2/W"):
    keras_vgg.read(path)


def test_keras_files_must_say_their_input(tmp_path):
  """The shapes tell nothing: no input, no port; then the shapes are checked."""
  path = write(tmp_path / "x.h5", downloaded)
  with pytest.raises(UserError, match="--vgg_input=caffe"):
    port_weights.port_file(path, "vgg16")
  with pytest.raises(UserError, match="does not fit vgg16: .*block1_conv1"):
    port_weights.port_file(path, "vgg16", "caffe")


def test_without_h5py_its_package_is_named(tmp_path, monkeypatch):
  """HDF5 needs a package of its own."""
  path = write(tmp_path / "x.h5", downloaded)
  monkeypatch.setitem(sys.modules, "h5py", None)
  with pytest.raises(UserError, match="x.h5 .*pip install h5py"):
    port_weights.read(path)
