"""Ports PyTorch's ImageNet weights of the backbone and the VGG.

python -m c3_jax.port_weights --resnet50=FILE --vgg16=FILE --out=DIR

A VGG may also come from Keras' HDF5 files, with --vgg_input=caffe.
"""

import datetime
import hashlib
import pathlib
import pickle
import warnings

import numpy as np
import safetensors.numpy
from absl import flags

from c3_jax.errors import UserError
from c3_jax.models import keras_vgg, porting, vgg_input, weight_files
from c3_jax.runtime import cli
from c3_jax.runtime.output import Output

SAFE_TORCH = (2, 6)
PICKLES = (".pth", ".pt", ".bin")


def define_flags():
  """Defines the flags of this command."""
  for network in porting.NETWORKS:
    keras = ", or .h5 of Keras" if network.startswith("vgg") else ""
    cli.define_path(
      network,
      "",
      f"Weights of {network}: .safetensors, or .pth of PyTorch{keras}.",
    )
  words = "; ".join(
    f"{name}: {x.words}" for name, x in vgg_input.INPUTS.items()
  )
  flags.DEFINE_enum(
    "vgg_input",
    None,
    vgg_input.NAMES,
    "What images the VGG's weights take. imagenet, the default but of .h5: RGB "
    f"normalised as in PyTorch; {words}.",
  )
  cli.define_out("Folder of the ported weights.")


def program():
  """Ports the given files; writes nothing unless all fit."""
  given = {name: flags.FLAGS[name].value for name in porting.NETWORKS}
  files = {name: file for name, file in given.items() if file}
  if not files:
    options = ", ".join(f"--{network}=FILE" for network in porting.NETWORKS)
    raise UserError(f"no weights are given: use one or more of {options}.")
  images = flags.FLAGS.vgg_input
  if images and not any(network.startswith("vgg") for network in files):
    raise UserError(
      "--vgg_input is about a VGG, and none is given: leave it out."
    )
  ported = {
    network: port_file(pathlib.Path(file), network, images)
    for network, file in files.items()
  }
  pathlib.Path(flags.FLAGS.out).mkdir(parents=True, exist_ok=True)
  for network in ported:
    for path, is_ours in weight_files.outputs(flags.FLAGS.out, network).items():
      Output(
        path,
        is_ours,
        inputs=files.values(),
        overwrite=flags.FLAGS.overwrite,
      ).check()
  for network, (variables, about) in ported.items():
    path = weight_files.save(variables, about, flags.FLAGS.out, network)
    count = sum(x.size for x in variables.values())
    print(f"{path}: {count:,} numbers from {about['source']}", flush=True)


def port_file(path, network, images=None):
  """Reads the file of a network: (variables, about) for `weight_files.save`.

  `images` is a name of `vgg_input.NAMES`: what a VGG's weights take. None is
  "imagenet", but of Keras' files, which must say.

  Raises:
    UserError: the file cannot be read, or holds something else.
  """
  is_vgg, is_keras = (
    network.startswith("vgg"),
    path.suffix in keras_vgg.SUFFIXES,
  )
  if is_vgg and is_keras and not images:
    raise UserError(
      f"{path} does not say what images its weights take: add "
      "--vgg_input=caffe for Keras' own VGG16 and VGG19, --vgg_input=hed for "
      "HED's, --vgg_input=imagenet for weights that came from PyTorch."
    )
  variables = porting.port(
    read(path), *porting.NETWORKS[network], origin=path, title=network
  )
  source = path.name
  if is_vgg and images not in (None, "imagenet"):
    variables = vgg_input.fold(variables, images)
    # Part of the name: the same file for other images is another network.
    source += f", for input {images}"
  with path.open("rb") as file:
    digest = hashlib.file_digest(file, "sha256").hexdigest()
  return variables, {
    "network": network,
    "source": source,
    "source_sha256": digest,
    "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
  }


def read(path):
  """Reads a state dict, dict name -> array, without running code of the file.

  Raises:
    UserError: no such file, another format, or a damaged or unsafe one.
  """
  if not path.is_file():
    raise UserError(f"{path} is not a file: give the file of the weights.")
  if path.suffix in keras_vgg.SUFFIXES:
    return keras_vgg.read(path)
  if path.suffix == ".safetensors":
    try:
      return safetensors.numpy.load_file(path)
    except (AttributeError, KeyError) as error:
      # NumPy has no 8-bit floats, for one.
      raise UserError(
        f"{path} has numbers of a type that cannot be read ({error}): save it "
        "as float32."
      ) from error
    # A damaged file can make the reader raise anything.
    except Exception as error:
      raise UserError(
        f"{path} is not a sound safetensors file ({error}): get it again."
      ) from error
  if path.suffix in PICKLES:
    return _read_torch(path)
  raise UserError(
    f"{path} is neither .safetensors nor {', '.join(PICKLES)} nor, for a VGG, "
    f"{keras_vgg.SUFFIXES[0]}: name it by what it is."
  )


def _read_torch(path):
  try:
    import torch
  except ImportError as error:
    raise UserError(
      f"{path} can only be read with PyTorch, which is not installed: run pip "
      "install torch, or give the weights as .safetensors."
    ) from error
  version = tuple(map(int, torch.__version__.split(".")[:2]))
  if version < SAFE_TORCH:
    raise UserError(
      f"{path} would be read by PyTorch {torch.__version__}, in which a pickle "
      "can run programs (CVE-2025-32434): update it to 2.6, or give the "
      "weights as .safetensors."
    )
  try:
    with warnings.catch_warnings():
      # They are about pickle protocols; errors are raised.
      warnings.simplefilter("ignore")
      # A pickle is a program; weights_only does not run it.
      state = torch.load(path, map_location="cpu", weights_only=True)
    # As training scripts save it.
    for name in ("state_dict", "model"):
      if isinstance(state.get(name), dict):
        state = state[name]
    return {str(name): _as_array(value) for name, value in state.items()}
  except pickle.UnpicklingError as error:
    # PyTorch's own message recommends switching weights_only off.
    raise UserError(
      f"{path} is damaged or holds more than tensors, which could run any "
      "program; nothing of it was run. Get it from its source, or give the "
      "weights as .safetensors."
    ) from error
  # A damaged or hostile file can make PyTorch raise anything.
  except Exception as error:
    raise UserError(
      f"{path} is not a sound file of a state dict ({type(error).__name__}): "
      "get it again, or give the weights as .safetensors."
    ) from error


def _as_array(tensor):
  # NumPy itself has no bfloat16.
  tensor = tensor.detach()
  tensor = tensor.float() if tensor.is_floating_point() else tensor
  return np.asarray(tensor)


if __name__ == "__main__":
  cli.main(program, define_flags, required=["out"])
