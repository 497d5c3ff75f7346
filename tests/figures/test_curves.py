"""Curves are drawn from the lines of metrics.jsonl, whatever is in them."""

import json

import numpy as np
import pytest
from PIL import Image

from c3_jax.errors import UserError
from c3_jax.figures import canvas, curves


def read(path):
  """The PNG at path as [h, w, 3] float in [0, 1]."""
  with Image.open(path) as image:
    return np.asarray(image.convert("RGB"), np.float64) / 255


def write_metrics(path, records, tail=""):
  """Writes JSON lines and perhaps the beginning of one more."""
  lines = "".join(json.dumps(record) + "\n" for record in records)
  path.write_text(lines + tail)
  return path


def make_records():
  """Three stages of 120 steps, with evaluation lines that have other keys."""
  records = []
  for stage, first in (("pairs", 0), ("flow", 120), ("cycle", 240)):
    for step in range(first + 1, first + 121):
      records.append(
        {"step": step, "stage": stage, "images_per_second": 90.0 + step % 7}
        | {stage: np.exp(-step / 40)}
      )
    records.append({"step": step, "stage": stage, "error": 20 - step / 30})
  return records


def test_curves_ignore_a_line_cut_short(tmp_path):
  """A truncated last line changes nothing in the figure."""
  records = make_records()
  whole = write_metrics(tmp_path / "whole.jsonl", records)
  cut = write_metrics(
    tmp_path / "cut.jsonl", records, tail='{"step": 361, "stage": "cyc'
  )
  curves.curves_figure(tmp_path / "whole.png", whole)
  curves.curves_figure(tmp_path / "cut.png", cut)
  drawn = read(tmp_path / "whole.png")
  assert drawn.shape[1] == canvas.WIDTH
  assert 200 < drawn.shape[0] < 600
  np.testing.assert_array_equal(drawn, read(tmp_path / "cut.png"))


def test_curves_are_read_with_their_stages(tmp_path):
  """Names keep their own steps, stages join up, speed is the last plot."""
  path = write_metrics(tmp_path / "m.jsonl", make_records())
  found, stages = curves.read_curves(path)
  assert stages == [("pairs", 0, 120), ("flow", 120, 240), ("cycle", 240, 360)]
  assert list(found) == [
    "pairs",
    "error",
    "flow",
    "cycle",
    "images_per_second",
  ]
  np.testing.assert_array_equal(found["error"][0], [120, 240, 360])
  np.testing.assert_array_equal(found["flow"][0], np.arange(121, 241))
  np.testing.assert_allclose(
    found["flow"][1], np.exp(-np.arange(121, 241) / 40)
  )


def test_odd_metrics_are_drawn(tmp_path):
  """One line, NaN, infinity, text, nested values and no stage do no harm."""
  one = write_metrics(tmp_path / "one.jsonl", [{"step": 0, "loss": 1.0}])
  curves.curves_figure(tmp_path / "one.png", one)
  odd = [
    {"step": step, "stage": "other", "a": value, "b": "text", "c": {"d": 1}}
    for step, value in enumerate([1.0, float("nan"), float("inf"), -3] * 40)
  ]
  odd += [{"step": 160, "stage": "other", "all_nan": float("nan")}]
  path = write_metrics(tmp_path / "odd.jsonl", odd)
  curves.curves_figure(tmp_path / "odd.png", path)
  found, _ = curves.read_curves(path)
  assert list(found) == ["a", "all_nan"]
  np.testing.assert_array_equal(found["a"][1][:4], [1, np.nan, np.nan, -3])
  assert read(tmp_path / "odd.png").shape[1] == canvas.WIDTH


def test_broken_metrics_name_the_file(tmp_path):
  """A bad line in the middle is left out; an empty file says so."""
  path = tmp_path / "m.jsonl"
  path.write_text('{"step": 1, "a": 2.0}\nnonsense\n{"step": 2, "a": 1}\n')
  found, _ = curves.read_curves(path)
  np.testing.assert_array_equal(found["a"], [[1, 2], [2.0, 1.0]])
  path.write_text('{"step": 1, "lo')
  with pytest.raises(UserError, match="m.jsonl holds no numbers"):
    curves.curves_figure(tmp_path / "a.png", path)
  assert list(tmp_path.iterdir()) == [path]


def test_error_curves_are_drawn_for_each_name(tmp_path):
  """Each curve adds its own colour; NaN and errors of zero are no trouble."""
  rng = np.random.default_rng(0)
  errors = {"ours": rng.gamma(4, 1, 99), "mean shape": rng.gamma(4, 4, 99)}
  errors["ours"][5] = np.nan
  curves.error_curve_figure(tmp_path / "both.png", errors)
  curves.error_curve_figure(tmp_path / "zero.png", {"ours": np.zeros(4)})
  both, zero = read(tmp_path / "both.png"), read(tmp_path / "zero.png")
  assert both.shape == zero.shape == (320, 480, 3)
  orange = np.array([1.0, 0.498, 0.055])
  near = [np.abs(a - orange).max(-1) < 0.05 for a in (both, zero)]
  assert near[0].sum() > 200 and near[1].sum() == 0
