"""The csv file of the landmarks of image files, and their overlays."""

import concurrent.futures
import csv
import logging
import os
import time

from c3_jax.data import find
from c3_jax.errors import UserError
from c3_jax.inference.predictor import load
from c3_jax.runtime import files, paths
from c3_jax.runtime.output import Output, begins

logger = logging.getLogger(__name__)

_LOG_SECONDS = 5
_OVERLAYS_NAMED = 10  # Of those that could not be drawn.

# The first line of `_header`.
_OURS = rb"file(,x\d+,y\d+)+(,c\d+)+(,px\d+,py\d+)*\r?\n"


def write_landmarks(
  workdir,
  images,
  out,
  *,
  overlay="",
  regressor="",
  batch_size=32,
  step=None,
  overwrite=False,
):
  """Writes the landmarks of image files into a csv file.

  Args:
    workdir, step, regressor: as `load`.
    images: a folder, a file or a pattern, as `find.find`.
    out: the csv file to write: whole, or not at all.
    overlay: folder for an image with its landmarks of each file, or "".
    batch_size: files at once.
    overwrite: whether `out` may replace a file that is no such table.

  Returns:
    (number of files done, list of the names of those that cannot be read).

  Raises:
    UserError: a mistake in an argument, or no file can be read.
  """
  if batch_size < 1:
    raise UserError(f"--batch_size={batch_size}: use 1 or more.")
  overlay = paths.local(overlay, "--overlay")
  root, names = find.find(paths.local(images, "--images"), overlay)
  sources = [os.path.join(root, name) for name in names]
  output = Output(
    paths.local(out, "--out"),
    lambda path: begins(path, _OURS),
    inputs=[*sources, regressor, os.path.join(workdir, regressor)],
    overwrite=overwrite,
  )
  output.check()
  predictor = load(
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
  with output.open(
    "w", newline="", encoding="utf-8", errors="surrogateescape"
  ) as file:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(_header(predictor.k, predictor.n_annotated))
    draw = _Overlays(root, overlay, overwrite) if overlay else None
    failed = _write_all(predictor, table, names, sources, draw)
    if len(failed) == len(names):
      raise UserError(
        f"none of the {len(names)} files of {images} can be read: convert "
        "them to JPEG or PNG."
      )
  return len(names) - len(failed), failed


def _header(k, n_annotated):
  """Names the columns of `_row`; see docs/predict.md."""
  return [
    "file",
    *(f"{axis}{i + 1}" for i in range(k) for axis in "xy"),
    *(f"c{i + 1}" for i in range(k)),
    *(f"p{axis}{i + 1}" for i in range(n_annotated) for axis in "xy"),
  ]


def _row(found):
  """Lists the fields of a `Landmarks`."""
  row = [found.name, *(f"{x:.3f}" for x in found.points.flat)]
  row += [f"{c:.4f}" for c in found.confidence]
  if found.annotated is not None:
    row += [f"{x:.3f}" for x in found.annotated.flat]
  return row


def _write_all(predictor, table, names, sources, draw):
  """Predicts and writes all files: the names of those that cannot be read."""
  failed, done = [], 0
  start = logged = time.monotonic()
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for batch, errors in predictor.batches(names, sources):
      for i, error in errors.items():
        logger.warning("Left out: %s", error)
        failed.append(names[i])
      table.writerows(map(_row, batch))
      if draw:
        list(pool.map(draw, batch))  # `list` re-raises their exceptions.
      done += len(batch) + len(errors)
      left = len(names) - done
      if left and time.monotonic() - logged > _LOG_SECONDS:
        logged = time.monotonic()
        speed = done / (logged - start)
        logger.info(
          "%d of %d files, %.0f a second, %.0f s left.",
          done,
          len(names),
          speed,
          left / speed,
        )
  return failed


class _Overlays:
  """Draws overlays; one that fails is named, and the rest goes on."""

  def __init__(self, root, folder, overwrite):
    self._root, self._folder, self._overwrite = root, folder, overwrite
    self._failed = 0

  def __call__(self, found):
    """Draws that of one `Landmarks`; may be called on threads."""
    # It imports matplotlib, for its colours.
    from c3_jax.figures import overlay

    # The whole name is kept, so that no two files meet.
    target = os.path.join(self._folder, f"{found.name}.png")
    try:
      folder = os.path.realpath(self._folder)
      if os.path.commonpath([folder, os.path.realpath(target)]) != folder:
        raise UserError(f"{target} lies outside of --overlay={self._folder}.")
      source = os.path.join(self._root, found.name)
      overlay.save(
        source,
        target,
        found.points,
        found.annotated,
        overwrite=self._overwrite,
      )
    except (OSError, ValueError, MemoryError) as error:
      self._failed += 1
      if self._failed < _OVERLAYS_NAMED:
        logger.warning("No overlay of %s: %s", found.name, files.reason(error))
      elif self._failed == _OVERLAYS_NAMED:
        logger.warning("More overlays that fail are not named.")
