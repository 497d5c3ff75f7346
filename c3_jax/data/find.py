"""Finds the image files that a folder or a pattern means."""

import collections
import functools
import glob
import logging
import os

from c3_jax.errors import UserError

logger = logging.getLogger(__name__)

# Of the formats in `image_files`.
SUFFIXES = (
  *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".gif"),
  *(".tif", ".tiff"),
)

# Of `video`, which takes GIF and TIFF files of several pages, too.
VIDEOS = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg")

# Folders of storage boxes and systems: small copies, and what was deleted.
SYSTEM = (
  *(
    "@eadir",
    "@__thumb",
    "@tmp",
    "@recycle",
    "@recently-snapshot",
    "@sharebin",
  ),
  *(
    "#recycle",
    "#snapshot",
    "__macosx",
    "$recycle.bin",
    "recycler",
    "lost.dir",
  ),
  *("system volume information", "lost+found"),
)


def walk(root):
  """Finds the images below a folder, at any depth; logs what it passes over.

  Args:
    root: a folder; links are followed, hidden files and folders and those of
      `SYSTEM` passed over.

  Returns:
    List of names relative to root, with forward slashes, sorted.
  """
  names, visited, passed = [], set(), collections.Counter()

  def unreadable(error):
    passed[f"folder that cannot be read, {error.filename}"] += 1

  for folder, subfolders, files in os.walk(
    root, followlinks=True, onerror=unreadable
  ):
    real = os.path.realpath(folder)
    # A link to a folder further up would otherwise be walked again and again.
    if real in visited:
      subfolders.clear()
      continue
    visited.add(real)
    for sub in [s for s in subfolders if s.lower() in SYSTEM]:
      passed[f"in {sub}"] += _count(os.path.join(folder, sub))
    subfolders[:] = sorted(s for s in subfolders if not _hidden(s))
    for name in files:
      is_image = _is_image(name)
      if is_image and not _hidden(name):
        names.append(_relative(os.path.join(folder, name), root))
      elif is_image:
        passed["hidden"] += 1
      elif not _hidden(name):
        suffix = os.path.splitext(name)[1].lower()
        passed[suffix or "without a suffix"] += 1
  if passed:
    _tell(root, len(names), passed)
  return sorted(names)


def _hidden(name):
  return name.startswith(".") or name.lower() in SYSTEM


def _is_image(name):
  return name.lower().endswith(SUFFIXES + VIDEOS)


def _count(folder):
  """Counts the images below a folder."""
  return sum(sum(map(_is_image, files)) for _, _, files in os.walk(folder))


def _tell(root, n, passed):
  """Logs what was passed over, the most first."""
  counts = [f"{n} {what}" for what, n in passed.most_common() if n]
  more = [f"and {len(counts) - 8} more kinds"] if len(counts) > 8 else []
  if counts:
    _log_once(
      f"{root}: {n} images; passed over: {', '.join(counts[:8] + more)}"
    )


@functools.cache
def _log_once(line):
  """Logs a line that each split of a dataset would say again."""
  logger.info("%s", line)


def find(images, overlay=""):
  """Finds the images that the flags of `c3_jax.predict` name.

  Args:
    images: a folder, whose images are taken as by `walk`; a pattern with *, ?,
      [..] or ** for folders at any depth; or one file.
    overlay: folder of the overlays, or "": an earlier run may have left some
      there, and they are not taken.

  Returns:
    (root, names): a folder, of a pattern what stands before its first wildcard,
    and the files relative to it, with forward slashes, sorted.

  Raises:
    UserError: nothing is there, or the overlays would lie among the images.
  """
  root, names = _find(images)
  if not overlay:
    return root, names
  if os.path.exists(overlay) and not os.path.isdir(overlay):
    raise UserError(f"--overlay={overlay} is a file: name a folder.")
  folder = os.path.realpath(overlay)
  if folder == os.path.realpath(root or "."):
    raise UserError(
      f"--overlay={overlay} is the folder of the images: name another."
    )
  places = {name: os.path.realpath(os.path.join(root, name)) for name in names}
  names = [n for n in names if not places[n].startswith(folder + os.sep)]
  if not names:
    raise UserError(
      f"--overlay={overlay} holds all images of --images: name another folder."
    )
  return root, names


def _find(images):
  if os.path.isdir(images):
    names = walk(images)
    if not names:
      raise UserError(
        f"--images={images} has no images: put {', '.join(SUFFIXES)} files "
        "there, or name another folder."
      )
    return images, names
  if os.path.isfile(images):
    return os.path.dirname(images), [os.path.basename(images)]
  root, pattern = _literal(images)
  place = os.path.join(glob.escape(root), pattern)
  paths = {os.path.normpath(p) for p in glob.iglob(place, recursive=True)}
  if any(".." in _relative(path, root).split("/") for path in paths):
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
  names = [_relative(path, root) for path in paths if os.path.isfile(path)]
  # Where the pattern names a folder of the system, it is meant.
  system = [name for name in SYSTEM if name not in pattern.lower()]
  names = sorted(
    name for name in names if not set(name.lower().split("/")) & set(system)
  )
  if not names:
    raise UserError(
      f"--images={images} matches no file: name a folder, or quote a pattern "
      "such as 'DIR/*.jpg'."
    )
  return root, names


def _literal(pattern):
  """Splits a pattern into (folder that exists, the rest)."""
  parts = pattern.split("/")
  for n in range(len(parts) - 1, 0, -1):
    # Of "/*.jpg" it is the root of all folders.
    folder = "/".join(parts[:n]) or "/"
    if os.path.isdir(folder):
      return folder, "/".join(parts[n:])
  return "", pattern


def _relative(path, root):
  return os.path.relpath(path, root or ".").replace(os.sep, "/")
