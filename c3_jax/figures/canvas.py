"""The parts of figures: images on a grid, marks on them, PNG files.

Images are drawn on axes that span [-1, 1] with y down, so that coordinates
plot directly. matplotlib is used through its objects alone: no pyplot, no
global state, no display.
"""

import os

import matplotlib.colors
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, PathPatch
from matplotlib.path import Path

from c3_jax.runtime import files, output

WIDTH = 900  # pixels; about what a README shows
DPI = 100
CELL = 320  # largest side of an image in pixels
GAP = 4
FONT = 8.5  # points
OUTLINE = "#202020"


def landmark_colours(k):
  """Gives k landmarks their colours, alike in all figures: [k, 3] in [0, 1]."""
  hue = np.arange(k) / k
  # More than a dozen hues cannot be told apart: every other one is darker.
  value = np.where((np.arange(k) % 2 == 1) & (k > 12), 0.6, 1.0)
  return matplotlib.colors.hsv_to_rgb(
    np.stack([hue, np.full(k, 0.9), value], -1)
  )


def new_figure(width, height):
  """Makes an empty figure of width x height pixels."""
  return Figure(figsize=(width / DPI, height / DPI), dpi=DPI)


def image_grid(rows, columns, left=0, bottom=0, lead=0):
  """Lays out axes at whole pixels for square images.

  Args:
    rows, columns: of images.
    left, bottom: margins in pixels for labels.
    lead: extra gap in pixels after the first row and the first column.

  Returns:
    (figure, axes [rows, columns], side of an image in pixels).
  """
  cell = (WIDTH - left - lead - GAP * (columns + 1)) // columns
  cell = max(min(cell, CELL), 1)
  width = left + lead + columns * (cell + GAP) + GAP
  height = bottom + lead + rows * (cell + GAP) + GAP
  figure = new_figure(width, height)
  axes = np.empty((rows, columns), object)
  for row, column in np.ndindex(rows, columns):
    x = left + GAP + column * (cell + GAP) + (lead if column else 0)
    y = height - (row + 1) * (cell + GAP) - (lead if row else 0)
    ax = figure.add_axes([x / width, y / height, cell / width, cell / height])
    ax.axis("off")
    axes[row, column] = ax
  return figure, axes, cell


def draw_image(ax, image):
  """Shows [S, S, 3] on [-1, 1]^2, y down."""
  ax.imshow(
    np.clip(np.asarray(image, np.float32), 0, 1),
    extent=(-1, 1, 1, -1),
    interpolation="bicubic",
  )
  ax.set(xlim=(-1, 1), ylim=(1, -1))


def _radius(cell):
  """Gives the radius of a mark in coordinates, for images of `cell` pixels."""
  return max(2.5, 0.025 * cell) * 2 / cell


# Marks are single patches in coordinates: Agg puts markers on whole pixels, and
# a collection of one path, which it treats as a marker, half a pixel off.


def draw_dots(ax, points, colours, cell):
  """Draws filled dots with a dark outline at points [K, 2]."""
  style = {"ec": OUTLINE, "lw": 0.8, "zorder": 3}
  for point, colour in zip(np.asarray(points), colours):
    ax.add_patch(Circle(point, _radius(cell), fc=colour, **style))


def draw_circles(ax, points, cell):
  """Draws open white circles with a dark outline at points [P, 2]."""
  for edge, width in ((OUTLINE, 2.2), ("white", 1.0)):
    style = {"fill": False, "ec": edge, "lw": width, "zorder": 5}
    for point in np.asarray(points):
      ax.add_patch(Circle(point, 1.5 * _radius(cell), **style))


def draw_crosses(ax, points, colours, cell):
  """Draws crosses with a dark outline at points [P, 2] that are not NaN."""
  reach = 1.1 * _radius(cell)
  arms = reach * np.array([[-1, -1], [1, 1], [-1, 1], [1, -1]])
  codes = [Path.MOVETO, Path.LINETO] * 2
  for point, colour in zip(np.asarray(points), colours):
    if np.isnan(point).any():
      continue
    for edge, width, zorder in ((OUTLINE, 2.6, 3.5), (colour, 1.3, 4)):
      style = {"fill": False, "ec": edge, "lw": width, "zorder": zorder}
      ax.add_patch(PathPatch(Path(point + arms, codes), **style))


def write(ax, text, x=-0.05, y=0.5, *, ha="right", va="center"):
  """Writes text beside an image, or over it; [0, 1] is its side, y up."""
  style = {"ha": ha, "va": va, "fontsize": FONT, "transform": ax.transAxes}
  ax.text(x, y, text, **style)


def mark_legend(figure, marks):
  """Explains marks (marker, label, fill colour) below the images."""
  style = {"ls": "", "mec": OUTLINE, "ms": 6}
  figure.legend(
    handles=[
      Line2D([], [], marker=marker, label=label, mfc=fill, **style)
      for marker, label, fill in marks
    ],
    loc="lower center",
    ncols=len(marks),
    fontsize=FONT,
    frameon=False,
    borderpad=0,
    borderaxespad=0.2,
    handletextpad=0.1,
  )


def save(figure, path):
  """Writes the PNG whole or not at all."""
  os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
  with files.write_whole(path) as file:
    # Without matplotlib's version in it, the same figure is the same file.
    figure.savefig(
      file, format="png", dpi=DPI, metadata={"Software": output.SOFTWARE}
    )
