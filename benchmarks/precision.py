"""bfloat16 against float32 on real pictures: loss terms and gradients.

  python -m benchmarks.precision --root=DIR --out=benchmarks/precision.json

DIR is a folder as in configs/folder.py. Runs of each stage in turn, one in
each precision, from the same start on the same batches, and a third in float32
from a start moved by one part in a million: so far do two runs part that differ
in nothing but rounding. Then, at the parameters of the float32 run, both
gradients on one batch. T of L_equiv is that of the float32 network in all: an
argmax answers to rounding with a jump.
"""

import argparse
import functools
import json
import pathlib

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from c3_jax.models import flow
from c3_jax.runtime import parallel
from c3_jax.training import augment, build, objectives, optim, steps
from c3_jax.training import terms as term_parts
from configs import folder

DTYPES = ("float32", "bfloat16")
LAST = 20  # Steps that the loss terms are averaged over.
MOVED = 1e-6


def correspondences_of(model, params, batch_stats, images):
  """(T^{i->j}, T^{j->i}) of pairs of pictures by a model in float32."""
  variables = {"params": params, "batch_stats": batch_stats}
  f_flow, _ = model.apply(
    variables, images, method="features", train=True, mutable=["batch_stats"]
  )[0]
  c = model.apply(variables, f_flow[0::2], f_flow[1::2], method="match")
  match = flow.hard_correspondence
  return match(c), match(flow.swap_images(c))


def with_exact_flow(exact):
  """`terms.natural_terms`, whose T is that of the model `exact`."""
  natural_terms = term_parts.natural_terms

  def terms(setup, weights, net, perceptual, images):
    t = correspondences_of(exact, net._params, net.batch_stats, images)
    t = jax.lax.stop_gradient(t)
    correspondences = term_parts.correspondences
    term_parts.correspondences = lambda *args, **kwargs: t
    result = natural_terms(setup, weights, net, perceptual, images)
    term_parts.correspondences = correspondences
    return result

  return terms


def gradient(setup, stage, state, frozen, images):
  """(flat gradient, dict of terms) on loaded pictures, one device."""
  moving, fixed = optim.partition(state.params, stage.train)
  keys = augment.example_keys(jax.random.key(0), 0, len(images), 0)

  def loss(moving):
    terms, _ = term_parts.loss_terms(
      setup, stage, optim.merge(moving, fixed), state, frozen, images, keys
    )
    return objectives.total(terms, stage.weights), terms

  grads, terms = jax.grad(loss, has_aux=True)(moving)
  return jax.flatten_util.ravel_pytree(grads)[0], terms


def cosine(a, b):
  """Cosine of the angle between two vectors."""
  a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
  return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def moved(state):
  """The state with every parameter times a random 1 +- `MOVED`."""
  rng = np.random.default_rng(0)
  shift = lambda x: x * np.float32(1 + MOVED * rng.standard_normal(x.shape))  # noqa: E731
  return state.replace(params=jax.tree.map(shift, state.params))


def get_config(args, dtype):
  """The folder's configuration at the size that was asked for."""
  config = folder.get_config("" if args.full else "cpu").unlock()
  config.data.root, config.batch_size = args.root, args.batch
  config.model.dtype = dtype
  for name in ("pairs", "flow", "cycle"):
    config.stages[name].update({"steps": args.steps, "epochs": 0.0})
  return config


def run(setup, stage, state, frozen, batches):
  """(state, mean terms of the last steps) after training on the batches."""
  step = parallel.pmap_step(
    functools.partial(steps.train_step, setup, stage),
    devices=jax.local_devices()[:1],
  )
  state, history = parallel.replicate(state), []
  for images in batches:
    state, values = step(state, frozen, parallel.shard({"image": images}))
    history.append(jax.device_get(values))
  names = [name for name in term_parts.TERMS if name in history[0]]
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
  setups = {dtype: build.setup(configs[dtype]) for dtype in DTYPES}
  exact = setups["float32"]
  data = build.load_splits(configs["float32"]).train
  stream = data.batches(args.batch, seed=0)
  batches = [next(stream)["image"] for _ in range(args.steps)]
  frozen = parallel.replicate(build.frozen(configs["float32"], exact.vgg))
  term_parts.natural_terms = with_exact_flow(exact.model)
  state = build.initial_state(configs["float32"], exact.model)
  rows = []
  print(
    "| stage | term | float32 | bfloat16 | after training "
    "| float32, moved start | same parameters | cosine |"
  )
  print("|---|---|---|---|---|---|---|---|")
  for stage in build.stages(configs["float32"], len(data)):
    start = jax.device_get(build.enter(state, stage))
    ends, terms = {}, {}
    for dtype in DTYPES:
      ends[dtype], terms[dtype] = run(
        setups[dtype], stage, start, frozen, batches
      )
    _, terms["moved"] = run(exact, stage, moved(start), frozen, batches)
    state = ends["float32"]
    images = jnp.asarray(next(stream)["image"], jnp.float32) / 255
    found = {}
    for dtype in DTYPES:
      on_device = jax.pmap(
        functools.partial(gradient, setups[dtype], stage),
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
