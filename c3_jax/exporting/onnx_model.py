"""A detector as an ONNX model: bytes, and those bytes as a function.

Written from the structure of the modules in c3_jax/models; batch norms, whose
statistics are fixed, become part of the convolutions before them.
"""

import functools
import json

import jax
import numpy as np
import onnxruntime

from c3_jax.exporting.graph import Graph
from c3_jax.models import c3, resnet

_EPSILON = {"batch": 1e-5, "group": 1e-6}  # Flax's, and torchvision's.


def dump(trained, dtype, about):
  """Makes an ONNX model of a `runs.Trained`: bytes.

  Its input is `images`, its outputs are `points` and `confidence`, see
  `detector`. The description `about` is in its metadata, as JSON.
  """
  model = c3.from_config(trained.config)
  size, k = trained.config.data.image_size, model.pose.k
  marginal = model.pose.marginal
  variables = jax.tree.map(np.asarray, dict(trained.variables))
  params, stats = variables["params"], variables.get("batch_stats", {})
  graph = Graph()
  x = graph("Cast", "images", to=1) if dtype != "float32" else "images"
  mean, std = map(np.float32, (resnet.IMAGENET_MEAN, resnet.IMAGENET_STD))
  x = graph("Div", x, np.float32(255))
  x = graph("Div", graph("Sub", x, mean), std)
  x = graph("Transpose", x, perm=[0, 3, 1, 2])
  net = _ResNet(
    graph, model.backbone, params["backbone"], stats.get("backbone", {})
  )
  layers = net(x)
  x = layers[3 if model.swap_features else 4]
  x = _logits(graph, model.pose, params["pose"], x)
  _landmarks(graph, x, *_map_size(model, variables, size), marginal=marginal)
  return graph.model(
    {"images": (dtype, ["n", size, size, 3])},
    {"points": ("float32", ["n", k, 2]), "confidence": ("float32", ["n", k])},
    {"c3_jax": json.dumps(about)},
  ).SerializeToString()


def load(data, options=None):
  """Makes the function images -> (points, confidence) of a model's bytes.

  `options` are `onnxruntime.SessionOptions`.
  """
  session = onnxruntime.InferenceSession(
    data, options, providers=["CPUExecutionProvider"]
  )
  return lambda images: session.run(None, {"images": images})


def _map_size(model, variables, size):
  """Gives (height, width) of the maps of images of a side."""
  images = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
  detect = functools.partial(model.apply, method=c3.C3.detect)
  return jax.eval_shape(detect, variables, images).probability.shape[1:3]


def _conv(graph, x, kernel, bias=None, *, stride=1, dilation=1):
  """Adds a convolution, padded as torch pads it; the kernel is Flax's."""
  side = kernel.shape[0]
  arrays = [kernel.transpose(3, 2, 0, 1)] + ([] if bias is None else [bias])
  return graph(
    "Conv",
    x,
    *arrays,
    strides=[stride] * 2,
    dilations=[dilation] * 2,
    pads=[dilation * (side - 1) // 2] * 4,
  )


class _ResNet:
  """Adds the nodes of a `resnet.ResNet`."""

  def __init__(self, graph, module, params, stats):
    self.graph, self.module = graph, module
    self.params, self.stats = params, stats

  def __call__(self, x):
    """Maps the name of normalised images to {layer: name of its maps}."""
    graph = self.graph
    stem = self._layer(x, self.params, self.stats, "conv1", "bn1", stride=2)
    x = graph("Relu", stem)
    if self.module.stem == "imagenet":
      sides = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}
      x = graph("MaxPool", x, **sides)
    layers = {}
    for layer, place, _, stride, dilation in self.module.blocks():
      x = self._block(x, f"layer{layer}_{place}", stride, dilation)
      layers[layer] = x
    return layers

  def _block(self, x, name, stride, dilation):
    """Adds a `resnet.Block`."""
    graph, params = self.graph, self.params[name]
    stats = self.stats.get(name, {})
    count = 3 if self.module.bottleneck else 2
    strided = 2 if self.module.bottleneck else 1
    y = x
    for i in range(1, count + 1):
      y = graph("Relu", y) if i > 1 else y
      step = stride if i == strided else 1
      sides = {"stride": step, "dilation": dilation}
      y = self._layer(y, params, stats, f"conv{i}", f"bn{i}", **sides)
    if "downsample_conv" in params:
      names = "downsample_conv", "downsample_bn"
      x = self._layer(x, params, stats, *names, stride=stride)
    return graph("Relu", graph("Add", x, y))

  def _layer(self, x, params, stats, conv, norm, **sides):
    """Adds a convolution and its norm."""
    kernel, norm_params = params[conv]["kernel"], params[norm]
    scale, bias = norm_params["scale"], norm_params["bias"]
    if self.module.norm == "group":
      y = _conv(self.graph, x, kernel, **sides)
      return self.graph(
        "GroupNormalization",
        y,
        scale,
        bias,
        epsilon=_EPSILON["group"],
        num_groups=kernel.shape[-1] // 8,
      )
    scale = scale / np.sqrt(stats[norm]["var"] + _EPSILON["batch"])
    bias = bias - stats[norm]["mean"] * scale
    return _conv(self.graph, x, kernel * scale, bias, **sides)


def _logits(graph, pose, params, x):
  """Adds the layers of an `extractors.PoseExtractor`."""
  for name in ("conv1", "conv2"):
    layer = params[name]
    x = graph("Relu", _conv(graph, x, layer["kernel"], layer["bias"]))
  x = _conv(graph, x, params["maps"]["kernel"], params["maps"]["bias"])
  if pose.gain:
    axes = np.int64([2, 3])
    x = graph("Sub", x, graph("ReduceMean", x, axes))
    variance = graph("ReduceMean", graph("Mul", x, x), axes)
    deviation = graph("Sqrt", graph("Add", variance, np.float32(1e-6)))
    x = graph("Div", graph("Mul", x, np.float32(pose.gain)), deviation)
  return graph("Div", x, np.float32(pose.temperature))


def _landmarks(graph, x, height, width, *, marginal):
  """Adds `landmarks.soft_argmax` and `detect.confidence` of logits."""
  if not marginal:
    # One softmax over both axes: that of the flattened map.
    x = graph("Reshape", x, np.int64([0, 0, height * width]))
    x = graph("Softmax", x, axis=-1)
    x = graph("Reshape", x, np.int64([0, 0, height, width]))
  points, spread, flat = [], [], 0.0
  for side, others in ((width, np.int64([2])), (height, np.int64([3]))):
    if marginal:
      p = graph("ReduceMean", x, others, keepdims=0)
      p = graph("Softmax", p, axis=-1)
    else:
      p = graph("ReduceSum", x, others, keepdims=0)
    cells = ((2 * np.arange(side) + 1) / side - 1).astype(np.float32)
    last = np.int64([2])
    point = graph("ReduceSum", graph("Mul", p, cells), last)
    away = graph("Sub", cells, point)
    square = graph("Mul", p, graph("Mul", away, away))
    points.append(point)
    # Squares of distances are sums over the axes, and so are their means.
    spread.append(graph("ReduceSum", square, last, keepdims=0))
    flat += np.mean(cells**2)
  graph("Concat", *points, axis=2, output="points")
  ratio = graph("Div", graph("Add", *spread), np.float32(flat))
  left = graph("Sub", np.float32(1), graph("Sqrt", ratio))
  graph("Clip", left, np.float32(0), np.float32(1), output="confidence")
