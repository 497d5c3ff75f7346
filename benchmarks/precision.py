"""Compares bfloat16 with float32 on real images: loss terms and gradients.

  python -m benchmarks.precision --root=DIR --out=benchmarks/precision.json

DIR is a folder as in configs/folder.py. Runs of each stage in turn, one in
each precision, from the same start on the same batches, and a third in float32
from a start moved by one part in a million: it shows how far two runs drift
apart that differ only in rounding. Then, at the parameters of the float32 run,
both gradients on one batch. T of L_equiv is always that of the float32 network:
an argmax jumps under rounding.
"""

import argparse
import dataclasses
import functools
import json
import pathlib

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from c3_jax.data.load import load_splits
from c3_jax.models import c3, flow, initial
from c3_jax.runtime import parallel
from c3_jax.training import augment, objectives, optim, steps
from c3_jax.training import setup as setup_lib
from c3_jax.training.state import enter, initial_state
from c3_jax.training.terms import TERMS, loss_terms
from configs import folder

DTYPES = ("float32", "bfloat16")
LAST = 20  # Steps that the loss terms are averaged over.
MOVED = 1e-6


class ExactFlow(c3.C3):
  """C3 whose correspondences are float32 throughout; the rest has its dtype."""

  def features(self, images, *, train=False):
    _, f = super().features(images, train=train)
    (f_flow, _), _ = _exact(self.backbone, images, train=train)
    return f_flow, f

  def match(self, fi, fj):
    return _exact(self.flow, flow.correlation(fi, fj))[0]


def _exact(module, *args, **kwargs):
  """Calls a submodule in float32, on its own variables."""
  twin = module.clone(parent=None, dtype=jnp.float32)
  return twin.apply(module.variables, *args, mutable=["batch_stats"], **kwargs)


def with_exact_flow(setup):
  """Exchanges the model of a setup for an `ExactFlow`."""
  model = setup.model
  parts = {
    field.name: getattr(model, field.name)
    for field in dataclasses.fields(model)
    if field.name not in ("parent", "name")
  }
  return dataclasses.replace(setup, model=ExactFlow(**parts))


def gradient(setup, stage, state, frozen, images):
  """Computes the flat gradient and the terms on loaded images, one device."""
  moving, fixed = optim.partition(state.params, stage.train)
  keys = augment.example_keys(jax.random.key(0), 0, len(images), 0)

  def loss(moving):
    params = optim.merge(moving, fixed)
    terms = loss_terms(
      setup, stage.weights, params, state, frozen, images, keys
    ).terms
    return objectives.total(terms, stage.weights), terms

  grads, terms = jax.grad(loss, has_aux=True)(moving)
  return jax.flatten_util.ravel_pytree(grads)[0], terms


def cosine(a, b):
  """Computes the cosine of the angle between two vectors."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def moved(state):
  """Multiplies every parameter of a state by a random 1 +- `MOVED`."""
  rng = np.random.default_rng(0)
  shift = lambda x: x * np.float32(1 + MOVED * rng.standard_normal(x.shape))  # noqa: E731
  return state.replace(params=jax.tree.map(shift, state.params))


def get_config(args, dtype):
  """Makes the configuration of the folder, in one precision."""
  config = folder.get_config("" if args.full else "cpu").unlock()
  config.data.root, config.batch_size = args.root, args.batch
  config.model.dtype = dtype
  for name in ("pairs", "flow", "cycle"):
    config.stages[name].update({"steps": args.steps, "epochs": 0.0})
  return config


def run(setup, stage, state, frozen, batches):
  """Trains on the batches: (state, mean terms of the last steps)."""
  step = parallel.pmap_step(
    functools.partial(steps.train_step, setup, stage),
    devices=jax.local_devices()[:1],
  )
  state, history = parallel.replicate(state), []
  for images in batches:
    state, values = step(state, frozen, parallel.shard({"image": images}))
    history.append(jax.device_get(values))
  names = [name for name in TERMS if name in history[0]]
  return jax.device_get(state), {
    name: float(np.mean([values[name] for values in history[-LAST:]]))
    for name in names
  }


def main():
  """Parses the arguments, measures each stage, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--root", required=True)
  parser.add_argument("--steps", type=int, default=200)
  parser.add_argument("--batch", type=int, default=16)
  parser.add_argument("--full", action="store_true", help="ResNet-50, 128 px")
  args = parser.parse_args()
  configs = {dtype: get_config(args, dtype) for dtype in DTYPES}
  setups = {
    dtype: setup_lib.Setup.of(config) for dtype, config in configs.items()
  }
  data = load_splits(configs["float32"]).train
  stream = data.batches(args.batch, seed=0)
  batches = [next(stream)["image"] for _ in range(args.steps)]
  frozen = parallel.replicate(
    initial.perceptual(configs["float32"], setups["float32"].vgg)
  )
  state = initial_state(configs["float32"], setups["float32"].model)
  rows = []
  print(
    "| stage | term | float32 | bfloat16 | after training "
    "| float32, moved start | same parameters | cosine |"
  )
  print("|---|---|---|---|---|---|---|---|")
  for stage in setup_lib.stages(configs["float32"], len(data)):
    start = jax.device_get(enter(state, stage))
    # L_flow itself is computed in the dtype under test.
    used = setups
    if not stage.weights["flow"]:
      used = {dtype: with_exact_flow(setup) for dtype, setup in setups.items()}
    ends, terms = {}, {}
    for dtype in DTYPES:
      ends[dtype], terms[dtype] = run(
        used[dtype], stage, start, frozen, batches
      )
    _, terms["moved"] = run(
      used["float32"], stage, moved(start), frozen, batches
    )
    state = ends["float32"]
    images = jnp.asarray(next(stream)["image"], jnp.float32) / 255
    found = {}
    for dtype in DTYPES:
      on_device = jax.pmap(
        functools.partial(gradient, used[dtype], stage),
        axis_name=parallel.AXIS,
        in_axes=(None, None, 0),
        out_axes=(None, None),
        devices=jax.local_devices()[:1],
      )
      found[dtype] = jax.device_get(on_device(state, frozen, images[None]))
    angle = cosine(*(found[dtype][0] for dtype in DTYPES))
    for name in terms["float32"]:
      a, b, again = (terms[kind][name] for kind in (*DTYPES, "moved"))
      c, d = (float(found[dtype][1][name]) for dtype in DTYPES)
      rows.append(
        {
          "stage": stage.name,
          "term": name,
          "after_training": {"float32": a, "bfloat16": b, "moved": again},
          "same_parameters": {"float32": c, "bfloat16": d},
          "cosine": angle,
        }
      )
      cells = [stage.name, name, f"{a:.5f}", f"{b:.5f}"]
      ratios = (b / a, again / a, d / c)
      cells += [f"{100 * (ratio - 1):+.2f} %" for ratio in ratios]
      print(f"| {' | '.join(cells)} | {angle:.5f} |", flush=True)
    options = {name: getattr(args, name) for name in ("steps", "batch", "full")}
    text = json.dumps({"options": options, "rows": rows}, indent=1)
    args.out.write_text(text + "\n")


if __name__ == "__main__":
  main()
