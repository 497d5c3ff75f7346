"""Ported weights: others' names and layouts to ours, and ported files.

A ported file is DIR/NETWORK.safetensors: our variables under their paths
("params/conv1/kernel"), float32, in Flax's layouts; where they come from is in
its header and, to be read, in DIR/NETWORK.json.
"""

import contextlib
import json
import pathlib
import re

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy

from c3_jax.errors import UserError
from c3_jax.models.resnet import ResNet
from c3_jax.models.vgg import VGG
from c3_jax.runtime import files

# Which layer is called what. First our name (a pattern, whose groups the others
# may use; stage and layer also counted from 0), then, a column each: that of
# torchvision, timm and torch.hub, and that of Hugging Face's transformers.
RESNET = (
  ("conv1", "conv1", "embedder.embedder.convolution"),
  ("bn1", "bn1", "embedder.embedder.normalization"),
  (
    r"layer(?P<stage>\d)_(?P<block>\d+)/conv(?P<layer>\d)",
    "layer{stage}.{block}.conv{layer}",
    "encoder.stages.{stage0}.layers.{block}.layer.{layer0}.convolution",
  ),
  (
    r"layer(?P<stage>\d)_(?P<block>\d+)/bn(?P<layer>\d)",
    "layer{stage}.{block}.bn{layer}",
    "encoder.stages.{stage0}.layers.{block}.layer.{layer0}.normalization",
  ),
  (
    r"layer(?P<stage>\d)_(?P<block>\d+)/downsample_conv",
    "layer{stage}.{block}.downsample.0",
    "encoder.stages.{stage0}.layers.{block}.shortcut.convolution",
  ),
  (
    r"layer(?P<stage>\d)_(?P<block>\d+)/downsample_bn",
    "layer{stage}.{block}.downsample.1",
    "encoder.stages.{stage0}.layers.{block}.shortcut.normalization",
  ),
)
# torchvision and timm call convolution I of block B `features.N`, and count the
# ReLUs and the pools, too: the numbers N of each block.
VGG16_FEATURES = (
  (0, 2),
  (5, 7),
  (10, 12, 14),
  (17, 19, 21),
  (24, 26, 28),
)
VGG19_FEATURES = (
  (0, 2),
  (5, 7),
  (10, 12, 14, 16),
  (19, 21, 23, 25),
  (28, 30, 32, 34),
)


def vgg_table(features):
  """Rows ("convB_I", "features.N"), in the form of `RESNET`."""
  return tuple(
    (f"conv{block}_{i}", f"features.{number}")
    for block, numbers in enumerate(features, 1)
    for i, number in enumerate(numbers, 1)
  )


# What a layer holds: our collection and leaf, and PyTorch's name for it.
LEAVES = {
  ("params", "kernel"): "weight",
  ("params", "scale"): "weight",
  ("params", "bias"): "bias",
  ("batch_stats", "mean"): "running_mean",
  ("batch_stats", "var"): "running_var",
}
# What we can port: all of a network but its classifier, and its table.
NETWORKS = {
  "resnet50": (ResNet(), RESNET),
  "vgg16": (VGG("vgg16", taps=("conv5_3",)), vgg_table(VGG16_FEATURES)),
  "vgg19": (VGG("vgg19", taps=("conv5_4",)), vgg_table(VGG19_FEATURES)),
}
# DataParallel, and modules that hold the network, put a name before each.
WRAPPERS = re.compile(r"^((module|model|resnet|timm_model)\.)*")
# Expected in a file, and of no use here.
EXTRAS = re.compile(
  r"((fc|classifier|head|pre_logits)\..*|.*\bnum_batches_tracked)", re.DOTALL
)


def shapes(module):
  """dict path -> shape of a network's variables, "params/conv1/kernel"."""
  images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  variables = jax.eval_shape(
    lambda images: module.init(jax.random.key(0), images), images
  )
  return flat_shapes(variables)


def flat_shapes(variables):
  """dict path -> shape of nested dicts of arrays."""
  flat = flax.traverse_util.flatten_dict(variables, sep="/")
  return {path: x.shape for path, x in flat.items()}


def namings(paths, table):
  """How others call our variables.

  Args:
    paths: ours, such as "params/layer1_0/conv1/kernel".
    table: see `RESNET`.

  Returns:
    One dict a naming: name -> path, "layer1.0.conv1.weight" -> ours.
  """
  result = [{} for _ in table[0][1:]]
  for path in paths:
    collection, *layer, leaf = path.split("/")
    layer = "/".join(layer)
    for ours, *others in table:
      match = re.fullmatch(ours, layer)
      if not match:
        continue
      groups = match.groupdict()
      groups |= {f"{k}0": int(v) - 1 for k, v in groups.items()}
      for naming, other in zip(result, others, strict=True):
        name = f"{other.format(**groups)}.{LEAVES[collection, leaf]}"
        naming[name] = path
  return result


def port(state, module, table, *, origin, title):
  """Turns a PyTorch state dict into our variables.

  Args:
    state: dict name -> array in PyTorch's layouts, of any float type; the
      classifier and `num_batches_tracked` are left aside.
    module: our network, whose variables are wanted.
    table: see `RESNET`.
    origin: the file, for errors.
    title: what the network is called, for errors.

  Returns:
    dict path -> float32 array, for every variable of `module`.

  Raises:
    UserError: names everything that is missing, superfluous, of the wrong
      shape or type, or not finite.
  """
  state = unwrap(state, origin)
  wanted = shapes(module)
  naming = max(
    namings(wanted, table), key=lambda names: len(names.keys() & state.keys())
  )
  if not naming.keys() & state.keys():
    first = f" (the first is {next(iter(state))!r})" if state else ""
    raise UserError(
      f"{origin} holds no {title}: none of its {len(state)} tensors has a name "
      f"of that network{first}.{_advice(state, title)}"
    )
  faults = _faults(state, naming, wanted)
  if faults:
    raise UserError(
      f"{origin} does not fit {title}: {'; '.join(faults)}."
      f"{_advice(state, title)}"
    )
  return {
    path: _to_flax(np.asarray(state[name], np.float32))
    for name, path in naming.items()
  }


def unwrap(state, origin):
  """The state without what DataParallel or a wrapper put before each name."""
  result = {WRAPPERS.sub("", name): value for name, value in state.items()}
  if len(result) != len(state):
    raise UserError(
      f"{origin} holds several networks: some names differ only by what "
      "stands before them. Save the state dict of one network."
    )
  return result


def _to_flax(value):
  """PyTorch's layout [out, in, h, w] of a convolution to [h, w, in, out]."""
  value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
  return np.ascontiguousarray(value)


def _torch_shape(shape):
  return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape


def _faults(state, naming, wanted):
  """What keeps a state from being ported; one text a kind, [] if nothing."""
  missing = [name for name in naming if name not in state]
  superfluous, wrong, infinite = [], [], []
  for name, value in state.items():
    floating = jnp.issubdtype(value.dtype, jnp.floating)
    if name not in naming:
      if not EXTRAS.fullmatch(name):
        superfluous.append(repr(name))
        continue
    elif not floating:
      wrong.append(f"{name} of type {value.dtype}")
    elif value.shape != _torch_shape(wanted[naming[name]]):
      shape = _torch_shape(wanted[naming[name]])
      wrong.append(f"{name} {value.shape} in place of {shape}")
    # The classifier's numbers, too, tell a damaged file from a sound one.
    if floating and not np.isfinite(np.asarray(value, np.float32)).all():
      infinite.append(repr(name))
  kinds = {
    "missing": missing,
    "superfluous": superfluous,
    "of another shape or type": wrong,
    "not finite": infinite,
  }
  return [f"{kind}: {', '.join(x)}" for kind, x in kinds.items() if x]


def _advice(state, title):
  """The mend: the right option, where the state is a network we know."""
  for network, (module, table) in NETWORKS.items():
    wanted = shapes(module)
    for naming in namings(wanted, table):
      if naming.keys() <= state.keys() and not _faults(state, naming, wanted):
        return f" It is a {network}: pass it with --{network}."
  return (
    f" Give the weights of a {title} as torchvision, timm or transformers "
    "save them."
  )


def save(variables, about, folder, network):
  """Writes folder/NETWORK.safetensors and .json; each whole, or not at all.

  Args:
    variables: dict path -> float32 array.
    about: dict of strings: network, source, source_sha256, date.
    folder: made if missing.
    network: a name of `NETWORKS`.

  Returns:
    The path of the first.
  """
  folder = pathlib.Path(folder)
  folder.mkdir(parents=True, exist_ok=True)
  target = folder / f"{network}.safetensors"
  for path, content in (
    (target, safetensors.numpy.save(variables, metadata=about)),
    (target.with_suffix(".json"), json.dumps(about, indent=1).encode() + b"\n"),
  ):
    with files.write_whole(path) as file:
      file.write(content)
  return target


def load(folder, network, *, key):
  """Reads the variables that `save` wrote.

  Args:
    folder, network: as given to `save`.
    key: the config key that names the folder, for errors.

  Returns:
    dict path -> float32 array.

  Raises:
    UserError: there is no such file, or it is damaged.
  """
  with _opened(folder, network, key) as file:
    return {path: file.get_tensor(path) for path in file.keys()}


def about(folder, network, *, key):
  """What `save` was told of the weights; arguments are those of `load`."""
  with _opened(folder, network, key) as file:
    return file.metadata()


@contextlib.contextmanager
def _opened(folder, network, key):
  path = pathlib.Path(folder) / f"{network}.safetensors"
  make = (
    f"make it with python -m c3_jax.port_weights --{network}=FILE --out=DIR "
    f"and pass --config.{key}=DIR"
  )
  if not path.is_file():
    raise UserError(f"config.{key}={str(folder)!r} has no {path.name}: {make}.")
  try:
    with safetensors.safe_open(path, framework="numpy") as file:
      if (file.metadata() or {}).get("network") != network:
        raise UserError(f"{path} was not made by port_weights: {make}.")
      yield file
  except safetensors.SafetensorError as error:
    raise UserError(f"{path} cannot be read ({error}): {make}.") from error


def fit(variables, wanted, *, exactly=True):
  """The ported variables as a network wants them.

  Args:
    variables: dict path -> array.
    wanted: dict path -> shape, of the network.
    exactly: whether the network must want all of them.

  Returns:
    Nested dict {"params": .., "batch_stats": ..}.

  Raises:
    ValueError: names the first variable that differs.
  """
  paths = [*wanted, *(variables if exactly else ())]
  for path in dict.fromkeys(paths):
    ported = variables[path].shape if path in variables else "absent"
    here = wanted.get(path, "absent")
    if ported != here:
      raise ValueError(f"{path} is {ported} there and {here} in the config")
  return flax.traverse_util.unflatten_dict(
    {path: variables[path] for path in wanted}, sep="/"
  )
