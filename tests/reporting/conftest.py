"""Folders of runs as training leaves them, written by hand."""

import json

import numpy as np
import pytest
from PIL import Image

from c3_jax.runs import write_config
from configs import synthetic

K = 10


def quality(**changes):
  """What `quality.write` gets for K landmarks; 3 and 4 are merged."""
  each = {
    "spread": [5.0] * K,
    "nearest": [12.0] * K,
    "consistency": [2.5] * K,
    "in_place": [10.0] * K,
    "confidence": [0.7] * K,
  }
  return {
    "version": "9.8.7",
    "dataset": "synthetic",
    "step": 30,
    "k": K,
    "n_train": 64,
    "split": "test",
    "images": 20,
    "consistency": 2.5,
    "in_place": 10.0,
    "reconstruction": 8.0,
    "landmarks": each,
    "faults": {"merged": [3, 4], "still": [], "border": []},
    "mirror": {
      "images": 20,
      "partner": [2, 1, *range(3, K + 1)],
      "distance": [1.0] * K,
      "swapped": 5.0,
    },
  } | changes


@pytest.fixture
def make_run(tmp_path):
  """A function that writes a run: its folder.

  It takes the name of the folder, the `quality`, whether there are noisy
  figures, and changes of the config, with dots in the keys.
  """

  def make(name="run", *, found=None, figures=True, changes=()):
    folder = tmp_path / name
    folder.mkdir()
    config = synthetic.get_config("test").unlock()
    config.update_from_flattened_dict(dict(changes))
    write_config(config, folder)
    with (folder / "metrics.jsonl").open("w") as file:
      for step in range(1, 31):
        stage = ("pairs", "flow", "cycle")[(step - 1) // 10]
        row = {"step": step, "stage": stage, "pairs": 3 / step}
        row |= {"images_per_second": 16.0, "landmarks_merged": 0}
        file.write(json.dumps(row) + "\n")
    if found is not None:
      (folder / "quality").mkdir()
      text = json.dumps(found)
      (folder / "quality" / "synthetic.json").write_text(text)
    if figures:
      (folder / "figures").mkdir()
      noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
      names = "landmarks", "swaps", "template", "transfer", "errors"
      for each in names:
        Image.fromarray(noise).save(folder / "figures" / f"{each}.png")
    return folder

  return make
