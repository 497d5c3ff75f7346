"""Compares the speed of the stage cycle and the detector with PyTorch.

  JAX_PLATFORMS=cpu python -m benchmarks.torch_peer --batch 8 --out=FILE
  python -m benchmarks.torch_peer --batch 50 200 --dtype=bfloat16   # a GPU

The peer (`tests/reference/torch_c3.py`) is what a good engineer would write
today: the networks of torchvision, channels-last, autocast, eager or with
`torch.compile`, and Adam in its fused form. Both sides start from the same
parameters and see the same images; the first losses of both are printed.
(Later ones differ: Adam's first step is the sign of each gradient, and from
the paper's N(0, 0.01) many are float32 noise, in PyTorch alone too.)

Rounds alternate between the sides, and only ratios of medians of one run are
worth quoting. CPU seconds (of all threads) are a second reading for machines
that others use.
"""

import argparse
import functools
import json
import os
import pathlib
import statistics
import time

# Two libraries share the device: neither may take all of its memory first.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import numpy as np
import torch
from flax import traverse_util

from c3_jax import settings
from c3_jax.evaluation.detect import landmark_function
from c3_jax.models import initial
from c3_jax.runtime import compilation, parallel
from c3_jax.training import setup as setup_lib
from c3_jax.training import steps
from c3_jax.training.state import enter, initial_state
from tests.reference import oracles, torch_c3


def paper_config(dtype, size, blocks):
  """Makes the paper's configuration, data aside.

  Args:
    dtype: of the networks.
    size: of images in pixels.
    blocks: in each layer of the ResNet; 3 4 6 3 is the paper's.
  """
  config = settings.paper(k=10, cycle=1, flow=1)
  config.data.update(image_size=size, load_size=size * 5 // 4)
  config.model.backbone.stage_sizes = tuple(blocks)
  config.model.dtype = dtype
  config.stages.cycle.steps = 1000
  return config


class Ours:
  """Runs c3_jax's train step and detector."""

  name = "c3_jax"

  def __init__(self, config, batch):
    self._setup = setup_lib.Setup.of(config)
    stage = setup_lib.stages(config, len(batch))[-1]
    state = enter(initial_state(config, self._setup.model), stage)
    self.variables = state.variables
    # The state is donated by the first step; the peer is made of a copy.
    self._state = parallel.replicate(jax.tree.map(np.asarray, state))
    frozen = initial.perceptual(config, self._setup.vgg)
    self.vgg = frozen["params"]
    self._frozen = parallel.replicate(frozen)
    self._step = parallel.pmap_step(
      functools.partial(steps.train_step, self._setup, stage)
    )
    self._batch = batch
    self._size = config.data.image_size

  def train(self):
    """Takes one step; returns the loss."""
    batch = parallel.shard({"image": self._batch})
    self._state, values = self._step(self._state, self._frozen, batch)
    return float(values["loss"])

  def detector(self, n):
    """Makes a function without arguments: landmarks of n images."""
    run = landmark_function(self._setup.model, self._size)
    variables = parallel.replicate(self.variables)
    return lambda: run(variables, {"image": self._batch[:n]})


class Peer:
  """Runs the same in PyTorch: stage cycle, Adam with L2, eager or compiled."""

  def __init__(self, ours, config, batch, *, compiled):
    self.name = "torch compiled" if compiled else "torch eager"
    self._device = "cuda" if torch.cuda.is_available() else "cpu"
    # Gradients reach the image through the VGG, not its weights.
    self._vgg = oracles.vgg_features("vgg16")
    convolutions = [m for m in self._vgg if isinstance(m, torch.nn.Conv2d)]
    for layer, source in zip(convolutions, ours.vgg.values()):
      kernel = np.array(source["kernel"]).transpose(3, 2, 0, 1)
      layer.weight.copy_(torch.tensor(kernel))
      layer.bias.copy_(torch.tensor(np.array(source["bias"])))
    c3 = torch_c3.C3(config.model.k, blocks=config.model.backbone.stage_sizes)
    torch_c3.assign(c3, traverse_util.flatten_dict(ours.variables, sep="/"))
    layout = {"device": self._device, "memory_format": torch.channels_last}
    self._c3, self._vgg = c3.to(**layout), self._vgg.to(**layout)
    self._taps, self._running = tuple(config.perceptual.taps), None
    self._optimiser = torch.optim.Adam(
      [p for n, p in c3.named_parameters() if not n.startswith("flow")],
      lr=config.stages.cycle.learning_rate,
      weight_decay=config.optimizer.weight_decay,
      fused=True,
    )
    wrap = torch.compile if compiled else (lambda function: function)
    self._losses = wrap(torch_c3.losses)
    self._points = wrap(lambda x: c3.landmarks(c3.features(x)[1])[0])
    dtype = getattr(torch, config.model.dtype)
    self._autocast = lambda: torch.autocast(
      self._device, dtype, enabled=dtype != torch.float32
    )
    margin = (batch.shape[1] - config.data.image_size) // 2
    self._batch = batch[:, margin:-margin, margin:-margin]

  def _images(self, n=None):
    images = torch.from_numpy(np.ascontiguousarray(self._batch[:n]))
    images = images.to(self._device, non_blocking=True)
    return images.permute(0, 3, 1, 2).float() / 255

  def train(self):
    """Takes one step; returns the loss."""
    images = self._images()
    self._optimiser.zero_grad(set_to_none=True)
    with self._autocast():
      raw, inv, equiv = self._losses(self._c3, self._vgg, images, self._taps)
    now = {tap: distance.detach() for tap, distance in raw.items()}
    before = self._running or now
    self._running = {t: 0.99 * before[t] + 0.01 * now[t] for t in now}
    loss = torch_c3.cycle(raw, self._running) + inv + equiv
    loss.backward()
    self._optimiser.step()
    return loss.item()

  def detector(self, n):
    """Makes a function without arguments: landmarks of n images."""
    return lambda: self._detect(self._images(n)).cpu().numpy()

  @torch.inference_mode()
  def _detect(self, images):
    self._c3.eval()
    with self._autocast():
      points = self._points(images)
    self._c3.train()
    return points


def interleave(functions, *, rounds, calls):
  """Times functions in turn.

  Returns:
    dict name -> {"seconds", "cpu_seconds", "spread"} of one call: medians over
    the rounds, and (maximum - minimum) / median of the seconds.
  """
  wall, cpu = ({name: [] for name in functions} for _ in range(2))
  for _ in range(rounds):
    for name, function in functions.items():
      start, start_cpu = time.perf_counter(), time.process_time()
      for _ in range(calls):
        function()
      wall[name].append((time.perf_counter() - start) / calls)
      cpu[name].append((time.process_time() - start_cpu) / calls)
  return {
    name: {
      "seconds": statistics.median(wall[name]),
      "cpu_seconds": statistics.median(cpu[name]),
      "spread": (max(wall[name]) - min(wall[name]))
      / statistics.median(wall[name]),
    }
    for name in functions
  }


def compare(batch_size, args):
  """Measures both sides at one batch size: a dict for the JSON file."""
  config = paper_config(args.dtype, args.size, args.blocks)
  rng = np.random.default_rng(0)
  # Smooth images: to the networks, images of noise alone all look alike.
  size = config.data.load_size
  coarse = rng.random((batch_size, 3, 8, 8), np.float32)
  batch = torch.nn.functional.interpolate(
    torch.from_numpy(coarse), (size, size), mode="bicubic"
  )
  batch = (batch.clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
  ours = Ours(config, batch)
  sides = [ours]
  for compiled in (False, True):
    if ("compiled" if compiled else "eager") in args.peer:
      sides.append(Peer(ours, config, batch, compiled=compiled))

  result = {"batch_size": batch_size, "dtype": args.dtype, "first_loss": {}}
  for side in sides:
    start = time.perf_counter()
    result["first_loss"][side.name] = side.train()
    seconds = time.perf_counter() - start
    side.train()
    print(
      f"{side.name}: first loss {result['first_loss'][side.name]:.6f}, "
      f"{seconds:.1f} s with compilation",
      flush=True,
    )
  result["train_step"] = interleave(
    {side.name: side.train for side in sides},
    rounds=args.rounds,
    calls=args.calls,
  )
  result["predict"] = {}
  for n in sorted({1, batch_size}):
    detectors = {side.name: side.detector(n) for side in sides}
    for detector in detectors.values():
      detector()
      detector()
    calls = max(1, args.calls * batch_size // n)
    result["predict"][n] = interleave(
      detectors, rounds=args.rounds, calls=calls
    )
  return result


def show(result):
  """Prints the ratios as a Markdown table."""
  batch = result["batch_size"]
  rows = {f"train step, batch {batch}": (result["train_step"], batch)}
  rows |= {
    f"predict, batch {n}": (times, n) for n, times in result["predict"].items()
  }
  print("| | side | images/s | spread | ours / peer | ours / peer, CPU time |")
  print("|---|---|---|---|---|---|")
  for label, (times, n) in rows.items():
    ours = times["c3_jax"]
    for name, time_ in times.items():
      print(
        f"| {label} | {name} | {n / time_['seconds']:.2f} "
        f"| {time_['spread']:.0%} "
        f"| {time_['seconds'] / ours['seconds']:.2f} "
        f"| {time_['cpu_seconds'] / ours['cpu_seconds']:.2f} |"
      )


def main():
  """Parses the arguments, compares, prints and writes."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--batch", type=int, nargs="+", default=[8])
  parser.add_argument(
    "--dtype", choices=("float32", "bfloat16"), default="float32"
  )
  parser.add_argument(
    "--peer", nargs="+", choices=("eager", "compiled"), default=["eager"]
  )
  parser.add_argument("--rounds", type=int, default=5)
  parser.add_argument("--calls", type=int, default=1, help="steps a round")
  parser.add_argument("--size", type=int, default=128, help="of images")
  parser.add_argument("--blocks", type=int, nargs=4, default=(3, 4, 6, 3))
  parser.add_argument("--out", type=pathlib.Path)
  args = parser.parse_args()
  compilation.choose_convolutions()
  results = {
    "device": str(jax.devices()[0].device_kind),
    "cpu_count": os.cpu_count(),
    "torch": torch.__version__,
    "jax": jax.__version__,
    "runs": [],
  }
  for batch_size in args.batch:
    results["runs"].append(compare(batch_size, args))
    show(results["runs"][-1])
    if args.out:
      args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
  main()
