"""Which files a folder or a pattern of pictures means."""

import glob
import os

from c3_jax.errors import UserError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff")


def find(images, overlay=""):
  """Finds pictures.

  Args:
    images: a folder, whose pictures are taken at any depth (by their suffix;
      hidden files and folders are passed over); a pattern with *, ?, [..] or
      ** for folders at any depth; or one file.
    overlay: folder of the overlays, or "": an earlier run may have left some
      there, and they are not taken.

  Returns:
    (root, names): a folder, and the files relative to it, with forward
    slashes, sorted. The root of a pattern is what stands before its first
    wildcard.

  Raises:
    UserError: nothing is there, or the overlays would lie among the pictures.
  """
  root, names = _find(images)
  if not overlay:
    return root, names
  if os.path.exists(overlay) and not os.path.isdir(overlay):
    raise UserError(f"--overlay={overlay} is a file: name a folder.")
  folder = os.path.realpath(overlay)
  if folder == os.path.realpath(root or "."):
    raise UserError(
      f"--overlay={overlay} is the folder of the pictures: name another."
    )
  places = {name: os.path.realpath(os.path.join(root, name)) for name in names}
  names = [n for n in names if not places[n].startswith(folder + os.sep)]
  if not names:
    raise UserError(
      f"--overlay={overlay} holds all pictures of --images: name another "
      "folder."
    )
  return root, names


def _find(images):
  if os.path.isdir(images):
    names = list(_walk(images))
    if not names:
      raise UserError(
        f"--images={images} has no pictures: put {', '.join(SUFFIXES)} files "
        "there, or name another folder."
      )
    return images, sorted(names)
  if os.path.isfile(images):
    return os.path.dirname(images), [os.path.basename(images)]
  root = images
  while glob.has_magic(root):
    root = os.path.dirname(root)
  paths = {os.path.normpath(p) for p in glob.iglob(images, recursive=True)}
  paths = filter(os.path.isfile, paths)
  names = sorted(_relative(path, root) for path in paths)
  if not names:
    raise UserError(
      f"--images={images} matches no file: name a folder, or quote a pattern "
      "such as 'DIR/*.jpg'."
    )
  return root, names


def _walk(root):
  """Names of the pictures below a folder, relative to it."""
  visited = set()
  for folder, subfolders, files in os.walk(root, followlinks=True):
    real = os.path.realpath(folder)
    # A link to a folder further up would otherwise be walked again and again.
    if real in visited:
      subfolders.clear()
      continue
    visited.add(real)
    subfolders[:] = sorted(s for s in subfolders if not s.startswith("."))
    for name in files:
      if name.lower().endswith(SUFFIXES) and not name.startswith("."):
        yield _relative(os.path.join(folder, name), root)


def _relative(path, root):
  return os.path.relpath(path, root or ".").replace(os.sep, "/")
