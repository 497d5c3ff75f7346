"""A whole run on a folder of images where TensorFlow is not installed."""

import json

import numpy as np
import pytest
from PIL import Image


@pytest.mark.slow
def test_folder_trains_from_images_and_writes_events(tmp_path, run_without):
  """Images in, checkpoint, lines and TensorBoard's events out."""
  folder, workdir = tmp_path / "images", tmp_path / "work"
  folder.mkdir()
  rng = np.random.default_rng(0)
  for i in range(8):
    pixels = rng.integers(0, 256, (24, 30, 3), np.uint8)
    Image.fromarray(pixels).save(folder / f"{i}.png")
  command = [
    "c3_jax.main",
    "--config=configs/folder.py:test",
    f"--workdir={workdir}",
    "--mode=train",
    f"--config.data.root={tmp_path}",
    # One stage, for the time it takes to compile the others; read anew each
    # epoch, by the threads that large folders need.
    "--config.data.example=0",
    "--config.data.cache=False",
    "--config.stages.pairs.steps=4",
    "--config.stages.flow.steps=0",
    "--config.stages.cycle.steps=0",
  ]
  packages = ["tensorflow", "tensorflow_datasets", "clu"]
  outputs, statuses = run_without(packages, [command])
  assert statuses == [0], outputs
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  assert json.loads(lines[-1])["step"] == 4
  assert any((workdir / "checkpoints").iterdir())
  (events,) = workdir.glob("events.out.tfevents.*")
  assert b"pairs/loss" in events.read_bytes()
