"""Finds the image files that a folder or a pattern means."""

import glob
import os

from c3_jax.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def walk(root, suffixes=SUFFIXES):
  """Finds the images below a folder, at any depth.

  Args:
    root: a folder; links are followed, hidden files and folders passed over.
    suffixes: of the names, in lower case; names may have either case.

  Returns:
    List of names relative to root, with forward slashes, sorted.
  """
  names, visited = [], set()
  for folder, subfolders, files in os.walk(root, followlinks=True):
    real = os.path.realpath(folder)
    # A link to a folder further up would otherwise be walked again and again.
    if real in visited:
      subfolders.clear()
      continue
    visited.add(real)
    subfolders[:] = sorted(s for s in subfolders if not s.startswith("."))
    names += [
      _relative(os.path.join(folder, name), root)
      for name in files
      if name.lower().endswith(suffixes) and not name.startswith(".")
    ]
  return sorted(names)


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
  root = images
  while glob.has_magic(root):
    root = os.path.dirname(root)
  paths = {os.path.normpath(p) for p in glob.iglob(images, recursive=True)}
  names = sorted(
    _relative(path, root) for path in paths if os.path.isfile(path)
  )
  if not names:
    raise UserError(
      f"--images={images} matches no file: name a folder, or quote a pattern "
      "such as 'DIR/*.jpg'."
    )
  return root, names


def _relative(path, root):
  return os.path.relpath(path, root or ".").replace(os.sep, "/")
