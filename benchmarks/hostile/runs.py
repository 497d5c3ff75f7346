"""Sound files of a run, of weights and of configs, and what reads them."""

import json
import shutil
import tempfile

import numpy as np

from benchmarks.hostile.datasets import Case
from benchmarks.hostile.mutate import (
  VALUES,
  mutate_bytes,
  mutate_json,
  mutate_metadata,
  mutate_text,
)


def run_files(root):
  """A run of an untrained network: a dict of cases of its files."""
  import jax
  import jax.numpy as jnp

  from c3_jax.exporting import detector, weights
  from c3_jax.figures import curves
  from c3_jax.inference.estimator import PointEstimator
  from c3_jax.models import initial
  from c3_jax.reporting import tables
  from c3_jax.runs import Checkpoints, load_trained, lock, log, write_config
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
  owner = {"host": "another", "pid": 1, "born": "1", "since": "2026-01-01"}
  (root / "lock").write_text(json.dumps(owner))
  lock.PATIENCE = 0.01  # Seconds, for a sign of life of another host.
  trained = load_trained(root)

  def regressor(folder, path):
    estimator = PointEstimator(path, folder, trained)
    return [estimator(np.zeros((1, k, 2)))]

  def whole(folder, path):
    found = jax.tree.leaves(load_trained(folder).variables)
    if path.name == "config.json":
      tables.collect([str(folder)])
    return found

  def reports(folder, _):
    weights.card(trained, detector.describe(trained, "uint8"), folder)
    tables.collect([str(folder)])
    return []

  def locks(_, path):
    # It is written by who takes it: a copy.
    with tempfile.TemporaryDirectory() as place:
      shutil.copy(path, place)
      with lock.Lock(place):
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
    "checkpoint": Case(sorted(files), mutate_metadata, whole),
    "lock": Case([root / "lock"], mutate_json, locks),
  }


def weight_files(root):
  """Weights before and after they are ported."""
  import safetensors.numpy
  import torch

  from c3_jax import port_weights
  from c3_jax.models import weight_files

  rng = np.random.default_rng(0)
  state = {f"layer{i}.weight": rng.normal(size=(3, 4)) for i in range(5)}
  safetensors.numpy.save_file(state, root / "a.safetensors")
  torch.save(
    {name: torch.tensor(value) for name, value in state.items()},
    root / "a.pth",
  )
  ported = {name: value.astype(np.float32) for name, value in state.items()}
  about = {"network": "vgg16", "source": "a", "source_sha256": "0" * 64}
  weight_files.save(ported, about | {"date": ""}, root, "vgg16")

  def read(folder, path):
    if path.name == "vgg16.safetensors":
      return list(
        weight_files.load(folder, "vgg16", key="weights.vgg").values()
      )
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

  keys = list(flat(synthetic.get_config("test")))
  (root / "key.json").write_text(json.dumps(["seed", 0]))

  def mutate(_, rng):
    value = rng.choice((*VALUES, 1, 3, 0.5, -0.5, 1e-30, "x" * 9999))
    return json.dumps([rng.choice(keys), value]).encode()

  def read(_, path):
    key, value = json.loads(path.read_bytes())
    config = synthetic.get_config("test").unlock()
    *groups, last = key.split(".")
    group = config
    for name in groups:
      group = group[name]
    with group.ignore_type():  # As a config file may.
      group[last] = value
    validate(config.lock())
    setup = Setup.of(config)
    check_shapes(config, setup, stages(config, 64))
    return []

  return Case([root / "key.json"], mutate, read)
