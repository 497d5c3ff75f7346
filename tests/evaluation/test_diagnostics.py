"""Tests of the faults of landmarks, on landmarks made to have them."""

import logging
import re
import types

import ml_collections
import numpy as np
import pytest

from c3_jax import settings
from c3_jax.data.in_memory import ArrayDataset
from c3_jax.evaluation import diagnostics

OPTIONS = {"merged": 0.02, "still": 0.01, "border": 0.04}


def good(n=200, k=6, seed=0):
  """Landmarks [n, k, 2] around k places of their own, with deviation 0.1."""
  rng = np.random.default_rng(seed)
  angle = 2 * np.pi * np.arange(k) / k
  places = 0.5 * np.stack([np.cos(angle), np.sin(angle)], -1)
  return places + 0.1 * rng.normal(size=(n, k, 2))


def test_good_landmarks_have_no_fault():
  """Landmarks that move around places of their own are left alone."""
  found = diagnostics.faults(good(), **OPTIONS)
  assert found == {"merged": [], "still": [], "border": []}


def test_each_fault_is_found_alone():
  """Planted faults are found where they are, and nothing else is."""
  points = good()
  rng = np.random.default_rng(1)
  points[:, 4] = points[:, 1] + 0.01 * rng.normal(size=(len(points), 2))
  points[:, 2] = (0.1, -0.2)
  # At the right border in most images, y moves freely.
  points[:, 5, 0] = np.where(np.arange(len(points)) % 3, 0.97, 0.2)
  found = diagnostics.faults(points, **OPTIONS)
  assert found == {"merged": [1, 4], "still": [2], "border": [5]}
  points[:, 5, 0] = np.where(np.arange(len(points)) % 3, 0.2, -0.97)
  assert diagnostics.faults(points, **OPTIONS)["border"] == []


@pytest.mark.parametrize("name", OPTIONS)
def test_thresholds_are_fractions_of_the_side(name):
  """A fault appears where its measure falls below the threshold, not above."""
  n = 400
  points = good(n, k=2, seed=3)
  sign = np.where(np.arange(n) % 2, 1, -1)
  if name == "merged":  # Distance 0.1 of the side, which is 2 long.
    points[:, 1] = points[:, 0] + [0.2, 0]
  elif name == "still":  # Deviation 0.1 of the side.
    points[:, 0] = 0.2 * sign[:, None] * np.array([0.6, 0.8])
  else:  # Distance to the border 0.1 of the side.
    points[:, 0] = [0.8, 0.0]
    points[:, 0, 1] = 0.3 * sign
  for threshold, faulty in ((0.099, False), (0.101, True)):
    found = diagnostics.faults(points, **OPTIONS | {name: threshold})
    assert (0 in found[name]) == faulty


def run(points, stages=("pose",)):
  """`Diagnostics` of an evaluator that finds these landmarks one by one."""
  config = ml_collections.ConfigDict(
    {"eval": {"diagnostics": OPTIONS | {"images": 100}}}
  )
  asked, points = [], iter(points)

  def landmarks(variables, images):
    asked.append((variables, images.names))
    return next(points)[: len(images)]

  evaluator = types.SimpleNamespace(landmarks=landmarks)
  stages = [types.SimpleNamespace(train=stages)]
  data = ArrayDataset(np.zeros((150, 1, 1, 3), np.uint8))
  diagnose = diagnostics.Diagnostics(config, evaluator, data, stages)
  return diagnose, asked


def test_new_faults_are_warned_of_once(caplog):
  """A warning names the landmarks and what to try, until they change."""
  bad = good()
  bad[:, 2] = (0.1, -0.2)
  worse = bad.copy()
  worse[:, 3] = (-0.3, 0.3)
  diagnose, asked = run([good(), bad, bad, worse, good()])
  counts = []
  with caplog.at_level(logging.WARNING, "c3_jax"):
    for step in range(5):
      counts.append(diagnose(step)["landmarks_still"])
  assert counts == [0, 1, 1, 2, 0]
  first = [str(i) for i in range(100)]
  assert asked == [(step, first) for step in range(5)]
  warned = [record.getMessage() for record in caplog.records]
  assert len(warned) == 2
  assert warned[0].startswith("Landmarks 3 hardly move")
  assert warned[1].startswith("Landmarks 3, 4 hardly move")
  assert "config.augment" in warned[0]


def test_nothing_is_said_where_no_landmark_is_trained():
  """The flow alone leaves E_p as it was drawn: nothing to count."""
  diagnose, asked = run([good()], stages=("flow",))
  assert diagnose(0) == {} and not asked


def test_every_key_in_the_advice_exists():
  """The warnings name keys that a config has."""
  config = settings.paper(k=10, cycle=1, flow=1)
  for advice in diagnostics.ADVICE.values():
    for path in re.findall(r"config\.([a-z_.]*[a-z_])", advice):
      part = config
      for name in path.split("."):
        part = part[name]
