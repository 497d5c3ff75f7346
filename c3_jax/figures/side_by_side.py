"""Two runs in one figure, on the same images (Fig. 1 and 3 of the paper).

Above, the appearance of one image with the pose of another, by either run;
below, the landmarks that either run's flow carries, beside those detected.
"""

import logging
import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from c3_jax.data.load import load_split
from c3_jax.errors import UserError
from c3_jax.figures import canvas, draw, grids
from c3_jax.runs import load_trained

logger = logging.getLogger(__name__)

POSES, APPEARANCES = 6, 2
# Keys of config.data that say how a run sees a file.
VIEW = ("image_size", "load_size", "crop", "protocol")


class Side(NamedTuple):
  """What one run makes of the images.

  Attributes:
    name: of the run.
    images: [n, S, S, 3] as it sees them.
    swapped: [r, c, S, S, 3], D(a_i, p_j) of the last r and the first c images.
    points: [n, K, 2], detected.
    carried: [n / 2, K, 2], those of images 2m in images 2m + 1.
  """

  name: str
  images: np.ndarray
  swapped: np.ndarray
  points: np.ndarray
  carried: np.ndarray


def two_runs(
  path: str | os.PathLike, workdirs: Sequence[str | os.PathLike]
) -> None:
  """Draws two runs on the first test images of the first one, as a PNG.

  Args:
    path: the PNG to write.
    workdirs: the two folders. The checkpoints are their best.

  Raises:
    UserError: there are not two folders, one is not that of a run, or the data
      of the first is gone.
  """
  if len(workdirs) != 2:
    raise UserError(
      f"--figure draws two runs, and --workdirs names {len(workdirs)}: name "
      "two folders, with a comma."
    )
  runs = [load_trained(workdir) for workdir in workdirs]
  names = [os.path.basename(os.path.normpath(each)) for each in workdirs]
  if names[0] == names[1]:
    names = [os.path.normpath(each) for each in workdirs]
  _draw(path, [_side(*each, runs[0].config) for each in zip(names, runs)])


def _side(name, run, shown):
  """Makes the `Side` of a `Trained` on the images of the config `shown`."""
  logger.info("%s: swaps and landmarks of step %d", name, run.step)
  config = shown.copy_and_resolve_references().unlock()
  for key in VIEW:
    if key in run.config.data:
      config.data[key] = run.config.data[key]
    elif key in config.data:
      del config.data[key]
  # A few images are needed, not all of them.
  config.data.cache = False
  dataset = load_split(config, "test") or load_split(config, "train")
  images, _ = draw.shown_images(dataset, config.data.image_size)
  images = images[: 2 * POSES]
  apply = draw.applied(run.model, run.variables)
  a, pose, features = apply("encode", images)
  c = min(POSES, len(images))
  r = min(APPEARANCES, len(images))
  i, j = np.indices((r, c)).reshape(2, -1)
  swapped = apply("decode", a[-r:][i], pose.maps[j])
  swapped = swapped.reshape(r, c, *images.shape[1:])
  carried = draw.carried_landmarks(apply, features, pose.points, run.config)
  return Side(name, images, swapped, pose.points, carried)


def _draw(path, sides):
  """Draws the `Side`s: rows of both in turn, poses as the first sees them."""
  first, two = sides[0], len(sides)
  r, c = first.swapped.shape[:2]
  figure, axes, cell = canvas.image_grid(
    1 + two * (r + 2), 1 + c, left=92, bottom=20, lead=10
  )
  canvas.write(axes[0, 0], "pose \u2192", 0.96)
  for ax, image in zip(axes[0, 1:], first.images):
    canvas.draw_image(ax, image)
  for s, side in enumerate(sides):
    # The end of a long name is what tells runs apart.
    name = side.name[-14:]
    for row, image, swapped in zip(
      axes[1 + s :: two], side.images[-r:], side.swapped
    ):
      canvas.write(row[0], name)
      for ax, shown in zip(row, [image, *swapped]):
        canvas.draw_image(ax, shown)
    pairs = axes[1 + two * (r + s) :][:2]
    canvas.write(pairs[0, 0], f"{name}, from", 0.96)
    canvas.write(pairs[1, 0], "to", 0.96)
    pairs = pairs[:, 1 : 1 + len(side.carried)]
    arrays = side.images, side.points, side.carried
    grids.draw_transfers(figure, pairs, *arrays, cell)
  canvas.save(figure, path)
