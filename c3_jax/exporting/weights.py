"""All weights of a trained model as safetensors, and its model card."""

import json
import pathlib

import numpy as np
import safetensors
import safetensors.numpy
from flax import traverse_util

from c3_jax.errors import UserError
from c3_jax.exporting.detector import detector
from c3_jax.runtime import json_files

_FORM = {
  "step": int,
  "error": {"intercept": float},
  "baseline": {"untrained": (float, None), "mean_shape": (float, None)},
  "normaliser": str,
  "n_test": int,
}


def dump(trained, about):
  """Makes a safetensors file: bytes.

  Names are "params/pose/conv1/kernel" and so on. The metadata have `about`, and
  the config, both as JSON: they are all that a model needs.
  """
  flat = traverse_util.flatten_dict(dict(trained.variables), sep="/")
  metadata = {"c3_jax": json.dumps(about), "config": trained.config.to_json()}
  arrays = {name: np.ascontiguousarray(x) for name, x in flat.items()}
  return safetensors.numpy.save(arrays, metadata=metadata)


def load(data, trained):
  """Makes the `detector` of these bytes and the config of a `runs.Trained`."""
  flat = safetensors.numpy.load(data)
  variables = traverse_util.unflatten_dict(flat, sep="/")
  return detector(trained._replace(variables=variables))


def card(trained, about, workdir):
  """Writes a model card, Markdown, with what the run says of itself."""
  config = trained.config
  ported = {name: text for name, text in config.weights.items() if text}
  start = ", ".join(ported) if ported else "none"
  return f"""# C3 landmarks: {about["dataset"]}, K = {about["k"]}

Made by c3_jax from step {about["step"]} of a run.

## What the landmarks are

{about["k"]} points that a network found without annotations: landmark i lies on
the same part of each object, as far as training succeeded. They have no names.
Points are {about["points"]}; the confidence says how concentrated the map of a
landmark is, and is no estimate of its error.

## What it takes

{about["images"]}: the central {about["frame"]["image_size"]} of
{about["frame"]["load_size"]} pixels of what the crop rule
"{about["frame"]["crop"]}" loads. Other kinds of objects than those of the
training images give points without meaning.

## What it was trained on

| | |
|---|---|
| dataset | {about["dataset"]} |
| side of the images | {about["frame"]["image_size"]} pixels |
| weights ported from others | {start} |
| config | in the metadata of the safetensors file |

## Numbers

{_numbers(workdir, about["step"])}
## Licence

The program is under Apache 2.0. The weights follow the terms of the images that
they were trained on, which the program does not know: state them here.
"""


def _numbers(workdir, step):
  """Makes a table of the evaluations of a step."""
  rows = []
  for path in sorted(pathlib.Path(workdir, "eval").glob("*.json")):
    try:
      report = json_files.read(path, _FORM, wrong="", remedy="")
    except UserError:
      continue  # Other reports, of pairs for example, have other numbers.
    if report["step"] == step:
      error, baseline = report["error"]["intercept"], report["baseline"]
      cells = [error, baseline["untrained"], baseline["mean_shape"]]
      cells = " | ".join("-" if x is None else f"{x:.2f}" for x in cells)
      normaliser, n = report["normaliser"], report["n_test"]
      rows.append(f"| {path.stem} | {n} | {normaliser} | {cells} |")
  if not rows:
    return f"The run has no evaluation of step {step} with annotated points.\n"
  return "\n".join(
    [
      "Error of annotated points by linear regression, with intercept, in % of",
      "the normaliser; the baselines are the untrained network and the mean",
      "shape.",
      "",
      "| evaluation | images | 100 % is | trained | untrained | mean shape |",
      "|---|---|---|---|---|---|",
      *rows,
      "",
    ]
  )
