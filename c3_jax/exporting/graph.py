"""A small builder of ONNX graphs: a call adds a node."""

import itertools

import numpy as np
import onnx

OPSET = 21
IR_VERSION = 10  # Of that opset.


class Graph:
  """Collects nodes and constants.

  `graph("Add", x, array)` adds a node and names its output. An input is such a
  name, or an array, which is stored in the model.
  """

  def __init__(self):
    self._nodes, self._constants = [], []
    self._count = itertools.count()

  def __call__(self, op, *inputs, output=None, **attributes):
    """Adds a node with one output, and gives its name."""
    names = [x if isinstance(x, str) else self._store(x) for x in inputs]
    output = output or f"{op.lower()}_{next(self._count)}"
    node = onnx.helper.make_node(op, names, [output], **attributes)
    self._nodes.append(node)
    return output

  def _store(self, array):
    name = f"constant_{next(self._count)}"
    array = np.ascontiguousarray(array)
    self._constants.append(onnx.numpy_helper.from_array(array, name))
    return name

  def model(self, inputs, outputs, metadata) -> onnx.ModelProto:
    """Makes the model, checked.

    Args:
      inputs, outputs: dict name -> (dtype, shape); a text is a free length.
      metadata: dict of texts.
    """
    graph = onnx.helper.make_graph(
      self._nodes, "c3_jax", _ends(inputs), _ends(outputs), self._constants
    )
    model = onnx.helper.make_model(
      graph,
      producer_name="c3_jax",
      opset_imports=[onnx.helper.make_opsetid("", OPSET)],
      ir_version=IR_VERSION,
    )
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model, full_check=True)
    return model


def _ends(values):
  """Describes inputs or outputs: dict name -> (dtype, shape)."""
  code = lambda dtype: onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))  # noqa: E731
  return [
    onnx.helper.make_tensor_value_info(name, code(dtype), shape)
    for name, (dtype, shape) in values.items()
  ]
