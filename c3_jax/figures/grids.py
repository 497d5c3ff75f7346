"""Figures of landmarks, swaps, template face and transfers, as PNG files.

Images [n, S, S, 3] are float in [0, 1], clipped; points are (x, y) in [-1, 1].
"""

from itertools import repeat

import numpy as np

from c3_jax.figures import canvas
from c3_jax.figures.canvas import landmark_colours


def landmarks_figure(
  path, images, landmarks, annotated=None, predicted=None, columns=6
):
  """Draws images with discovered landmarks as coloured dots.

  Args:
    landmarks: [n, K, 2].
    annotated: [n, P, 2] or None, drawn as white crosses.
    predicted: [n, P, 2] or None, regressed from landmarks, as white circles.
    columns: images in a row.
  """
  columns = min(columns, len(images))
  rows = -(-len(images) // columns)
  colours = landmark_colours(landmarks.shape[1])
  marks = [("o", "discovered", colours[0])]
  if annotated is not None:
    marks.append(("x", "annotated", "none"))
  if predicted is not None:
    marks.append(("o", "regressed", "none"))
  bottom = 20 if len(marks) > 1 else 0
  figure, axes, cell = canvas.image_grid(rows, columns, bottom=bottom)
  for index, (ax, image) in enumerate(zip(axes.flat, images)):
    canvas.draw_image(ax, image)
    canvas.draw_dots(ax, landmarks[index], colours, cell)
    if annotated is not None:
      canvas.draw_crosses(ax, annotated[index], repeat("white"), cell)
    if predicted is not None:
      canvas.draw_circles(ax, predicted[index], cell)
  for ax in axes.flat[len(images) :]:
    ax.remove()
  if bottom:
    canvas.mark_legend(figure, marks)
  canvas.save(figure, path)


def swap_figure(path, images_a, images_p, swapped):
  """Draws the appearance of one image with the pose of another (Fig. 4).

  Args:
    images_a: [r, S, S, 3]: appearances, the first column.
    images_p: [c, S, S, 3]: poses, the first row.
    swapped: [r, c, S, S, 3], D(a_i, p_j).
  """
  swapped = np.asarray(swapped)
  rows, columns = swapped.shape[:2]
  figure, axes, _ = canvas.image_grid(rows + 1, columns + 1, lead=10)
  for ax, image in zip(axes[0, 1:], images_p):
    canvas.draw_image(ax, image)
  for ax, image in zip(axes[1:, 0], images_a):
    canvas.draw_image(ax, image)
  for cell in np.ndindex(rows, columns):
    canvas.draw_image(axes[1:, 1:][cell], swapped[cell])
  canvas.write(axes[0, 0], "pose \u2192", 0.96)
  canvas.write(
    axes[0, 0], "appearance \u2193", 0.5, 0.06, ha="center", va="bottom"
  )
  canvas.save(figure, path)


def template_figure(path, images, reconstructions, pose_only, appearance_only):
  """Draws what pose and appearance each carry (Fig. 4), one column an image.

  Args:
    images, reconstructions: the upper two rows; the second is D(a, p).
    pose_only: [n, S, S, 3], the decoder without appearance: the template face.
    appearance_only: [n, S, S, 3], the decoder without landmarks.
  """
  figure, axes, _ = canvas.image_grid(4, len(images), left=108)
  for row, name, line in zip(
    axes,
    ("image", "reconstruction", "pose only", "appearance only"),
    (images, reconstructions, pose_only, appearance_only),
  ):
    canvas.write(row[0], name)
    for ax, image in zip(row, line):
      canvas.draw_image(ax, image)
  canvas.save(figure, path)


def transfer_figure(path, images, landmarks, carried):
  """Draws landmarks carried from one image to another by the flow (Fig. 3).

  Args:
    images: [2 n, S, S, 3]; the flow carries from image 2m to image 2m + 1.
    landmarks: [2 n, K, 2], detected.
    carried: [n, K, 2], those of images 2m in images 2m + 1.
  """
  figure, axes, cell = canvas.image_grid(2, len(carried), left=36, bottom=20)
  canvas.write(axes[0, 0], "from")
  canvas.write(axes[1, 0], "to")
  draw_transfers(figure, axes, images, landmarks, carried, cell)
  canvas.save(figure, path)


def draw_transfers(figure, axes, images, landmarks, carried, cell):
  """Draws pairs on axes [2, n] of a figure, and the legend of their marks.

  A line joins each carried landmark (cross) to the detected one (dot); the
  arrays are those of `transfer_figure`.
  """
  colours = landmark_colours(landmarks.shape[1])
  for index, ax in np.ndenumerate(axes.T):
    i = 2 * index[0] + index[1]
    canvas.draw_image(ax, images[i])
    canvas.draw_dots(ax, landmarks[i], colours, cell)
  for i, ax in enumerate(axes[1]):
    pairs = np.stack([landmarks[2 * i + 1], carried[i]], 1)
    ax.plot(*pairs.T, color="white", lw=0.8, zorder=2)
    canvas.draw_crosses(ax, carried[i], colours, cell)
  marks = [("o", "detected", colours[0]), ("x", "carried by the flow", "none")]
  canvas.mark_legend(figure, marks)
