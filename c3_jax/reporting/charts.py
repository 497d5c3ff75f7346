"""Charts as SVG inside HTML: they take the colours of the page, dark or light.

Charts have no scripts. Their classes are in style.css.
"""

import math

import numpy as np

from c3_jax.reporting.markup import escape

WIDTH, HEIGHT = 320, 150
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 26, 20
POINTS = 160  # More cannot be told apart.
STAGES = ("pairs", "flow", "cycle")


def curve(title, lines, stages=(), *, end=None):
  """Draws numbers over steps.

  Args:
    title: str.
    lines: list of (name, steps [n], values [n]), one a run; NaN is left out.
    stages: list of (stage, first step, last step), shaded.
    end: last step of the axis; by default that of the lines.

  Returns:
    An SVG element; "" where there is no finite value.
  """
  lines = [(name, *_finite(x, y)) for name, x, y in lines]
  values = np.concatenate([y for _, _, y in lines] or [[]])
  if not values.size:
    return ""
  end = end or max(x[-1] for _, x, _ in lines if x.size)
  low, high = float(values.min()), float(values.max())
  # Over less than a factor of 3 a logarithm changes little.
  log = low > 0 and high > 3 * low
  ticks = _log_ticks(low, high) if log else _ticks(low, high)
  low, high = min(low, ticks[0]), max(high, ticks[-1])
  scale = np.log10 if log else lambda v: v
  bottom, top = scale(low), scale(high)
  reach = (top - bottom) or 1

  def across(step):
    return LEFT + (WIDTH - LEFT - RIGHT) * np.asarray(step) / max(end, 1)

  def up(value):
    share = (scale(value) - bottom) / reach
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

  parts = [
    f'<rect class="stage {stage if stage in STAGES else "other"}" '
    f'x="{across(first):.1f}" y="{TOP}" '
    f'width="{across(last) - across(first):.1f}" '
    f'height="{HEIGHT - TOP - BOTTOM}"/>'
    for stage, first, last in stages
  ]
  for tick in ticks:
    y = float(up(tick))
    parts.append(
      f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" '
      f'y2="{y:.1f}"/><text class="tick" x="{LEFT - 5}" y="{y + 3.5:.1f}" '
      f'text-anchor="end">{tick:g}</text>'
    )
  parts.append(
    f'<text class="tick" x="{LEFT}" y="{HEIGHT - 5}">0</text>'
    f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 5}" '
    f'text-anchor="end">{end:,} steps</text>'
    f'<text class="name" x="{LEFT}" y="15">{escape(title)}</text>'
  )
  if len(lines) == 1 and lines[0][2].size:
    parts.append(
      f'<text class="last" x="{WIDTH - RIGHT}" y="15" text-anchor="end">'
      f"{lines[0][2][-1]:.4g}</text>"
    )
  for i, (_, x, y) in enumerate(lines):
    x, y = _thinned(x, y)
    places = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across(x), up(y)))
    parts.append(f'<polyline class="line run{i % 6}" points="{places}"/>')
    if len(x) == 1:
      parts.append(f'<circle class="dot run{i % 6}" r="2.5" {_at(places)}/>')
  about = f"{title}, {'; '.join(_spoken(*line) for line in lines)}"
  return (
    f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
    f'aria-label="{escape(about)}">{"".join(parts)}</svg>'
  )


def bars(rows):
  """Draws numbers as bars, the shorter the better.

  Args:
    rows: list of (label, value or None, class: "own", "other" or "").

  Returns:
    HTML.
  """
  longest = max([value for _, value, _ in rows if value is not None] or [0])
  cells = []
  for label, value, kind in rows:
    if value is None:
      continue
    share = 100 * value / longest if longest > 0 else 0
    cells.append(
      f'<div class="bar {kind}"><span class="label">{escape(label)}</span>'
      f'<span class="track"><span class="fill" style="width:{share:.1f}%">'
      f'</span></span><span class="value">{value:.2f}</span></div>'
    )
  return f'<div class="bars">{"".join(cells)}</div>'


def _finite(x, y):
  keep = np.isfinite(np.asarray(y, float))
  return np.asarray(x)[keep], np.asarray(y, float)[keep]


def _thinned(x, y):
  """Averages neighbours where there are more than `POINTS`."""
  if len(x) <= POINTS:
    return x, y
  parts = np.array_split(np.arange(len(x)), POINTS)
  return (np.array([a[part].mean() for part in parts]) for a in (x, y))


def _ticks(low, high):
  """Chooses two to five round numbers from low to high, and beyond."""
  reach = (high - low) or abs(high) or 1.0
  unit = 10.0 ** math.floor(math.log10(reach))
  step = next(unit * m for m in (0.25, 0.5, 1, 2.5) if reach / (unit * m) <= 4)
  first = math.floor(low / step + 1e-9)
  last = math.ceil(high / step - 1e-9)
  return [
    float(f"{i * step:.6g}") for i in range(first, max(last, first + 1) + 1)
  ]


def _log_ticks(low, high):
  """Chooses powers of ten, or 1, 2 and 5 times these, around low to high."""
  decades = math.log10(high / low)
  steps = (1,) if decades > 2 else (1, 3) if decades > 1 else (1, 2, 5)
  powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
  found = [float(f"{m * 10.0**p:.6g}") for p in powers for m in steps]
  first = max((i for i, t in enumerate(found) if t <= low), default=0)
  last = min((i for i, t in enumerate(found) if t >= high), default=None)
  found = found[first : None if last is None else last + 1]
  # Of many decades every other one.
  return found[:: 1 + len(found) // 7]


def _at(place):
  x, y = place.split(",")
  return f'cx="{x}" cy="{y}"'


def _spoken(name, _, y):
  words = f"from {y[0]:.4g} to {y[-1]:.4g}" if y.size else "nothing"
  return f"{name}: {words}" if name else words
