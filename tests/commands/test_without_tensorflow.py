"""A whole run on a folder of images where TensorFlow is not installed."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT

DRIVER = """
import runpy, sys
for name in ("tensorflow", "tensorflow_datasets", "clu"):
  sys.modules[name] = None
runpy.run_module("c3_jax.main", run_name="__main__", alter_sys=True)
"""


@pytest.mark.slow
def test_folder_trains_from_images_and_writes_events(tmp_path):
  """Images in, checkpoint, lines and TensorBoard's events out."""
  folder, workdir = tmp_path / "images", tmp_path / "work"
  folder.mkdir()
  rng = np.random.default_rng(0)
  for i in range(8):
    pixels = rng.integers(0, 256, (24, 30, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f"{i}.png")
  done = subprocess.run(
    [sys.executable, "-c", DRIVER]
    + ["--config=configs/folder.py:test", f"--workdir={workdir}"]
    + ["--mode=train", f"--config.data.root={tmp_path}"]
    # One stage, for the time it takes to compile the others; read anew each
    # epoch, by the threads that large folders need.
    + ["--config.data.example=0", "--config.data.cache=False"]
    + ["--config.stages.pairs.steps=4", "--config.stages.flow.steps=0"]
    + ["--config.stages.cycle.steps=0"],
    text=True,
    cwd=ROOT,
    env=os.environ
    | {
      "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
      "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    },
    capture_output=True,
  )
  assert done.returncode == 0, done.stderr
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  assert json.loads(lines[-1])["step"] == 4
  assert any((workdir / "checkpoints").iterdir())
  (events,) = workdir.glob("events.out.tfevents.*")
  assert b"pairs/loss" in events.read_bytes()
