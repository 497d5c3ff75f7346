"""The quality of landmarks, told from images alone."""

import json

import numpy as np
import pytest

from c3_jax.data.in_memory import ArrayDataset
from c3_jax.data.load import Splits
from c3_jax.evaluation import Evaluator, Subject, detect, quality
from c3_jax.models import initial
from c3_jax.runtime import parallel

OPTIONS = {"seed": 0, "rotation": 20.0, "scale": 0.15, "shift": 0.1}


def _scene(n=40, k=3):
  """Landmarks of n images, and pull maps."""
  points = np.random.default_rng(0).uniform(-0.8, 0.8, (n, k, 2))
  return points, detect.random_similarities(n, OPTIONS)


def test_a_landmark_on_the_object_is_consistent():
  """It is found where the warp takes it; another stays, a third is off."""
  points, warps = _scene()
  there = detect.see_through(warps, points)
  seen = there.copy()
  seen[:, 1] = points[:, 1]
  seen[:, 2] += [0.06, 0.08]
  found = quality.landmarks(points, seen, warps)
  off = found["consistency"]
  assert off[0] == pytest.approx(0, abs=1e-9)
  assert off[1] == pytest.approx(found["in_place"][1])
  # 0.1 of a side that is 2 long.
  assert off[2] == pytest.approx(5)


def test_numbers_equal_those_of_a_loop():
  """One image and one landmark after another; outside the frame none counts."""
  points, warps = _scene()
  seen = points + 0.03
  found = quality.landmarks(points, seen, warps)
  for i in range(3):
    off = []
    for point, place, warp in zip(points[:, i], seen[:, i], warps):
      there = np.linalg.inv(warp[:, :2]) @ (point - warp[:, 2])
      if np.abs(there).max() < 1:
        off.append(50 * np.linalg.norm(place - there))
    assert 0 < len(off) < len(points)
    assert found["consistency"][i] == pytest.approx(np.mean(off), rel=1e-5)
    others = [
      np.mean([50 * np.linalg.norm(p[i] - p[j]) for p in points])
      for j in range(3)
      if j != i
    ]
    assert found["nearest"][i] == pytest.approx(min(others))
    variance = points[:, i].var(0).sum()
    assert found["spread"][i] == pytest.approx(50 * np.sqrt(variance))


def test_what_cannot_be_measured_is_none():
  """One landmark has no neighbour; one at the border may leave every frame."""
  warp = np.array([[[1, 0, -0.5], [0, 1, 0]]], np.float32)
  point = np.array([[[0.9, 0.0]]])
  found = quality.landmarks(point, point, warp)
  assert found["nearest"] == found["consistency"] == [None]
  assert found["in_place"] == [None]


@pytest.mark.slow
def test_a_network_is_measured(tmp_path, save_run):
  """Everything is finite and JSON; the file is that of the evaluation."""
  config, variables = save_run(tmp_path / "run", {4: 20.0})
  model, _ = initial.networks(config)
  images = np.random.default_rng(0).integers(0, 256, (30, 20, 20, 3), np.uint8)
  dataset = ArrayDataset(images, image_size=16)
  evaluator = Evaluator(config, model, Splits(dataset, None, None))
  variables = parallel.replicate(variables)
  subject = Subject(tmp_path / "run", evaluator, 4, variables)
  quality.write(subject, version="1.2.3")
  path = tmp_path / "run" / "quality" / "synthetic.json"
  found = json.loads(path.read_text())
  k = config.model.k
  assert (found["k"], found["images"], found["step"]) == (k, 30, 4)
  assert (found["split"], found["version"]) == ("train", "1.2.3")
  assert set(found["faults"]) == {"merged", "still", "border"}
  for values in found["landmarks"].values():
    assert len(values) == k and np.isfinite(values).all()
  np.testing.assert_array_less(0, found["landmarks"]["consistency"])
  assert 0 < found["reconstruction"] < 100
  assert found["mirror"]["images"] == 30
  # The landmarks are those of the evaluation itself.
  points = evaluator.landmarks(variables, dataset)
  spread = quality.landmarks(
    points, points, np.tile(np.eye(2, 3, dtype=np.float32), (30, 1, 1))
  )
  np.testing.assert_allclose(
    found["landmarks"]["spread"], spread["spread"], rtol=1e-3
  )
