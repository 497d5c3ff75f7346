"""Gives damaged and hostile files to everything that reads files.

  python -m benchmarks.fuzz --out=benchmarks/fuzz.json

Sound files of every kind are changed at random: bytes flipped, cut out,
repeated; numbers replaced by NaN, infinity, huge ones; parts of JSON and arrays
by others of other types and lengths. Each goes through its reader in a child
process with a watchdog. A file may be read, or refused by a `UserError` or an
`OSError`; everything else is a fault: another exception, a hang, a crash, a
number that is not finite where it was read, or a changed file.
"""

import argparse
import collections
import contextlib
import copy
import hashlib
import io
import json
import logging
import multiprocessing
import os
import pathlib
import random
import shutil
import sys
import tempfile
import time
import traceback
import warnings

import numpy as np
from PIL import Image

HANG = 20.0  # Seconds.
NUMBERS = (
  *("nan", "inf", "-inf", "1e308", "-1e308", "1e999", "0", "-1", "1.5", ""),
  *("9" * 5000, "0x10", "null", "\x1b[2J", "१", "1_000", "é", "'", '"', ","),
)
VALUES = (
  *(None, True, 0, -1, 10**9, 10**30, 1.5, 1e308, float("nan"), float("inf")),
  *("", "text", "\x1b[2J", [], [[]], [1, "a"], {}, {"a": {}}, [[1.0], [1, 2]]),
)
# Kind -> how many inputs, in parts of 10,000.
SHARES = {
  "image": 3000,
  "csv": 1800,
  "packed": 1200,
  "pairs": 600,
  "lists": 1500,
  "regressor": 700,
  "config.json": 500,
  "report": 500,
  "metrics": 500,
  "weights": 700,
  "checkpoint": 100,
  "config value": 400,
}


def mutate_bytes(data, rng):
  """Flips, cuts, repeats or replaces some bytes."""
  data = bytearray(data)
  for _ in range(rng.choice((1, 1, 2, 5, 20))):
    start = rng.randrange(len(data) + 1)
    # Headers decide what is done with the rest.
    start = min(start, rng.choice((20, 200, *[len(data)] * 3)))
    end = min(len(data), start + rng.choice((1, 2, 4, 16, 300)))
    match rng.randrange(6):
      case 0:
        data[start:end] = rng.randbytes(end - start)
      case 1:
        del data[start:end]
      case 2:
        data[start:start] = data[start:end] * rng.choice((1, 3, 50))
      case 3:
        del data[start:]
      case 4:
        data[start:end] = rng.choice((b"\x00", b"\xff")) * (end - start)
      case 5 if start < end:
        data[start] ^= 1 << rng.randrange(8)
  return bytes(data)


def mutate_text(data, rng):
  """Replaces a token, or a line, of a text."""
  if rng.random() < 0.25:
    return mutate_bytes(data, rng)
  lines = data.decode("utf-8", "replace").split("\n")
  for _ in range(rng.choice((1, 1, 3))):
    at = rng.randrange(len(lines))
    mark = "," if "," in lines[at] else " "
    tokens = lines[at].split(mark)
    match rng.randrange(6):
      case 0 | 1 | 2:
        tokens[rng.randrange(len(tokens))] = rng.choice(NUMBERS)
        lines[at] = mark.join(tokens)
      case 3:
        lines[at] = mark.join(tokens * rng.choice((0, 2, 1000)))
      case 4:
        lines.insert(at, rng.choice((lines[at], "", mark, "\x00", "# no")))
      case 5:
        rng.shuffle(tokens)
        lines[at] = mark.join(tokens)
  return "\n".join(lines).encode("utf-8", "surrogatepass")


def mutate_json(data, rng):
  """Replaces, removes or nests a part of a JSON file."""
  if rng.random() < 0.2:
    return mutate_bytes(data, rng)
  if rng.random() < 0.05:
    return rng.choice((b"[", b'{"a":')) * 10**5
  value = json.loads(data)
  for _ in range(rng.choice((1, 1, 3))):
    # A random walk to a part: shallow and deep ones alike.
    holder, key, at = [value], 0, value
    while isinstance(at, dict | list) and at and rng.random() < 0.85:
      holder = at
      key = rng.choice(list(at) if isinstance(at, dict) else range(len(at)))
      at = at[key]
    if rng.random() < 0.15 and isinstance(holder, dict):
      del holder[key]
    else:
      holder[key] = copy.deepcopy(rng.choice(VALUES))
    if holder is not value and at is value:
      value = holder[0]
  return json.dumps(value).encode()


def mutate_arrays(data, rng):
  """Replaces, removes or reshapes an array of an .npz file."""
  if rng.random() < 0.4:
    return mutate_bytes(data, rng)
  with np.load(io.BytesIO(data)) as archive:
    arrays = {name: archive[name] for name in archive}
  name = rng.choice(list(arrays))
  array = arrays[name]
  match rng.randrange(6):
    case 0:
      del arrays[name]
    case 1:
      arrays[name] = array[..., None]
    case 2:
      arrays[name] = np.resize(array, (*array.shape[:-1], 7))
    case 3:
      kind = rng.choice(("u1", "f4", "f8", "i8", "b1", "U9", "c8", "S3"))
      with contextlib.suppress(ValueError):
        arrays[name] = array.astype(kind)
    case 4 if array.dtype.kind == "f" and array.size:
      arrays[name] = array.copy()
      arrays[name].flat[rng.randrange(array.size)] = rng.choice(
        (np.nan, np.inf)
      )
    case _:
      hostile = (np.array(-1), np.array(10**9), np.zeros(0), np.array("x" * 99))
      arrays[name] = rng.choice(hostile)
  file = io.BytesIO()
  np.savez(file, **arrays)
  return file.getvalue()


class Case:
  """Sound files of a kind in a folder, and how they are changed and read.

  Attributes:
    paths: of the files; one of them is changed at a time.
    mutate: function (bytes, rng) -> bytes.
    read: function (folder, path) -> arrays to look at.
  """

  def __init__(self, paths, mutate, read):
    self.paths, self.mutate, self.read = paths, mutate, read


def images(root):
  """Image files of all formats and many modes."""
  from c3_jax import geometry
  from c3_jax.data import image_files

  colours = np.random.default_rng(0).integers(0, 256, (24, 31, 3), np.uint8)
  image = Image.fromarray(colours)
  grey = Image.fromarray(colours[..., 0].astype(np.uint16) * 16)
  for suffix in ("jpg", "png", "webp", "bmp", "gif", "tif"):
    image.save(root / f"rgb.{suffix}")
  for mode in ("1", "L", "P", "LA", "RGBA"):
    image.convert(mode).save(root / f"{mode}.png")
  image.convert("CMYK").save(root / "cmyk.jpg")
  image.convert("F").save(root / "float.tif")
  grey.save(root / "12.png")
  grey.save(root / "12.tif", compression="tiff_lzw")
  frame = geometry.Frame(16, 16)

  def read(_, path):
    return [image_files.load(path, frame)[0], image_files.size_of(path)]

  return Case(sorted(root.iterdir()), mutate_bytes, read)


def csv_files(root):
  """Tables of landmarks of a folder of images."""
  from c3_jax.data import fake
  from c3_jax.data.datasets import folder

  fake.write_folder(root, train=6, test=2)

  def read(_, path):
    rows = folder.read_landmarks(path)
    return [row.pixels for row in rows if row.pixels is not None]

  return Case([root / "landmarks.csv"], mutate_text, read)


def packed_files(root):
  """Packed images, with points."""
  from c3_jax import geometry
  from c3_jax.data import in_memory
  from c3_jax.data.datasets import load_packed

  rng = np.random.default_rng(0)
  pixels = rng.integers(0, 256, (4, 8, 8, 3), np.uint8)
  dataset = in_memory.ArrayDataset(pixels, rng.normal(size=(4, 5, 2)))
  dataset.save(root / "a.npz")

  def read(_, path):
    data = load_packed(path, geometry.Frame(8, 8))
    batch = next(data.eval_batches(4))
    return [*batch.values(), data.seen]

  return Case([root / "a.npz"], mutate_arrays, read)


def pair_files(root):
  """Packed pairs of images."""
  from c3_jax import geometry
  from c3_jax.data import fake
  from c3_jax.data.datasets import load_packed, load_pf_pascal

  frame = geometry.Frame(8, 8)
  fake.write_pf_pascal(root, train=4, test=4)
  load_pf_pascal(root, frame, split="test").save(root / "a.npz")

  def read(_, path):
    data = load_packed(path, frame)
    return list(next(data.eval_batches(2)).values())

  return Case([root / "a.npz"], mutate_arrays, read)


def list_files(root):
  """The lists of CelebA, MAFL, AFLW and PF-PASCAL."""
  from c3_jax.data import fake
  from c3_jax.data.datasets import aflw, celeba, pf_pascal

  fake.write_celeba(root / "celeba", train=6, test=4)
  fake.write_aflw(root / "aflw", train=4, test=4)
  fake.write_pf_pascal(root / "pf", train=4, test=4)
  paths = [
    path
    for path in sorted(root.rglob("*"))
    if path.suffix in (".txt", ".csv") and path.stat().st_size
  ]

  def read(folder, path):
    if "celeba" in path.parts:
      _, partition = celeba.read_partition(folder / "celeba")
      for split in ("training", "testing"):
        celeba.read_mafl(folder / "celeba", split)
      celeba.read_identity(folder / "celeba")
      return [celeba.read_landmarks(folder / "celeba", list(partition))]
    if "pf" in path.parts:
      rows = [
        pf_pascal.read_split(folder / "pf", s)[1] for s in ("val", "test")
      ]
      return [points for part in rows for row in part for points in row.points]
    found = []
    for split in ("train", "test"):
      _, _, *rest = aflw.read_split(
        folder / "aflw", split=split, release="mtfl"
      )
      found += rest
    return found

  return Case(paths, mutate_text, read)


def run_files(root):
  """A run of an untrained network: a dict of cases of its files."""
  import jax
  import jax.numpy as jnp

  from c3_jax import tables
  from c3_jax.figures import curves
  from c3_jax.inference.estimator import PointEstimator
  from c3_jax.models import initial
  from c3_jax.runs import Checkpoints, load_trained, log, write_config
  from c3_jax.training.state import TrainState
  from configs import synthetic

  config = synthetic.get_config("test")
  write_config(config, root)
  model, _ = initial.networks(config)
  shapes = jax.eval_shape(
    model.init, jax.random.key(0), jnp.zeros((2, 16, 16, 3))
  )
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
    lambda x: rng.normal(0, 0.1, x.shape).astype(x.dtype), dict(shapes)
  )
  with Checkpoints(root) as checkpoints:
    state = TrainState(step=np.int32(8), opt_state={}, running={}, **variables)
    checkpoints.save(state, error=20.0)
  (root / "eval").mkdir()
  k = config.model.k
  fitted = {
    "weights": rng.normal(size=(2 * k, 10)).tolist(),
    "bias": [8.0] * 10,
  }
  report = {
    "dataset": "faces",
    "step": 8,
    "k": k,
    "image_size": config.data.image_size,
    "n_train": 10,
    "n_test": 10,
    "error": {"no_intercept": 9.0, "intercept": 8.0},
    "baseline": {"mean_shape": 30.0, "untrained": 20.0},
    "regressor": {"intercept": fitted},
  }
  (root / "eval" / "faces.json").write_text(json.dumps(report))
  lines = [{"step": s, "stage": "pairs", "loss": 1 / s} for s in range(1, 9)]
  (root / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
  trained = load_trained(root)

  def regressor(folder, path):
    estimator = PointEstimator(path, folder, trained)
    return [estimator(np.zeros((1, k, 2)))]

  def whole(folder, _):
    return jax.tree.leaves(load_trained(folder).variables)

  def reports(folder, _):
    tables.collect([str(folder)])
    return []

  def metrics(_, path):
    curves.read_curves(path)
    # It repairs its file: a copy, since inputs must not change.
    with tempfile.TemporaryDirectory() as place:
      log.MetricsFile(shutil.copy(path, place), 4).close()
    return []

  report = root / "eval" / "faces.json"
  files = [p for p in (root / "checkpoints").rglob("*") if p.is_file()]
  return {
    "regressor": Case([report], mutate_json, regressor),
    "report": Case([report], mutate_json, reports),
    "config.json": Case([root / "config.json"], mutate_json, whole),
    "metrics": Case([root / "metrics.jsonl"], mutate_text, metrics),
    "checkpoint": Case(sorted(files), mutate_bytes, whole),
  }


def weight_files(root):
  """Weights before and after they are ported."""
  import safetensors.numpy
  import torch

  from c3_jax import port_weights
  from c3_jax.models import porting

  rng = np.random.default_rng(0)
  state = {f"layer{i}.weight": rng.normal(size=(3, 4)) for i in range(5)}
  safetensors.numpy.save_file(state, root / "a.safetensors")
  torch.save(
    {name: torch.tensor(value) for name, value in state.items()},
    root / "a.pth",
  )
  ported = {name: value.astype(np.float32) for name, value in state.items()}
  about = {"network": "vgg16", "source": "a", "source_sha256": "0" * 64}
  porting.save(ported, about | {"date": ""}, root, "vgg16")

  def read(folder, path):
    if path.name == "vgg16.safetensors":
      return list(porting.load(folder, "vgg16", key="weights.vgg").values())
    port_weights.read(path)  # Checked for finite numbers when it is ported.
    return []

  paths = [root / n for n in ("a.safetensors", "a.pth", "vgg16.safetensors")]
  return Case(paths, mutate_bytes, read)


def config_values(root):
  """Values of the keys of a config, as text of key and value."""
  from c3_jax.runs import flat
  from c3_jax.training.setup import Setup, stages
  from c3_jax.training.validate import check_shapes, validate
  from configs import synthetic

  keys = [
    key
    for key in flat(synthetic.get_config("test"))
    if key.startswith(("model.", "perceptual.", "batch_size", "accumulate"))
    or key in ("data.image_size", "data.load_size", "seed", "log_every")
  ]
  (root / "key.json").write_text(json.dumps(["", 0]))

  def mutate(_, rng):
    value = rng.choice((0, -1, 1, 3, 10**9, 0.0, -0.5, float("nan"), "", "x"))
    return json.dumps([rng.choice(keys), value]).encode()

  def read(_, path):
    key, value = json.loads(path.read_bytes())
    config = synthetic.get_config("test").unlock()
    *groups, last = key.split(".")
    group = config
    for name in groups:
      group = group[name]
    if type(group[last]) is not type(value):
      raise OSError("refused on the command line")
    group[last] = value
    validate(config.lock())
    setup = Setup.of(config)
    check_shapes(config, setup, stages(config, 64))
    return []

  return Case([root / "key.json"], mutate, read)


FOLDERS = (
  *("image", "csv", "packed", "pairs", "weights", "value", "run"),
  *("lists/celeba", "lists/aflw", "lists/pf"),
)


def cases(root):
  """Makes all cases: dict kind -> `Case`."""
  for name in FOLDERS:
    (root / name).mkdir(parents=True)
  return {
    "image": images(root / "image"),
    "csv": csv_files(root / "csv"),
    "packed": packed_files(root / "packed"),
    "pairs": pair_files(root / "pairs"),
    "lists": list_files(root / "lists"),
    "weights": weight_files(root / "weights"),
    "config value": config_values(root / "value"),
    **run_files(root / "run"),
  }


def one(case, kind, root, seed):
  """Changes and reads one file: (outcome, details)."""
  rng = random.Random(f"{kind} {seed}")
  path = rng.choice(case.paths)
  sound = path.read_bytes()
  hostile = case.mutate(sound, rng)
  path.write_bytes(hostile)
  kinds = "run" if kind in RUN else "value" if kind == "config value" else kind
  folder = root / kinds
  before = digest(folder)
  try:
    found = case.read(folder, path)
    outcome = "read", ""
    for array in found:
      if not sound_numbers(np.asarray(array)):
        outcome = "not finite", path.name
  except (ValueError, OSError) as error:
    from c3_jax.errors import UserError

    outcome = "refused", str(error)
    if not isinstance(error, UserError | OSError):
      outcome = "traceback", f"{path.name}: {traceback.format_exc(limit=-3)}"
  except Exception:
    outcome = "traceback", f"{path.name}: {traceback.format_exc(limit=-3)}"
  if outcome[0] in ("read", "refused") and digest(folder) != before:
    outcome = "changed", path.name
  path.write_bytes(sound)
  return outcome


def sound_numbers(array):
  """Tells whether numbers are finite, or NaN as both of a missing point."""
  if array.dtype.kind != "f":
    return True
  if array.shape[-1:] == (2,):
    array = array[~np.isnan(array).all(-1)]
  return bool(np.isfinite(array).all())


RUN = ("regressor", "report", "config.json", "metrics", "checkpoint")


def digest(folder):
  """Digests the names and bytes of all files below a folder."""
  result = hashlib.blake2b()
  for path in sorted(folder.rglob("*")):
    result.update(str(path).encode("utf-8", "surrogateescape"))
    if path.is_file():
      result.update(path.read_bytes())
  return result.hexdigest()


def work(pipe, root):
  """Answers (kind, seed) with the outcome, until None comes."""
  os.environ["JAX_PLATFORMS"] = "cpu"
  warnings.simplefilter("ignore")
  logging.disable()
  made = cases(root)
  sys.stderr = open(os.devnull, "w")
  pipe.send("ready")
  while job := pipe.recv():
    kind, seed = job
    pipe.send(one(made[kind], kind, root, seed))


def run(jobs, report):
  """Runs jobs (kind, seed) in a child that is replaced where it hangs."""
  context = multiprocessing.get_context("spawn")
  child = None
  with tempfile.TemporaryDirectory() as place:
    for number, (kind, seed) in enumerate(jobs):
      if child is None:
        ours, theirs = context.Pipe()
        root = pathlib.Path(place) / str(number)
        root.mkdir()
        child = context.Process(target=work, args=(theirs, root), daemon=True)
        child.start()
        theirs.close()
        ours.recv()
      start = time.monotonic()
      ours.send((kind, seed))
      try:
        outcome = ours.recv() if ours.poll(HANG) else ("hang", "")
      except EOFError:
        outcome = "crash", ""
      if outcome[0] in ("hang", "crash"):
        child.kill()
        child.join()
        child = None
      report(kind, seed, outcome, time.monotonic() - start)
    if child:
      ours.send(None)
      child.join()


def main():
  """Runs all kinds of inputs and prints what came of them."""
  parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
  parser.add_argument("--out", type=pathlib.Path)
  parser.add_argument("--n", type=int, default=11_500, help="inputs in all")
  parser.add_argument("--only", help="one kind")
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args()
  shares = {args.only: 10_000} if args.only else SHARES
  total = sum(shares.values())
  jobs = [
    (kind, args.seed * 10**6 + i)
    for kind, share in shares.items()
    for i in range(round(share * args.n / total))
  ]
  counts = collections.defaultdict(collections.Counter)
  faults, slowest = [], [0.0, ""]

  def report(kind, seed, outcome, seconds):
    name, details = outcome
    counts[kind][name] += 1
    slowest[:] = max(slowest, [seconds, f"{kind} {seed}"])
    if name not in ("read", "refused"):
      faults.append([kind, seed, name, details])
      print(kind, seed, name, details, flush=True)

  start = time.monotonic()
  run(jobs, report)
  result = {
    "inputs": len(jobs),
    "seconds": round(time.monotonic() - start),
    "slowest_seconds": round(slowest[0], 1),
    "slowest": slowest[1],
    "outcomes": {kind: dict(count) for kind, count in counts.items()},
    "faults": faults,
  }
  print(json.dumps(result, indent=1))
  if args.out:
    args.out.write_text(json.dumps(result, indent=1) + "\n")
  return 1 if faults else 0


if __name__ == "__main__":
  sys.exit(main())
