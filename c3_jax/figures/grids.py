"""Figures of landmarks, swaps, template face and transfers, as PNG files."""

import numpy as np

from c3_jax.figures import canvas
from c3_jax.figures.canvas import landmark_colours


def landmarks_figure(
  path, images, landmarks, annotated=None, predicted=None, columns=6
):
  """Draws images with discovered landmarks as coloured dots.

  Args:
    path: the PNG to write.
    images: [n, S, S, 3], float in [0, 1], clipped.
    landmarks: [n, K, 2], (x, y) in [-1, 1].
    annotated: [n, P, 2] or None, drawn as white crosses.
    predicted: [n, P, 2] or None, regressed from landmarks, as white circles.
    columns: images in a row.
  """
  columns = min(columns, len(images))
  rows = -(-len(images) // columns)
  legend = annotated is not None or predicted is not None
  figure, axes, cell = canvas.image_grid(
    rows, columns, bottom=20 if legend else 0
  )
  colours = landmark_colours(landmarks.shape[1])
  for index, image in enumerate(images):
    ax = axes[index // columns, index % columns]
    canvas.draw_image(ax, image)
    canvas.draw_dots(ax, landmarks[index], colours, cell)
    if annotated is not None:
      canvas.draw_crosses(
        ax, annotated[index], ["white"] * annotated.shape[1], cell
      )
    if predicted is not None:
      canvas.draw_circles(ax, predicted[index], cell)
  for ax in axes.flat[len(images) :]:
    ax.remove()
  if legend:
    marks = [("o", "discovered", colours[0])]
    if annotated is not None:
      marks.append(("x", "annotated", "none"))
    if predicted is not None:
      marks.append(("o", "regressed", "none"))
    canvas.mark_legend(figure, marks)
  canvas.save(figure, path)


def swap_figure(path, images_a, images_p, swapped):
  """Draws the appearance of one image with the pose of another (Fig. 4).

  Args:
    path: the PNG to write.
    images_a: [r, S, S, 3], float in [0, 1]: appearances, the first column.
    images_p: [c, S, S, 3]: poses, the first row.
    swapped: [r, c, S, S, 3], D(a_i, p_j).
  """
  swapped = np.asarray(swapped)
  rows, columns = swapped.shape[:2]
  figure, axes, _ = canvas.image_grid(rows + 1, columns + 1, lead=10)
  for column, image in enumerate(images_p):
    canvas.draw_image(axes[0, column + 1], image)
  for row, image in enumerate(images_a):
    canvas.draw_image(axes[row + 1, 0], image)
    for column in range(columns):
      canvas.draw_image(axes[row + 1, column + 1], swapped[row, column])
  corner = axes[0, 0]
  corner.set(xlim=(0, 1), ylim=(0, 1))
  corner.text(
    0.96, 0.5, "pose \u2192", ha="right", va="center", fontsize=canvas.FONT
  )
  corner.text(
    0.5,
    0.06,
    "appearance \u2193",
    ha="center",
    va="bottom",
    fontsize=canvas.FONT,
  )
  canvas.save(figure, path)


def template_figure(path, images, reconstructions, pose_only, appearance_only):
  """Draws what pose and appearance each carry (Fig. 4), one column an image.

  Args:
    path: the PNG to write.
    images: [n, S, S, 3], float in [0, 1].
    reconstructions: [n, S, S, 3], D(a, p).
    pose_only: [n, S, S, 3], the decoder without appearance: the template face.
    appearance_only: [n, S, S, 3], the decoder without landmarks.
  """
  names = ["image", "reconstruction", "pose only", "appearance only"]
  lines = [images, reconstructions, pose_only, appearance_only]
  figure, axes, _ = canvas.image_grid(4, len(images), left=108)
  for row, (name, line) in enumerate(zip(names, lines)):
    canvas.row_label(axes[row, 0], name)
    for column, image in enumerate(line):
      canvas.draw_image(axes[row, column], image)
  canvas.save(figure, path)


def transfer_figure(
  path,
  images_from,
  images_to,
  landmarks_to,
  carried,
  landmarks_from=None,
):
  """Draws landmarks carried from one image to another by the flow (Fig. 3).

  A line joins each carried landmark (cross) to the detected one (dot).

  Args:
    path: the PNG to write.
    images_from: [n, S, S, 3], float in [0, 1]: the upper row.
    images_to: [n, S, S, 3]: the lower row.
    landmarks_to: [n, K, 2], (x, y) in [-1, 1], detected below.
    carried: [n, K, 2], those detected above, carried down.
    landmarks_from: [n, K, 2] or None, detected above.
  """
  figure, axes, cell = canvas.image_grid(
    2, len(images_from), left=36, bottom=20
  )
  colours = landmark_colours(landmarks_to.shape[1])
  canvas.row_label(axes[0, 0], "from")
  canvas.row_label(axes[1, 0], "to")
  for index, (above, below) in enumerate(
    zip(images_from, images_to, strict=True)
  ):
    top, bottom = axes[:, index]
    canvas.draw_image(top, above)
    if landmarks_from is not None:
      canvas.draw_dots(top, landmarks_from[index], colours, cell)
    canvas.draw_image(bottom, below)
    pairs = np.stack([landmarks_to[index], carried[index]], 1)
    bottom.plot(*pairs.T, color="white", lw=0.8, zorder=2)
    canvas.draw_dots(bottom, landmarks_to[index], colours, cell)
    canvas.draw_crosses(bottom, carried[index], colours, cell)
  canvas.mark_legend(
    figure,
    [("o", "detected", colours[0]), ("x", "carried by the flow", "none")],
  )
  canvas.save(figure, path)
