"""Charts as SVG."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from c3_jax.reporting import charts


def read(svg):
  """Parses a chart: (places of its lines, values of its ticks)."""
  root = ElementTree.fromstring(svg)
  lines = [
    np.array([pair.split(",") for pair in each.get("points").split()], float)
    for each in root.iter("polyline")
  ]
  ticks = [
    (float(each.text), float(each.get("y")) - 3.5)
    for each in root.iter("text")
    if each.get("class") == "tick" and each.get("text-anchor") == "end"
    if re.fullmatch(r"-?[\d.e+-]+", each.text)
  ]
  return lines, ticks


SERIES = {
  "falling": 3.0 / np.arange(1, 40),
  "constant": np.full(5, 2.0),
  "zero": np.zeros(5),
  "negative": np.linspace(-0.31, 0.27, 50),
  "one": np.array([0.4]),
  "many decades": 10.0 ** np.linspace(-9, 6, 30),
  "with gaps": np.array([1.0, np.nan, 2.0, np.inf, 1.5]),
  "long": np.random.default_rng(0).normal(5, 1, 5000),
}


@pytest.mark.parametrize("values", SERIES.values(), ids=SERIES)
def test_lines_lie_where_the_ticks_say(values):
  """Places are between the ticks, and interpolate them, maybe in logarithms."""
  steps = 10 * np.arange(1, len(values) + 1)
  (line,), ticks = read(charts.curve("x", [("", steps, values)]))
  finite = np.isfinite(values)
  if len(values) < charts.POINTS:
    numbers, heights = np.transpose(ticks)
    y = values[finite]
    log = y.min() > 0 and y.max() > 3 * y.min()
    scale = np.log10 if log else np.asarray
    want = np.interp(scale(y), scale(numbers), heights)
    np.testing.assert_allclose(line[:, 1], want, atol=0.11)
    assert numbers[0] <= y.min() * (1 + 1e-6) + 1e-9
    assert numbers[-1] >= y.max() * (1 - 1e-6) - 1e-9
    assert len(line) == finite.sum()
  assert 2 <= len(ticks) <= 8
  assert line[:, 0].min() >= charts.LEFT
  assert line[:, 0].max() <= charts.WIDTH - charts.RIGHT
  assert len(line) <= charts.POINTS


def test_nothing_finite_is_no_chart():
  """An empty series, and one of NaN."""
  nan = np.full(3, np.nan)
  assert charts.curve("x", [("", np.arange(3), nan), ("", [], [])]) == ""


def test_names_cannot_break_out():
  """Titles and names of runs are text."""
  svg = charts.curve("<b>", [('"><script>', np.arange(3), np.arange(3.0))])
  root = ElementTree.fromstring(svg)
  assert not list(root.iter("script")) and not list(root.iter("b"))


def test_bars_are_as_long_as_their_numbers():
  """In per cent of the longest; None has none."""
  rows = [("a", 10.0, "own"), ("b", 40.0, ""), ("c", None, "")]
  found = re.findall(r"width:([\d.]+)%", charts.bars(rows))
  assert found == ["25.0", "100.0"]
