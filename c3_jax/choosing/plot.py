"""The plot of the trials: each measure over K."""

import math

from c3_jax.figures import canvas

PLOTS = (
  ("off after a known warp, % of side", "consistency"),
  ("redrawn images differ by, %", "reconstruction"),
  ("faulty landmarks", "faults"),
  ("labelled error, % (not used)", "error"),
)
LINE, CHOSEN = "#1f4e8c", "#c4512d"


def draw(path, trials, chosen):
  """Draws choose_k.png.

  Args:
    path: the PNG to write.
    trials: list of `trials.Trial`.
    chosen: the K that is recommended, marked in every plot.
  """
  plots = [
    (title, name)
    for title, name in PLOTS
    if any(getattr(each, name) is not None for each in trials)
  ]
  figure = canvas.new_figure(canvas.WIDTH, 230)
  axes = figure.subplots(1, len(plots), squeeze=False)[0]
  ks = [each.k for each in trials]
  for ax, (title, name) in zip(axes, plots):
    values = [getattr(each, name) for each in trials]
    values = [math.nan if value is None else value for value in values]
    ax.axvline(chosen, color=CHOSEN, lw=1, ls=":")
    ax.plot(ks, values, color=LINE, marker="o", ms=4, lw=1.3)
    ax.plot(chosen, values[ks.index(chosen)], "o", color=CHOSEN, ms=7)
    ax.set_title(title, fontsize=canvas.FONT, pad=4)
    ax.set_xlabel("K", fontsize=canvas.FONT, labelpad=1)
    ax.set_xticks(ks)
    ax.tick_params(labelsize=canvas.FONT - 1.5, length=2, pad=2)
    ax.grid(alpha=0.3, lw=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    low, high = ax.get_ylim()
    ax.set_ylim(0 if name == "faults" else low, max(high, low + 1e-9))
  if max(each.faults for each in trials) == 0:
    axes[[name for _, name in plots].index("faults")].set_ylim(0, 1)
  figure.subplots_adjust(0.045, 0.17, 0.99, 0.88, wspace=0.25)
  canvas.save(figure, path)
