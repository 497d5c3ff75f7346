"""Writes a trained model into a file of a format, once it is compared."""

import contextlib
import json
import logging
import os
from importlib import util

from c3_jax import runs
from c3_jax.errors import UserError
from c3_jax.exporting import detector
from c3_jax.runtime import files, output

logger = logging.getLogger(__name__)

FORMATS = ("onnx", "stablehlo", "safetensors")
_MARKS = (
  b"\x12\x06c3_jax",  # The field of an ONNX model that names its producer.
  b"c3_jax_detect",
  b'"made_by": "c3_jax"',
  b'\\"made_by\\": \\"c3_jax\\"',
  b"does not know: state them here.",
)


def format_of(path, name=""):
  """Says which of `FORMATS` a file is to have: as named, or by its ending.

  Raises:
    UserError: neither names one.
  """
  ending = os.path.splitext(os.fspath(path))[1].removeprefix(".")
  if not name and ending not in FORMATS:
    raise UserError(
      f"--out={path} does not end in {', '.join(f'.{x}' for x in FORMATS)}: "
      "name it so, or give --format."
    )
  return name or ending


def require_onnx():
  """Checks that the packages of ONNX are there.

  Raises:
    UserError: they are not.
  """
  missing = [x for x in ("onnx", "onnxruntime") if not util.find_spec(x)]
  if missing:
    raise UserError(
      f"ONNX needs {' and '.join(missing)}, not installed here: run pip "
      "install onnx onnxruntime."
    )


def dump(trained, kind, dtype="uint8"):
  """Makes the file of a `runs.Trained` in one of `FORMATS`: (bytes, about).

  Raises:
    UserError: what is read back from these bytes differs from JAX.
  """
  detect = detector.detector(trained)
  about = detector.describe(trained, dtype)
  size = trained.config.data.image_size
  if kind == "onnx":
    from c3_jax.exporting import onnx_model

    data = onnx_model.dump(trained, dtype, about)
    exported = onnx_model.load(data)
  elif kind == "stablehlo":
    from c3_jax.exporting import stablehlo

    data = stablehlo.dump(detect, size, dtype)
    exported = stablehlo.load(data)
  else:
    from c3_jax.exporting import weights

    data = weights.dump(trained, about)
    exported = weights.load(data, trained)
  far = detector.compare(exported, detect, size, dtype, what=kind)
  logger.info(
    "%s, %.1f MB, read back: landmarks within %.0e of the side of JAX's.",
    kind,
    len(data) / 1e6,
    far,
  )
  return data, about


def write(workdir, out, *, kind="", dtype="uint8", step=None, overwrite=False):
  """Writes a trained model into a file, and what belongs beside it.

  That is OUT.json, a description, for StableHLO, and OUT.md, a model card, for
  safetensors.

  Args:
    workdir, step: as of `runs.load_trained`.
    out: file to write; whole, or not at all.
    kind: one of `FORMATS`, "" is that of the ending of `out`.
    dtype: of the images that the model takes, one of `detector.DTYPES`.
    overwrite: replace files that this did not write, too.

  Raises:
    UserError: a mistake in an argument, a package is missing, or the file
      differs from JAX.
  """
  kind = format_of(out, kind)
  beside = {"stablehlo": f"{out}.json", "safetensors": f"{out}.md"}.get(kind)
  outputs = [
    output.Output(path, ours=_is_ours, overwrite=overwrite)
    for path in (out, beside)
    if path
  ]
  for each in outputs:
    each.check()
  if kind == "onnx":
    require_onnx()
  trained = runs.load_trained(workdir, step)
  data, about = dump(trained, kind, dtype)
  texts = [data]
  if kind == "stablehlo":
    texts.append(f"{json.dumps(about, indent=1)}\n".encode())
  elif kind == "safetensors":
    from c3_jax.exporting import weights

    texts.append(weights.card(trained, about, workdir).encode())
  for each, text in zip(outputs, texts, strict=True):
    with each.open() as file:
      file.write(text)


def _is_ours(path):
  """Tells whether a file has a mark of these; a card loses its with a licence.

  A text that merely names this program has none.
  """
  with contextlib.suppress(OSError):
    data = files.read_bytes(path)
    return any(mark in data for mark in _MARKS)
  return False
