"""Two runs in one figure: the same images, each network's own results."""

import functools

import jax
import numpy as np
import pytest
from PIL import Image

from c3_jax.errors import UserError
from c3_jax.evaluation.pairs.transfer import carry
from c3_jax.figures import side_by_side
from c3_jax.runs import load_trained


def jitted(model, variables, method, *args):
  """What a method of a network gives."""
  apply = functools.partial(model.apply, method=method)
  return jax.jit(apply)(variables, *args)


@pytest.mark.slow
def test_both_runs_are_drawn_on_the_test_images_of_the_first(
  save_run, tmp_path, monkeypatch
):
  """Swaps and carried landmarks are each network's own, the images shared."""
  workdirs = [tmp_path / "a", tmp_path / "b"]
  for workdir, step in zip(workdirs, (1, 900), strict=True):
    save_run(workdir, {step: 1.0})
  # The data of the second run is not read.
  path = workdirs[1] / "config.json"
  path.write_text(path.read_text().replace('"synthetic"', '"folder"'))
  seen, draw = [], side_by_side._draw

  def spy(path, sides):
    seen.extend(sides)
    draw(path, sides)

  monkeypatch.setattr(side_by_side, "_draw", spy)
  out = tmp_path / "out.png"
  side_by_side.two_runs(out, workdirs)
  with Image.open(out) as image:
    assert image.format == "PNG" and image.height > image.width
  first, second = seen
  assert (first.name, second.name) == ("a", "b")
  np.testing.assert_array_equal(first.images, second.images)
  for side, workdir in zip(seen, workdirs, strict=True):
    _, model, variables, _ = load_trained(workdir)
    run = functools.partial(jitted, model, variables)
    a, pose, features = run("encode", side.images)
    np.testing.assert_allclose(side.points, pose.points, atol=1e-4)
    assert side.swapped.shape == (2, 6, 16, 16, 3)
    # The last two images lend their looks, the first six their poses.
    want = run("decode", a[np.array([10, 11])], pose.maps[np.array([0, 4])])
    got = side.swapped[0, 0], side.swapped[1, 4]
    np.testing.assert_allclose(got, want, atol=1e-3)
    scores = run("match", features[1::2], features[::2])
    want = carry(scores, pose.points[::2])
    np.testing.assert_allclose(side.carried, want, atol=1e-3)
  assert np.abs(first.points - second.points).max() > 1e-3


@pytest.mark.parametrize("count", [0, 1, 3])
def test_another_number_of_runs_is_refused(count, tmp_path):
  """One line names the flags."""
  with pytest.raises(UserError, match=f"--figure.*--workdirs names {count}"):
    side_by_side.two_runs(tmp_path / "a.png", ["run"] * count)
