"""Figures of landmarks, swaps, transfers and training curves, as PNG files.

Pictures are drawn on axes that span [-1, 1] with y down, so that coordinates
plot directly. Every figure is about as wide as a README shows it. matplotlib is
used through its objects alone: no pyplot, no global state, no display.
"""

import json
import os

import matplotlib.colors
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, Patch, PathPatch
from matplotlib.path import Path

from c3_jax.errors import UserError

WIDTH = 900  # pixels
DPI = 100
CELL = 320  # largest side of a picture in pixels
GAP = 4
FONT = 8.5  # points
OUTLINE = "#202020"
STAGES = {"pairs": "#e8eef7", "flow": "#f7f0df", "cycle": "#e6f3e6"}
OTHER_STAGE = "#eeeeee"


def landmark_colours(k):
  """The colours of k landmarks, the same in every figure: [k, 3] in [0, 1]."""
  hue = np.arange(k) / k
  # More than a dozen hues cannot be told apart: every other one is darker.
  value = np.where((np.arange(k) % 2 == 1) & (k > 12), 0.6, 1.0)
  return matplotlib.colors.hsv_to_rgb(
    np.stack([hue, np.full(k, 0.9), value], -1)
  )


def landmarks_figure(
  path, images, landmarks, annotated=None, predicted=None, columns=8
):
  """Pictures with discovered landmarks as coloured dots.

  Args:
    path: the PNG to write.
    images: [n, S, S, 3], float in [0, 1], clipped.
    landmarks: [n, K, 2], (x, y) in [-1, 1].
    annotated: [n, P, 2] or None, drawn as white crosses.
    predicted: [n, P, 2] or None, regressed from landmarks, as white circles.
    columns: pictures in a row.
  """
  columns = min(columns, len(images))
  rows = -(-len(images) // columns)
  legend = annotated is not None or predicted is not None
  figure, axes, cell = _picture_grid(rows, columns, bottom=20 if legend else 0)
  colours = landmark_colours(landmarks.shape[1])
  for index, image in enumerate(images):
    ax = axes[index // columns, index % columns]
    _draw_image(ax, image)
    _draw_dots(ax, landmarks[index], colours, cell)
    if annotated is not None:
      _draw_crosses(ax, annotated[index], ["white"] * annotated.shape[1], cell)
    if predicted is not None:
      _draw_circles(ax, predicted[index], cell)
  for ax in axes.flat[len(images) :]:
    ax.remove()
  if legend:
    marks = [("o", "discovered", colours[0])]
    if annotated is not None:
      marks.append(("x", "annotated", "none"))
    if predicted is not None:
      marks.append(("o", "regressed", "none"))
    _mark_legend(figure, marks)
  _save(figure, path)


def swap_figure(path, images_a, images_p, swapped):
  """Appearance of one picture with the pose of another (Fig. 4).

  Args:
    path: the PNG to write.
    images_a: [r, S, S, 3], float in [0, 1]: appearances, the first column.
    images_p: [c, S, S, 3]: poses, the first row.
    swapped: [r, c, S, S, 3], D(a_i, p_j).
  """
  swapped = np.asarray(swapped)
  rows, columns = swapped.shape[:2]
  figure, axes, _ = _picture_grid(rows + 1, columns + 1, lead=10)
  for column, image in enumerate(images_p):
    _draw_image(axes[0, column + 1], image)
  for row, image in enumerate(images_a):
    _draw_image(axes[row + 1, 0], image)
    for column in range(columns):
      _draw_image(axes[row + 1, column + 1], swapped[row, column])
  corner = axes[0, 0]
  corner.set(xlim=(0, 1), ylim=(0, 1))
  corner.text(0.96, 0.5, "pose \u2192", ha="right", va="center", fontsize=FONT)
  corner.text(
    0.5, 0.06, "appearance \u2193", ha="center", va="bottom", fontsize=FONT
  )
  _save(figure, path)


def template_figure(path, images, reconstructions, pose_only, appearance_only):
  """What pose and appearance each carry (Fig. 4), one column a picture.

  Args:
    path: the PNG to write.
    images: [n, S, S, 3], float in [0, 1].
    reconstructions: [n, S, S, 3], D(a, p).
    pose_only: [n, S, S, 3], the decoder without appearance: the template face.
    appearance_only: [n, S, S, 3], the decoder without landmarks.
  """
  names = ["image", "reconstruction", "pose only", "appearance only"]
  lines = [images, reconstructions, pose_only, appearance_only]
  figure, axes, _ = _picture_grid(4, len(images), left=108)
  for row, (name, pictures) in enumerate(zip(names, lines)):
    _row_label(axes[row, 0], name)
    for column, picture in enumerate(pictures):
      _draw_image(axes[row, column], picture)
  _save(figure, path)


def transfer_figure(
  path,
  source_images,
  target_images,
  target_landmarks,
  transferred,
  source_landmarks=None,
):
  """Landmarks carried from source to target by the flow (Fig. 3).

  A line joins each carried landmark (cross) to the detected one (dot).

  Args:
    path: the PNG to write.
    source_images: [n, S, S, 3], float in [0, 1].
    target_images: [n, S, S, 3].
    target_landmarks: [n, K, 2], (x, y) in [-1, 1], detected in the target.
    transferred: [n, K, 2], those of the source, carried to the target.
    source_landmarks: [n, K, 2] or None, detected in the source.
  """
  figure, axes, cell = _picture_grid(2, len(source_images), left=50, bottom=20)
  colours = landmark_colours(target_landmarks.shape[1])
  _row_label(axes[0, 0], "source")
  _row_label(axes[1, 0], "target")
  for index, (source, target) in enumerate(
    zip(source_images, target_images, strict=True)
  ):
    top, bottom = axes[:, index]
    _draw_image(top, source)
    if source_landmarks is not None:
      _draw_dots(top, source_landmarks[index], colours, cell)
    _draw_image(bottom, target)
    pairs = np.stack([target_landmarks[index], transferred[index]], 1)
    bottom.plot(*pairs.T, color="white", lw=0.8, zorder=2)
    _draw_dots(bottom, target_landmarks[index], colours, cell)
    _draw_crosses(bottom, transferred[index], colours, cell)
  _mark_legend(
    figure,
    [("o", "detected", colours[0]), ("x", "carried by the flow", "none")],
  )
  _save(figure, path)


def curves_figure(path, jsonl_path, columns=4):
  """Training curves, one small plot a number, with the stages shaded.

  Positive curves have a logarithmic axis. The last line may be cut short, as in
  a run that is being written or was killed.

  Args:
    path: the PNG to write.
    jsonl_path: metrics.jsonl: one JSON object a line with "step", "stage" and
      numbers; lines may differ in their keys.
    columns: plots in a row.

  Raises:
    UserError: a line other than the last is not JSON, or there is no number.
  """
  curves, stages = read_curves(jsonl_path)
  columns = min(columns, len(curves))
  rows = -(-len(curves) // columns)
  figure = _new_figure(WIDTH, 34 + 142 * rows)
  axes = figure.subplots(rows, columns, squeeze=False, sharex=True)
  for ax, (name, (x, y)) in zip(axes.flat, curves.items()):
    for stage, first, last in stages:
      ax.axvspan(first, last, color=STAGES.get(stage, OTHER_STAGE), lw=0)
    _draw_curve(ax, x, y)
    ax.set_title(name, fontsize=FONT, pad=3)
    ax.set_xlim(stages[0][1], stages[-1][2])
    _style(ax)
  for ax in axes.flat[len(curves) :]:
    ax.remove()
  # Plots above a removed one are the lowest of their column.
  for ax in axes.flat[max(len(curves) - columns, 0) : len(curves)]:
    ax.tick_params(labelbottom=True)
    ax.set_xlabel("step", fontsize=FONT, labelpad=1)
  figure.legend(
    handles=[
      Patch(color=STAGES.get(stage, OTHER_STAGE), label=stage or "no stage")
      for stage in dict.fromkeys(stage for stage, _, _ in stages)
    ],
    loc="upper center",
    ncols=6,
    fontsize=FONT,
    frameon=False,
    borderaxespad=0.2,
  )
  figure.subplots_adjust(
    left=0.055,
    right=0.99,
    top=1 - 42 / (34 + 142 * rows),
    bottom=36 / (34 + 142 * rows),
    wspace=0.32,
    hspace=0.38,
  )
  _save(figure, path)


def error_curve_figure(path, errors):
  """Cumulative distribution of errors: the share of images below each error.

  Args:
    path: the PNG to write.
    errors: name -> [n] errors in per cent, one an image; NaN is left out.
  """
  figure = _new_figure(480, 320)
  ax = figure.add_axes([0.115, 0.14, 0.865, 0.83])
  ax.set_prop_cycle(color=matplotlib.colormaps["tab10"].colors)
  errors = {
    name: np.sort(values[~np.isnan(values)]) for name, values in errors.items()
  }
  # A few wild images must not squeeze all the curves to the left.
  limit = max(1, *(1.05 * np.percentile(v, 97) for v in errors.values()))
  ax.axvline(10, color="#999999", lw=0.8, ls=":")
  for name, values in errors.items():
    share = 100 * np.arange(len(values) + 1) / len(values)
    ax.step(
      np.concatenate([[0], values, [max(limit, values[-1])]]),
      np.concatenate([share, [100]]),
      where="post",
      lw=1.5,
      label=f"{name} (mean {values.mean():.2f} %)",
    )
  ax.set(xlim=(0, limit), ylim=(0, 100))
  ax.set_xlabel("error, %", fontsize=FONT)
  ax.set_ylabel("images below, %", fontsize=FONT)
  ax.legend(loc="lower right", fontsize=FONT)
  _style(ax)
  _save(figure, path)


def _new_figure(width, height):
  """An empty figure of width x height pixels."""
  figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
  FigureCanvasAgg(figure)
  return figure


def _picture_grid(rows, columns, left=0, bottom=0, lead=0):
  """Axes at whole pixels for square pictures.

  Args:
    rows, columns: of pictures.
    left, bottom: margins in pixels for labels.
    lead: extra gap in pixels after the first row and the first column.

  Returns:
    (figure, axes [rows, columns], side of a picture in pixels).
  """
  cell = (WIDTH - left - lead - GAP * (columns + 1)) // columns
  cell = max(min(cell, CELL), 1)
  width = left + lead + columns * (cell + GAP) + GAP
  height = bottom + lead + rows * (cell + GAP) + GAP
  figure = _new_figure(width, height)
  axes = np.empty((rows, columns), object)
  for row in range(rows):
    for column in range(columns):
      x = left + GAP + column * (cell + GAP) + (lead if column else 0)
      y = height - (row + 1) * (cell + GAP) - (lead if row else 0)
      ax = figure.add_axes([x / width, y / height, cell / width, cell / height])
      ax.axis("off")
      axes[row, column] = ax
  return figure, axes, cell


def _draw_image(ax, image):
  """Shows [S, S, 3] on [-1, 1]^2, y down."""
  ax.imshow(
    np.clip(np.asarray(image, np.float32), 0, 1),
    extent=(-1, 1, 1, -1),
    interpolation="bicubic",
  )
  ax.set(xlim=(-1, 1), ylim=(1, -1))


def _radius(cell):
  """Radius of a mark in coordinates, for pictures of `cell` pixels."""
  return max(2.5, 0.025 * cell) * 2 / cell


# Marks are single patches in coordinates: Agg puts markers on whole pixels, and
# a collection of one path, which it treats as a marker, half a pixel off.


def _draw_dots(ax, points, colours, cell):
  """Filled dots with a dark outline at points [K, 2]."""
  for point, colour in zip(np.asarray(points), colours):
    ax.add_patch(
      Circle(point, _radius(cell), fc=colour, ec=OUTLINE, lw=0.8, zorder=3)
    )


def _draw_circles(ax, points, cell):
  """Open white circles with a dark outline at points [P, 2]."""
  for edge, width in ((OUTLINE, 2.2), ("white", 1.0)):
    for point in np.asarray(points):
      ax.add_patch(
        Circle(
          point, 1.5 * _radius(cell), fill=False, ec=edge, lw=width, zorder=5
        )
      )


def _draw_crosses(ax, points, colours, cell):
  """Crosses with a dark outline at points [P, 2]."""
  reach = 1.1 * _radius(cell)
  arms = reach * np.array([[-1, -1], [1, 1], [-1, 1], [1, -1]])
  codes = [Path.MOVETO, Path.LINETO] * 2
  for point, colour in zip(np.asarray(points), colours):
    for edge, width, zorder in ((OUTLINE, 2.6, 3.5), (colour, 1.3, 4)):
      ax.add_patch(
        PathPatch(
          Path(point + arms, codes),
          fill=False,
          ec=edge,
          lw=width,
          zorder=zorder,
        )
      )


def _row_label(ax, text):
  """Writes text to the left of a picture."""
  ax.text(
    -0.05,
    0.5,
    text,
    ha="right",
    va="center",
    fontsize=FONT,
    transform=ax.transAxes,
  )


def _mark_legend(figure, marks):
  """Explains marks (marker, label, fill colour) below the pictures."""
  figure.legend(
    handles=[
      Line2D(
        [], [], ls="", marker=marker, mfc=fill, mec=OUTLINE, label=label, ms=6
      )
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


def read_curves(path):
  """Reads metrics.jsonl.

  Returns:
    (curves, stages): curves maps a name to (steps [n], values [n]); stages is
    a list of (stage, first step, last step). Steps that start anew with a stage
    are counted on.
  """
  with open(path, encoding="utf-8") as file:
    lines = file.read().splitlines()
  curves, stages, offset, last = {}, [], 0, 0
  for number, line in enumerate(lines, 1):
    try:
      record = json.loads(line)
    except json.JSONDecodeError as error:
      if number == len(lines):
        break
      raise UserError(
        f"{path}: line {number} is not JSON: delete that line"
      ) from error
    stage = record.get("stage", stages[-1][0] if stages else None)
    step = record["step"] + offset
    if not stages or stage != stages[-1][0]:
      if step < last:
        offset, step = last, record["step"] + last
      stages.append((stage, last if stages else min(step, 0), step))
    last = max(last, step)
    stages[-1] = (*stages[-1][:2], max(last, stages[-1][1] + 1))
    for name, value in record.items():
      if name not in ("step", "stage") and type(value) in (int, float):
        curves.setdefault(name, ([], []))
        curves[name][0].append(step)
        curves[name][1].append(value)
  if not curves:
    raise UserError(f"{path} holds no numbers yet: train for longer")
  if "images_per_second" in curves:
    curves["images_per_second"] = curves.pop("images_per_second")
  return {
    name: (np.array(x), np.where(np.isfinite(y), y, np.nan))
    for name, (x, y) in curves.items()
  }, stages


def _draw_curve(ax, x, y):
  """One curve: markers when short, with a running mean when long."""
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


def _style(ax):
  """Thin frame, small numbers."""
  ax.tick_params(which="both", labelsize=FONT - 1.5, length=2, pad=2)
  ax.grid(alpha=0.3, lw=0.5)
  for side in ("top", "right"):
    ax.spines[side].set_visible(False)


def _save(figure, path):
  """Writes the PNG whole or not at all."""
  path = os.fspath(path)
  os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
  partial = f"{path}.{os.getpid()}.partial"
  try:
    # Without matplotlib's version in it, the same figure is the same file.
    figure.savefig(partial, format="png", dpi=DPI, metadata={"Software": None})
    os.replace(partial, path)
  finally:
    if os.path.exists(partial):
      os.remove(partial)
