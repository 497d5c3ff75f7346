"""Command line: landmarks of new pictures, in pixels of each file.

python -m c3_jax.predict --workdir=runs/mine --images=DIR --out=landmarks.csv

It needs the run's config.json and a checkpoint, nothing else. See
docs/predict.md for the columns and options.
"""

import collections
import concurrent.futures
import csv
import logging
import os
import pathlib
import time
import warnings

import numpy as np
from absl import flags

from c3_jax import finder
from c3_jax.data import image_files
from c3_jax.errors import UserError
from c3_jax.inference.predictor import Predictor, Regressor
from c3_jax.runs import trained as restore
from c3_jax.runtime import cli, files

# As a program this module is __main__, which c3_jax does not log for.
logger = logging.getLogger("c3_jax.predict")

_LOG_SECONDS = 5


def read_all(paths, frame, pool, ahead):
  """Reads files in a pool of threads, in order, at most `ahead` in advance.

  Yields:
    (path, image, size) of `image_files.read`; for an unreadable file (path,
    None, its `image_files.Unreadable`).
  """

  def load(path):
    try:
      return path, *image_files.read(path, frame)
    except image_files.Unreadable as error:
      return path, None, error

  waiting = collections.deque()
  for path in paths:
    waiting.append(pool.submit(load, path))
    if len(waiting) > ahead:
      yield waiting.popleft().result()
  while waiting:
    yield waiting.popleft().result()


def predict(
  workdir, images, out, *, overlay="", regressor="", batch_size=32, step=None
):
  """Writes the landmarks of pictures into a csv file.

  Args:
    workdir: folder of a run.
    images: a folder, a file or a pattern, as `finder.find`.
    out: the csv file to write: whole, or not at all.
    overlay: folder for a picture with its landmarks of each file, or "".
    regressor: an eval/DATASET.json, for annotated points too, or "".
    batch_size: files at once.
    step: of the checkpoint; None is the best.

  Returns:
    (number of files done, list of the names of those that cannot be read).

  Raises:
    UserError: a mistake in an argument, or no file can be read.
  """
  if batch_size < 1:
    raise UserError(f"--batch_size={batch_size}: use 1 or more.")
  root, names = finder.find(images, overlay)
  out = pathlib.Path(out)
  cli.check_out(out)
  trained = restore.load(workdir, step)
  estimate = None
  if regressor:
    if not os.path.exists(regressor):
      regressor = os.path.join(workdir, regressor)
    estimate = Regressor(regressor, trained)
  predictor = Predictor(trained, min(batch_size, len(names)))
  logger.info(
    "%d files, %d landmarks of step %d, %d files at once.",
    len(names),
    predictor.k,
    trained.step,
    predictor.batch_size,
  )
  # Names of files may be bytes that are not UTF-8.
  with files.write_whole(
    out, "w", newline="", encoding="utf-8", errors="surrogateescape"
  ) as file:
    table = Table(file, predictor.k, estimate)
    failed = _run(root, names, predictor, table, overlay)
    if len(failed) == len(names):
      raise UserError(
        f"none of the {len(names)} files of {images} can be read: convert "
        "them to JPEG or PNG."
      )
  return len(names) - len(failed), failed


class Table:
  """The csv file: the header, and a row a picture."""

  def __init__(self, file, k, estimate):
    self._writer = csv.writer(file, lineterminator="\n")
    self._estimate = estimate
    header = ["file"]
    header += [f"{axis}{i + 1}" for i in range(k) for axis in "xy"]
    header += [f"c{i + 1}" for i in range(k)]
    if estimate:
      header += [
        f"p{axis}{i + 1}" for i in range(estimate.count) for axis in "xy"
      ]
    self._writer.writerow(header)

  def write(self, names, sizes, frame, points, certain):
    """Writes rows.

    Args:
      names: n str, the first column.
      sizes: n (width, height) of the files.
      frame: `geometry.Frame`.
      points: [n, k, 2] landmarks in [-1, 1] of the frame.
      certain: [n, k], their confidence.

    Returns:
      n pairs of what was written, landmarks [k, 2] and annotated points [P, 2]
      (or None) in pixels of the file.
    """
    estimates = (
      self._estimate(points) if self._estimate else [None] * len(names)
    )
    result = []
    for name, size, xy, c, more in zip(
      names, sizes, points, certain, estimates, strict=True
    ):
      pixels = frame.coords_to_file(xy, size)
      row = [f"{x:.3f}" for x in pixels.flat] + [f"{x:.4f}" for x in c]
      if more is not None:
        more = frame.coords_to_file(more, size)
        row += [f"{x:.3f}" for x in more.flat]
      self._writer.writerow([name, *row])
      result.append((pixels, more))
    return result


def _run(root, names, predictor, table, overlay):
  """Predicts and writes all files: the names of those that cannot be read."""
  failed, batch, start = [], [], time.monotonic()
  logged = start
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    images = read_all(
      (os.path.join(root, name) for name in names),
      predictor.frame,
      pool,
      predictor.batch_size,
    )
    for i, (name, (path, image, size)) in enumerate(zip(names, images)):
      if image is None:
        logger.warning("Left out: %s", size)
        failed.append(name)
      else:
        batch.append((name, path, image, size))
      last = i + 1 == len(names)
      if len(batch) == predictor.batch_size or last and batch:
        _write(batch, predictor, table, overlay, pool)
        batch = []
      if time.monotonic() - logged > _LOG_SECONDS and not last:
        logged = time.monotonic()
        speed = (i + 1) / (logged - start)
        logger.info(
          "%d of %d files, %.0f a second, %.0f s left.",
          i + 1,
          len(names),
          speed,
          (len(names) - i - 1) / speed,
        )
  return failed


def _write(batch, predictor, table, overlay, pool):
  """Predicts one batch of (name, path, image, size); rows and overlays."""
  names, paths, images, sizes = zip(*batch, strict=True)
  points, certain = predictor(np.stack(images))
  rows = table.write(names, sizes, predictor.frame, points, certain)
  if overlay:
    # It imports matplotlib, for its colours.
    from c3_jax.figures import overlay as drawing

    targets = [drawing.path_of(overlay, name) for name in names]
    # list: so that what goes wrong in a thread is heard of.
    list(pool.map(drawing.save, paths, targets, *zip(*rows, strict=True)))


def define_flags():
  """Defines the flags of this command."""
  flags.DEFINE_string("workdir", None, "Folder of the run.")
  flags.DEFINE_string("images", None, "Folder or pattern of pictures.")
  flags.DEFINE_string("out", None, "The csv file to write.")
  flags.DEFINE_string(
    "overlay", "", "Folder for pictures with their landmarks drawn in."
  )
  flags.DEFINE_string(
    "regressor", "", "An eval/DATASET.json: estimate its annotated points too."
  )
  flags.DEFINE_integer("batch_size", 32, "Pictures at once.")
  flags.DEFINE_integer("step", None, "Of the checkpoint; else the best.")


def main():
  """Reads the flags and predicts."""
  # Of large pictures and odd tags, without the name of the file.
  warnings.filterwarnings("ignore", module="PIL")
  done, failed = predict(
    flags.FLAGS.workdir,
    flags.FLAGS.images,
    flags.FLAGS.out,
    overlay=flags.FLAGS.overlay,
    regressor=flags.FLAGS.regressor,
    batch_size=flags.FLAGS.batch_size,
    step=flags.FLAGS.step,
  )
  logger.info(
    "Wrote %s: %d pictures, %d warning(s).", flags.FLAGS.out, done, len(failed)
  )


if __name__ == "__main__":
  cli.main(main, define_flags, required=["workdir", "images", "out"])
