"""The benchmark of faces pairs different people and measures both networks."""

import numpy as np
import pytest

from benchmarks import facelab
from c3_jax.data import fake
from c3_jax.data.in_memory import ArrayDataset
from c3_jax.errors import UserError
from c3_jax.models import initial
from c3_jax.runs import Trained
from c3_jax.training.state import initial_state
from configs import synthetic


def test_each_image_meets_the_next_ones():
  """Every ordered couple of a shift once, never an image with itself."""
  n = 5
  images = np.zeros((n, 8, 8, 3), np.uint8) + np.arange(
    n, dtype=np.uint8
  ).reshape(n, 1, 1, 1)
  points = np.random.default_rng(0).uniform(-0.9, 0.9, (n, 4, 2))
  points[2, 1, 0] = 1.5  # Out of sight in one image: left out of all.
  found = facelab.pairs_of(ArrayDataset(images, points), (1, 3))
  couples = found.images[:, 0, 0, 0].reshape(-1, 2).tolist()
  assert couples == [[i, (i + s) % n] for s in (1, 3) for i in range(n)]
  np.testing.assert_array_equal(
    found.points[1], np.float32(points[1][[0, 2, 3]])
  )


@pytest.mark.slow
def test_an_untrained_network_is_measured_as_such(tmp_path, monkeypatch):
  """With the initial parameters both columns are the same numbers."""
  fake.write_folder(tmp_path, train=4, test=6)
  config = synthetic.get_config("test")
  model, _ = initial.networks(config)
  state = initial_state(config, model)
  trained = Trained(config, model, state.variables, 7)
  monkeypatch.setattr(facelab, "load_trained", lambda workdir: trained)
  run = lambda shifts: facelab.run("run", tmp_path, "landmarks.csv", shifts)  # noqa: E731
  result = run([1, 2])
  assert result["trained"] == result["untrained"]
  assert (result["people"], result["trained"]["pairs"]) == (6, 12)
  text = facelab.table(result)
  assert f"{result['trained']['readings']['flow']['box@0.1']:.1f}" in text
  with pytest.raises(UserError, match="use 1 to 5"):
    run([6])
