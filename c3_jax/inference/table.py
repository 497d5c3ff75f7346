"""The landmarks of image files and clips, in a file, and their overlays."""

import collections
import concurrent.futures
import logging
import os
import time

import cv2

from c3_jax.data import find, video
from c3_jax.errors import UserError
from c3_jax.evaluation import mirror
from c3_jax.inference import formats, smoothing
from c3_jax.inference.predictor import load
from c3_jax.runtime import files, paths
from c3_jax.runtime.output import Output, begins

logger = logging.getLogger(__name__)

_LOG_SECONDS = 5
_OVERLAYS_NAMED = 10  # Of those that could not be drawn.

SMOOTH = ("none", "one-euro")


def write_landmarks(
  workdir: str | os.PathLike,
  images: str,
  out: str,
  *,
  overlay: str | os.PathLike = "",
  regressor: str | os.PathLike = "",
  batch_size: int = 32,
  step: int | None = None,
  overwrite: bool = False,
  smooth: str = "none",
  mirror_check: bool = False,
) -> None:
  """Writes the landmarks of image files and clips into a file.

  Args:
    workdir, step, regressor: as `load`.
    images: a folder, a file or a pattern, as `find.find`.
    out: the file to write, whole or not at all: COCO keypoints if its name
      ends in .json, else csv.
    overlay: folder for an image with its landmarks of each file, or "".
    batch_size: files at once.
    overwrite: whether `out` may replace a file that is no such table.
    smooth: one of `SMOOTH`, for the frames of clips.
    mirror_check: whether to look for landmarks that have changed sides.

  Returns:
    (number of files done, list of the names of those that cannot be read).

  Raises:
    UserError: a mistake in an argument, or no file can be read.
  """
  if batch_size < 1:
    raise UserError(f"--batch_size={batch_size}: use 1 or more.")
  if smooth not in SMOOTH:
    raise UserError(f"--smooth={smooth}: use {' or '.join(SMOOTH)}.")
  overlay = paths.local(overlay, "--overlay")
  root, names = find.find(paths.local(images, "--images"), overlay)
  sources = [os.path.join(root, name) for name in names]
  out = paths.local(out, "--out")
  form = formats.Coco if out.lower().endswith(".json") else formats.Table
  output = Output(
    out,
    lambda path: begins(path, form.OURS),
    inputs=[*sources, regressor, os.path.join(workdir, regressor)],
    overwrite=overwrite,
  )
  output.check()
  clips = [video.length(source) for source in sources if video.is_clip(source)]
  total = len(names) - len(clips) + sum(clips)
  predictor = load(
    workdir,
    step,
    regressor=regressor,
    batch_size=max(1, min(batch_size, total)),
  )
  logger.info(
    "%d files, %d landmarks of step %d, %d files at once.",
    len(names),
    predictor.k,
    predictor.step,
    predictor.batch_size,
  )
  if mirror_check:
    predictor.check_mirror(workdir, sources)
    partners = mirror.line(predictor.partner + 1)
    logger.info("Mirror partners: %s.", partners)
  with output.open("w", **form.OPTIONS) as file:
    table = form(file, predictor, clips=bool(clips))
    change = smoothing.Smoother() if smooth == "one-euro" else lambda x: x
    draw = _Overlays(root, overlay, overwrite) if overlay else None
    failed = _write_all(
      predictor.batches(names, sources), table, names, total, change, draw
    )
    table.close()
    if len(failed) == len(names):
      raise UserError(
        f"none of the {len(names)} files of {images} can be read: convert "
        "them to JPEG or PNG, clips to MP4."
      )
  return len(names) - len(failed), failed


def _write_all(batches, table, names, total, change, draw):
  """Predicts and writes all files: the names of those that cannot be read."""
  failed, done, tracks = [], 0, collections.defaultdict(list)
  start = logged = time.monotonic()
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for batch, errors in batches:
      for i, error in errors.items():
        logger.warning("Left out: %s", error)
        failed.append(names[i])
      batch = [change(found) for found in batch]
      for found in batch:
        table.add(found)
      if draw:
        images = [found for found in batch if found.frame is None]
        list(pool.map(draw, images))  # `list` re-raises their exceptions.
        for found in batch if not images else []:
          tracks[found.name].append((found.points, found.annotated))
      done += len(batch) + len(errors)
      if time.monotonic() - logged > _LOG_SECONDS:
        logged = time.monotonic()
        _tell(done, total, logged - start)
  if total > len(names):
    _tell(done, done, time.monotonic() - start)
  for name, track in tracks.items():
    draw.clip(name, track)
  return failed


def _tell(done, total, seconds):
  """Logs the progress; what clips say of their lengths is a guess."""
  speed = done / max(seconds, 1e-9)
  logger.info(
    "%d of %d images and frames, %.1f a second, %.0f s left.",
    done,
    max(done, total),
    speed,
    max(0, total - done) / speed if speed else 0,
  )


class _Overlays:
  """Draws overlays; one that fails is named, and the rest goes on."""

  def __init__(self, root, folder, overwrite):
    self._root, self._folder, self._overwrite = root, folder, overwrite
    self._failed = 0

  def __call__(self, found):
    """Draws that of one image's `Landmarks`; may be called on threads."""
    # It imports matplotlib, for its colours.
    from c3_jax.figures import overlay

    self._save(overlay.save, found.name, ".png", found.points, found.annotated)

  def clip(self, name, track):
    """Draws that of a clip; track is as of `overlay.save_clip`."""
    from c3_jax.figures import overlay

    self._save(overlay.save_clip, name, ".mp4", track)

  def _save(self, save, name, suffix, *drawn):
    # The whole name is kept, so that no two files meet.
    target = os.path.join(self._folder, f"{name}{suffix}")
    try:
      folder = os.path.realpath(self._folder)
      if os.path.commonpath([folder, os.path.realpath(target)]) != folder:
        raise UserError(f"{target} lies outside of --overlay={self._folder}.")
      source = os.path.join(self._root, name)
      save(source, target, *drawn, overwrite=self._overwrite)
    except (OSError, ValueError, MemoryError, cv2.error) as error:
      self._failed += 1
      if self._failed < _OVERLAYS_NAMED:
        logger.warning("No overlay of %s: %s", name, files.reason(error))
      elif self._failed == _OVERLAYS_NAMED:
        logger.warning("More overlays that fail are not named.")
