"""benchmarks/gpu.sh on the CPU, at sizes that say nothing about speed."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from c3_jax.data.in_memory import ArrayDataset
from tests.conftest import ROOT


@pytest.mark.slow
def test_every_part_leaves_its_numbers_without_tensorflow_and_clu(tmp_path):
  """All programs of a lease run and write; the peer sees the same loss."""
  blocked, out, packed = (tmp_path / x for x in ("blocked", "out", "a.npz"))
  blocked.mkdir()
  for name in ("tensorflow", "tensorflow_datasets", "clu"):
    (blocked / f"{name}.py").write_text("raise ImportError(__name__)\n")
  images = np.random.default_rng(0).integers(0, 256, (8, 20, 20, 3), np.uint8)
  ArrayDataset(images).save(str(packed))
  done = subprocess.run(
    ["bash", str(ROOT / "benchmarks" / "gpu.sh"), str(out), str(packed)],
    env=os.environ
    | {
      "PYTHON": sys.executable,
      "PYTHONPATH": str(blocked),
      "TINY": "1",
      "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    },
    text=True,
    capture_output=True,
  )
  parts = ["dilated_conv", "step_float32_2", "peer_float32"]
  parts += ["predict_float32", "train"]
  lines = done.stdout.splitlines()[:-1]
  found = [line.split(" after ")[0] for line in lines]
  assert found == [f"{part}: status 0" for part in parts], done.stdout
  read = {
    part: json.loads((out / f"{part}.json").read_text()) for part in parts
  }
  assert len(read["dilated_conv"]["layers"]) == 3
  assert read["step_float32_2"]["train_step"]["cycle"]["utilisation"] > 0
  ours, theirs = read["peer_float32"]["runs"][0]["first_loss"].values()
  assert ours == pytest.approx(theirs, rel=1e-4)
  assert read["train"]["step"] == 10
