"""Ports PyTorch weights to our names and layouts; `weight_files` keeps them."""

import re

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from c3_jax.errors import UserError
from c3_jax.models.resnet import ResNet
from c3_jax.models.vgg import CONVOLUTIONS, VGG

# Names of each layer. First ours (a pattern, whose groups the others may use;
# stage and layer also counted from 0), then a column for torchvision, timm and
# torch.hub, and one for Hugging Face's transformers.
RESNET = (
  ("conv1", "conv1", "embedder.embedder.convolution"),
  ("bn1", "bn1", "embedder.embedder.normalization"),
  *(
    (
      r"layer(?P<stage>\d)_(?P<block>\d+)/" + ours,
      "layer{stage}.{block}." + torchvision,
      "encoder.stages.{stage0}.layers.{block}." + transformers,
    )
    for ours, torchvision, transformers in (
      (r"conv(?P<layer>\d)", "conv{layer}", "layer.{layer0}.convolution"),
      (r"bn(?P<layer>\d)", "bn{layer}", "layer.{layer0}.normalization"),
      ("downsample_conv", "downsample.0", "shortcut.convolution"),
      ("downsample_bn", "downsample.1", "shortcut.normalization"),
    )
  ),
)


def vgg_table(arch):
  """Makes rows ("convB_I", "features.N", "blockB_convI"), as those of `RESNET`.

  N counts the ReLU after each convolution and the pool after each block, too.
  The last is Keras' name, as `keras_vgg.read` gives it.
  """
  rows, number = [], 0
  for block, count in enumerate(CONVOLUTIONS[arch], start=1):
    for i in range(1, count + 1):
      names = f"features.{number}", f"block{block}_conv{i}"
      rows.append((f"conv{block}_{i}", *names))
      number += 2
    number += 1
  return tuple(rows)


# Our collection and leaf of a variable -> PyTorch's name of it.
LEAVES = {
  ("params", "kernel"): "weight",
  ("params", "scale"): "weight",
  ("params", "bias"): "bias",
  ("batch_stats", "mean"): "running_mean",
  ("batch_stats", "var"): "running_var",
}
# The networks that can be ported, without classifier, and their tables.
NETWORKS = {
  "resnet50": (ResNet(), RESNET),
  "vgg16": (VGG("vgg16", taps=("conv5_3",)), vgg_table("vgg16")),
  "vgg19": (VGG("vgg19", taps=("conv5_4",)), vgg_table("vgg19")),
}
# Prefixes of names from DataParallel and from modules that hold the network.
WRAPPERS = re.compile(r"^((module|model|resnet|timm_model)\.)*")
# Expected in a file, but not used.
EXTRAS = re.compile(
  r"((fc|classifier|head|pre_logits)\..*|.*\bnum_batches_tracked)", re.DOTALL
)


def shapes(module):
  """Lists a network's variables: dict "params/conv1/kernel" -> shape."""
  images = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  variables = jax.eval_shape(
    lambda images: module.init(jax.random.key(0), images), images
  )
  return flat_shapes(variables)


def flat_shapes(variables):
  """Flattens nested dicts of arrays: dict path -> shape."""
  flat = flax.traverse_util.flatten_dict(variables, sep="/")
  return {path: x.shape for path, x in flat.items()}


def namings(paths, table):
  """Lists the names of our variables in other libraries.

  Args:
    paths: ours, such as "params/layer1_0/conv1/kernel".
    table: see `RESNET`.

  Returns:
    A dict for each of its columns: "layer1.0.conv1.weight" -> path.
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
      classifier and `num_batches_tracked` are skipped.
    module: our network.
    table: see `RESNET`.
    origin: the file, for errors.
    title: name of the network, for errors.

  Returns:
    dict path -> float32 array, for every variable of `module`.

  Raises:
    UserError: names every tensor that is missing, superfluous, of the wrong
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
  if faults := "; ".join(_faults(state, naming, wanted)):
    raise UserError(
      f"{origin} does not fit {title}: {faults}.{_advice(state, title)}"
    )
  return {
    path: _to_flax(np.asarray(state[name], np.float32))
    for name, path in naming.items()
  }


def unwrap(state, origin):
  """Removes the prefixes of DataParallel and wrappers from the names."""
  result = {WRAPPERS.sub("", name): value for name, value in state.items()}
  if len(result) != len(state):
    raise UserError(
      f"{origin} holds several networks: some names differ only by what "
      "stands before them. Save the state dict of one network."
    )
  return result


def _to_flax(value):
  """Turns PyTorch's kernels [out, in, h, w] into [h, w, in, out]."""
  value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value
  return np.ascontiguousarray(value)


def _torch_shape(shape):
  return (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape


def _faults(state, naming, wanted):
  """Lists what keeps a state from being ported, one text for each kind."""
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
    elif value.shape != (shape := _torch_shape(wanted[naming[name]])):
      wrong.append(f"{name} {value.shape} in place of {shape}")
    # Also of the classifier: a sign of a damaged file.
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
  """Advises on the right option, if the state is another known network."""
  for network, (module, table) in NETWORKS.items():
    wanted = shapes(module)
    for naming in namings(wanted, table):
      if naming.keys() <= state.keys() and not _faults(state, naming, wanted):
        return f" It is a {network}: pass it with --{network}."
  return (
    f" Give the weights of a {title} as torchvision, timm or transformers "
    "save them."
  )
