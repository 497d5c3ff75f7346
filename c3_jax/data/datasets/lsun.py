"""LSUN's cars and bedrooms: unlabelled images.

  DIR/car/data.mdb                  the LMDB as downloaded, objects
  DIR/bedroom_train_lmdb/data.mdb   the LMDB as downloaded, scenes
  DIR/car/, DIR/bedroom_train/      or exported: .webp, .jpg or .png, nested

The values of the LMDB are WebP or JPEG files. The package lmdb, which reads
it, is not among c3_jax's requirements.
"""

import os
import struct
import weakref

from c3_jax.data.contract import Dataset
from c3_jax.data.datasets import folder, lists
from c3_jax.data.scan import scan
from c3_jax.errors import UserError
from c3_jax.geometry import Frame
from c3_jax.runtime import child, files

# What LMDB begins a header with, and in it: size of a page, last page, number
# of the transaction.
MAGIC = 0xBEEFC0DE
HEADER = struct.Struct("<16xI20xI92xQQ")

CATEGORIES = {
  "car": ("car", "car_lmdb"),
  "bedroom": ("bedroom_train_lmdb", "bedroom_train", "bedroom"),
}


# Prints the keys in hexadecimal, and reads the values as `Lmdb` will do: a
# damaged file can end the process, or lead round in a circle.
_PROGRAM = """
import itertools, os, sys, lmdb, numpy
path, limit = sys.argv[1], int(sys.argv[2]) or None
size = os.path.getsize(os.path.join(path, "data.mdb"))
with lmdb.open(path, readonly=True, lock=False, readahead=False) as env:
  try:
    with open("/proc/self/maps", "rb") as maps:
      lines = [l for l in maps if l.rstrip().endswith(b"/data.mdb")]
    first = min(int(l.split(b"-")[0], 16) for l in lines)
  except (OSError, ValueError):
    first = None  # Not on Linux.
  before = None
  with env.begin(buffers=True) as found:
    for key, value in itertools.islice(found.cursor().iternext(), limit):
      key = bytes(key)
      if before is not None and key <= before:
        raise ValueError("its keys are in disorder")
      before = key
      print(key.hex())
      for part in (value, found.get(key)):
        if not part:
          raise ValueError("an image is empty")
        at = numpy.frombuffer(part, "u1").__array_interface__["data"][0]
        if first is not None and not first <= at <= first + size - len(part):
          raise ValueError("an image lies beyond its end")
"""


class Lmdb:
  """The encoded images of an LMDB, in the order of their keys.

  Attributes:
    keys: list of n bytes.
  """

  def __init__(self, path, limit=0):
    """Opens a folder with data.mdb; `limit` > 0 keeps the first so many."""
    try:
      import lmdb
    except ModuleNotFoundError as error:
      raise UserError(
        f"{path} is an LMDB: pip install lmdb, or export the images to a "
        "folder."
      ) from error
    _check_size(path)
    try:
      found = child.run(_PROGRAM, path, limit).split()
      self.keys = [bytes.fromhex(key.decode()) for key in found]
      self._env = _environment(os.path.realpath(path), lmdb.open)
    except (lmdb.Error, ValueError) as error:
      raise UserError(
        f"{path} is not a whole LMDB ({error}); unpack the archive again."
      ) from error

  def read(self, index):
    """Reads the bytes of one image; many threads may do so at once."""
    with self._env.begin() as transaction:
      return transaction.get(self.keys[index])


def _check_size(path):
  """Refuses a database that is shorter than its newer header claims.

  LMDB maps the file: what is not there would end the process, not the read.
  """
  file = os.path.join(path, "data.mdb")
  headers = []
  with files.open_regular(file, largest=2**60) as database:
    size = os.fstat(database.fileno()).st_size
    page = None
    for _ in range(2):  # Each on a page of its own.
      database.seek(page or 0)
      header = database.read(HEADER.size)
      if len(header) == HEADER.size:
        magic, page, last, number = HEADER.unpack(header)
        if magic == MAGIC:
          headers.append((number, (last + 1) * page))
  if not headers or max(headers)[1] > size:
    raise UserError(
      f"{file} is not a whole LMDB ({size:,} bytes are there); unpack the "
      "archive again."
    )


# LMDB refuses a path that the process has open already.
_OPEN = weakref.WeakValueDictionary()


def _environment(path, opener):
  """Gives the one environment of a real path, opened where it is not yet."""
  found = _OPEN.get(path)
  if found is None:
    # No lock file: the data may lie on a disk that is read-only.
    found = opener(path, readonly=True, lock=False, readahead=False)
    _OPEN[path] = found
  return found


def find_source(root, category):
  """Finds the folder of a category: an LMDB (data.mdb) or exported images."""
  if category not in CATEGORIES:
    raise UserError(
      f"config.data.category is {category!r}: use one of "
      f"{', '.join(CATEGORIES)}."
    )
  return lists.find(root, *CATEGORIES[category])


def load_lsun(
  root: str | os.PathLike,
  frame: Frame,
  *,
  split: str = "train",
  category: str,
  cache: bool,
  limit: int = 0,
) -> Dataset | None:
  """Loads a category, or its first `limit` > 0 images; "train" alone exists."""
  if split != "train":
    return None
  source = find_source(root, category)
  reader = None
  if (source / "data.mdb").exists():
    database = Lmdb(source, limit)
    reader = database.read
    paths = names = [key.decode("ascii", "replace") for key in database.keys]
    if not names:
      raise UserError(f"{source} is empty; download it again.")
  else:
    images, names = folder.list_images(source)
    names = names[:limit] if limit else names
    paths = [images / name for name in names]

  options = {"reader": reader, "tf_data": True}
  return scan(paths, frame, names=names, cache=cache, late=True, **options)
