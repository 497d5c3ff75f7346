"""Figures of curves: how training went, and how errors are spread."""

from itertools import cycle

import matplotlib
import numpy as np
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from c3_jax.errors import UserError
from c3_jax.figures import canvas
from c3_jax.runs import log

STAGES = {"pairs": "#e8eef7", "flow": "#f7f0df", "cycle": "#e6f3e6"}
OTHER_STAGE = "#eeeeee"


def curves_figure(path, jsonl_path, columns=4):
  """Draws training curves, one small plot a number, with the stages shaded.

  Positive curves have a logarithmic axis.

  Args:
    path: the PNG to write.
    jsonl_path: metrics.jsonl: one JSON object a line with "step", "stage" and
      numbers; lines may differ in their keys.
    columns: plots in a row.

  Raises:
    UserError: as `read_curves`.
  """
  curves, stages = read_curves(jsonl_path)
  columns = min(columns, len(curves))
  rows = -(-len(curves) // columns)
  height = 34 + 142 * rows
  figure = canvas.new_figure(canvas.WIDTH, height)
  axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
  for ax, (name, (x, y)) in zip(axes.flat, curves.items()):
    for stage, first, last in stages:
      ax.axvspan(first, last, color=STAGES.get(stage, OTHER_STAGE), lw=0)
    _draw_curve(ax, x, y)
    ax.set_title(name, fontsize=canvas.FONT, pad=3)
    ax.set_xlim(stages[0][1], stages[-1][2])
    _style(ax)
  for ax in axes.flat[len(curves) :]:
    ax.remove()
  # Plots above a removed one are the lowest of their column.
  for ax in axes.flat[len(curves) - columns : len(curves)]:
    ax.tick_params(labelbottom=True)
    ax.set_xlabel("step", fontsize=canvas.FONT, labelpad=1)
  figure.legend(
    handles=[
      Patch(color=STAGES.get(name, OTHER_STAGE), label=name or "no stage")
      for name in dict.fromkeys(name for name, _, _ in stages)
    ],
    loc="upper center",
    ncols=6,
    fontsize=canvas.FONT,
    frameon=False,
    borderaxespad=0.2,
  )
  top, bottom = 1 - 42 / height, 36 / height
  figure.subplots_adjust(0.055, bottom, 0.99, top, wspace=0.32, hspace=0.38)
  canvas.save(figure, path)


def error_curve_figure(path, errors):
  """Draws the cumulative distribution of errors over images.

  `errors` maps a name to [n] errors in per cent; NaN is left out.
  """
  figure = canvas.new_figure(480, 320)
  ax = figure.add_axes([0.115, 0.14, 0.865, 0.83])
  ax.set_prop_cycle(color=matplotlib.colormaps["tab10"].colors)
  errors = {
    name: np.sort(values[~np.isnan(values)]) for name, values in errors.items()
  }
  # A few wild images must not squeeze all the curves to the left.
  limit = max(1, *(1.05 * np.percentile(v, 97) for v in errors.values()))
  ax.axvline(10, color="#999999", lw=0.8, ls=":")
  # Two regressions often differ by less than a line's width.
  for (name, values), style in zip(errors.items(), cycle(("-", "--"))):
    share = 100 * np.arange(len(values) + 1) / len(values)
    ax.step(
      np.concatenate([[0], values, [max(limit, values[-1])]]),
      np.concatenate([share, [100]]),
      where="post",
      lw=1.5,
      ls=style,
      label=f"{name} (mean {values.mean():.2f} %)",
    )
  ax.set(xlim=(0, limit), ylim=(0, 100))
  ax.set_xlabel("error, %", fontsize=canvas.FONT)
  ax.set_ylabel("images below, %", fontsize=canvas.FONT)
  ax.legend(loc="lower right", fontsize=canvas.FONT)
  _style(ax)
  canvas.save(figure, path)


def read_curves(path):
  """Reads metrics.jsonl; lines that are damaged are left out.

  Returns:
    (curves, stages): curves maps a name to (steps [n], values [n]); stages is
    a list of (stage, first step, last step).

  Raises:
    UserError: there is no number.
  """
  records, _ = log.read_metrics(path)
  curves, stages, last = {}, [], 0
  for _, record in records:
    stage = record.get("stage", stages[-1][0] if stages else None)
    step = record["step"]
    if not stages or stage != stages[-1][0]:
      stages.append((stage, last if stages else min(step, 0), step))
    last = max(last, step)
    stages[-1] = (*stages[-1][:2], max(last, stages[-1][1] + 1))
    for name, value in record.items():
      # The first speed of a stage is 0: it was not measured.
      if name == "images_per_second" and not value:
        continue
      if name not in ("step", "stage") and type(value) in (int, float):
        curves.setdefault(name, []).append((step, value))
  if not curves:
    raise UserError(f"{path} holds no numbers yet: train for longer")
  if "images_per_second" in curves:
    curves["images_per_second"] = curves.pop("images_per_second")
  arrays = {name: np.transpose(pairs) for name, pairs in curves.items()}
  return {
    name: (x, np.where(np.isfinite(y), y, np.nan))
    for name, (x, y) in arrays.items()
  }, stages


def _draw_curve(ax, x, y):
  """Draws one curve: markers when short, with a running mean when long."""
  n = len(y)
  if n > 100:
    ax.plot(x, y, color="#9db8d8", lw=0.6)
    window = n // 40
    mean = np.convolve(y, np.ones(window) / window, "valid")
    ax.plot(x[window // 2 :][: len(mean)], mean, color="#1f4e8c", lw=1.3)
  else:
    marker = "." if n < 30 else ""
    ax.plot(x, y, color="#1f4e8c", lw=1.2, marker=marker, ms=4)
  finite = y[~np.isnan(y)]
  # Over less than a factor of 3 a logarithmic axis has no labelled tick.
  if finite.size and finite.min() > 0 and finite.max() > 3 * finite.min():
    ax.set_yscale("log")
    # matplotlib's own choice is a number at every tick, or at none.
    ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=5))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    ax.yaxis.set_minor_locator(NullLocator())


def _style(ax):
  """Sets a thin frame and small numbers."""
  ax.tick_params(which="both", labelsize=canvas.FONT - 1.5, length=2, pad=2)
  ax.grid(alpha=0.3, lw=0.5)
  ax.spines[["top", "right"]].set_visible(False)
