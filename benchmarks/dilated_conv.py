"""Times dilated 3x3 convolutions: as XLA's own, and on folded maps.

  python -m benchmarks.dilated_conv --out=FILE

By default the dilated layers of the paper's backbone at 128 px, 50 images, in
bfloat16: channels, dilation. Each forward, to the input and to the kernel, in
GFLOP/s (medians); "folded" with the two transposes, "inside" without, as within
a layer (c3_jax/models/dilation.py).
"""

import argparse
import functools
import json
import pathlib
import statistics
import time

import jax
import jax.numpy as jnp

from c3_jax.models import dilation
from c3_jax.runtime import compilation

LAYERS = ((256, 2), (512, 2), (512, 4))  # Of layer3, and twice of layer4.
LAYOUT = ("NHWC", "HWIO", "NHWC")


def own(x, kernel, *, d):
  """Convolves [n, h, w, c] with XLA's dilation."""
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    (1, 1),
    [(d, d)] * 2,
    rhs_dilation=(d, d),
    dimension_numbers=LAYOUT,
  )


def inside(x, kernel):
  """Convolves a folded map [n, d, d, h, w, c]."""
  y = own(x.reshape(-1, *x.shape[3:]), kernel, d=1)
  return y.reshape(*x.shape[:3], *y.shape[1:])


def folded(x, kernel, *, d):
  """Convolves [n, h, w, c]: folds, convolves, unfolds."""
  y = inside(dilation.fold(x[:, None, None], d), kernel)
  return dilation.unfold(y, x.shape[1:3])


def gflops(function, x, kernel, *, flop, rounds):
  """Times a function and its two gradients: dict name -> GFLOP/s."""
  out = jax.jit(function)(x, kernel)
  programs = {
    "forward": lambda x, kernel, out: function(x, kernel),
    "to_input": lambda x, kernel, out: jax.vjp(
      lambda x: function(x, kernel), x
    )[1](out),
    "to_kernel": lambda x, kernel, out: jax.vjp(
      lambda kernel: function(x, kernel), kernel
    )[1](out),
  }
  found = {}
  for name, program in programs.items():
    run, seconds = jax.jit(program), []
    jax.block_until_ready(run(x, kernel, out))
    for _ in range(rounds):
      start = time.perf_counter()
      # Ten calls wait in line: the device does not wait for Python.
      jax.block_until_ready([run(x, kernel, out) for _ in range(10)])
      seconds.append((time.perf_counter() - start) / 10)
    found[name] = flop / statistics.median(seconds) / 1e9
  return found


def main():
  """Parses the arguments, measures, prints and writes after each layer."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--images", type=int, default=50)
  parser.add_argument("--side", type=int, default=16)
  parser.add_argument("--dtype", default="bfloat16")
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--shrink", type=int, default=1, help="divides channels")
  args = parser.parse_args()
  compilation.choose_convolutions()
  results = {"device": jax.devices()[0].device_kind, "jax": jax.__version__}
  results |= {"images": args.images, "side": args.side, "dtype": args.dtype}
  results["layers"] = []
  for channels, d in LAYERS:
    c = channels // args.shrink
    keys = jax.random.split(jax.random.key(0), 2)
    shape = (args.images, args.side, args.side, c)
    x = jax.random.normal(keys[0], shape, args.dtype)
    kernel = (jax.random.normal(keys[1], (3, 3, c, c)) / 30).astype(args.dtype)
    ways = {
      "dilated": (functools.partial(own, d=d), x),
      "folded": (functools.partial(folded, d=d), x),
      "inside": (inside, dilation.fold(x[:, None, None], d)),
    }
    a, b = (ways[way][0](x, kernel) for way in ("dilated", "folded"))
    row = {"channels": c, "dilation": d}
    row["difference"] = float(jnp.abs(a - b).astype(float).max())
    flop = 2 * 9 * c * x.size
    for way, (function, given) in ways.items():
      row[way] = gflops(function, given, kernel, flop=flop, rounds=args.rounds)
      numbers = ", ".join(f"{k} {v:.0f}" for k, v in row[way].items())
      print(f"{c} channels, dilation {d}, {way}: {numbers}", flush=True)
    results["layers"].append(row)
    args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
  main()
