"""The csv file of the landmarks of image files, and their overlays."""

import concurrent.futures
import csv
import logging
import os
import pathlib
import time

from c3_jax.data import find
from c3_jax.errors import UserError
from c3_jax.inference import predictor as predictor_lib
from c3_jax.runtime import cli, files

logger = logging.getLogger(__name__)

_LOG_SECONDS = 5


def write_landmarks(
  workdir, images, out, *, overlay="", regressor="", batch_size=32, step=None
):
  """Writes the landmarks of image files into a csv file.

  Args:
    workdir: folder of a run.
    images: a folder, a file or a pattern, as `find.find`.
    out: the csv file to write: whole, or not at all.
    overlay: folder for an image with its landmarks of each file, or "".
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
  root, names = find.find(images, overlay)
  out = pathlib.Path(out)
  cli.check_out(out)
  predictor = predictor_lib.load(
    workdir, step, regressor=regressor, batch_size=min(batch_size, len(names))
  )
  logger.info(
    "%d files, %d landmarks of step %d, %d files at once.",
    len(names),
    predictor.k,
    predictor.step,
    predictor.batch_size,
  )
  # Names of files may be bytes that are not UTF-8.
  with files.write_whole(
    out, "w", newline="", encoding="utf-8", errors="surrogateescape"
  ) as file:
    table = Table(file, predictor.k, predictor.n_annotated)
    failed = _write_all(predictor, table, root, names, overlay)
    if len(failed) == len(names):
      raise UserError(
        f"none of the {len(names)} files of {images} can be read: convert "
        "them to JPEG or PNG."
      )
  return len(names) - len(failed), failed


class Table:
  """The csv file: the header, and a row an image; see docs/predict.md."""

  def __init__(self, file, k, n_annotated):
    """Writes the header for k landmarks and n_annotated estimated points."""
    self._writer = csv.writer(file, lineterminator="\n")
    self._writer.writerow(
      [
        "file",
        *(f"{axis}{i + 1}" for i in range(k) for axis in "xy"),
        *(f"c{i + 1}" for i in range(k)),
        *(f"p{axis}{i + 1}" for i in range(n_annotated) for axis in "xy"),
      ]
    )

  def write(self, found):
    """Writes the row of a `Landmarks`."""
    row = [f"{x:.3f}" for x in found.points.flat]
    row += [f"{c:.4f}" for c in found.confidence]
    if found.annotated is not None:
      row += [f"{x:.3f}" for x in found.annotated.flat]
    self._writer.writerow([found.name, *row])


def _write_all(predictor, table, root, names, overlay):
  """Predicts and writes all files: the names of those that cannot be read."""
  failed, done = [], 0
  start = logged = time.monotonic()
  paths = [os.path.join(root, name) for name in names]
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for batch, errors in predictor.batches(names, paths):
      for i, error in errors.items():
        logger.warning("Left out: %s", error)
        failed.append(names[i])
      for found in batch:
        table.write(found)
      if overlay:
        _draw(pool, batch, root, overlay)
      done += len(batch) + len(errors)
      if time.monotonic() - logged > _LOG_SECONDS and done < len(names):
        logged = time.monotonic()
        speed = done / (logged - start)
        logger.info(
          "%d of %d files, %.0f a second, %.0f s left.",
          done,
          len(names),
          speed,
          (len(names) - done) / speed,
        )
  return failed


def _draw(pool, batch, root, folder):
  """Draws the overlays of a list of `Landmarks` on threads."""
  # It imports matplotlib, for its colours.
  from c3_jax.figures import overlay

  def draw(found):
    overlay.save(
      os.path.join(root, found.name),
      overlay.path_of(folder, found.name),
      found.points,
      found.annotated,
    )

  # `list` re-raises exceptions from the threads.
  list(pool.map(draw, batch))
