"""LSUN's cars and bedrooms: unlabelled pictures.

  DIR/car/data.mdb                  the LMDB as downloaded, objects
  DIR/bedroom_train_lmdb/data.mdb   the LMDB as downloaded, scenes
  DIR/car/, DIR/bedroom_train/      or exported: .webp, .jpg or .png, nested

The values of the LMDB are WebP or JPEG files. The package lmdb, which reads
it, is not among c3_jax's requirements.
"""

from c3_jax.data.datasets import folder, lists
from c3_jax.errors import UserError

CATEGORIES = ("car", "bedroom")
SUFFIXES = (".webp", ".jpg", ".jpeg", ".png")


class Lmdb:
  """The encoded pictures of an LMDB, in the order of their keys.

  Attributes:
    keys: list of n bytes.
  """

  def __init__(self, path, limit=0):
    """Opens a folder with data.mdb; `limit` > 0 keeps the first so many."""
    try:
      import lmdb
    except ModuleNotFoundError as error:
      raise UserError(
        f"{path} is an LMDB: pip install lmdb, or export the pictures to a "
        "folder."
      ) from error
    try:
      # No lock file: the data may lie on a disk that is read-only.
      self._env = lmdb.open(
        str(path), readonly=True, lock=False, readahead=False
      )
      with self._env.begin() as transaction:
        cursor = transaction.cursor()
        keys = cursor.iternext(keys=True, values=False)
        self.keys = (
          [key for i, key in zip(range(limit), keys)] if limit else list(keys)
        )
    except lmdb.Error as error:
      raise UserError(
        f"{path} is not a whole LMDB ({error}); unpack the archive again."
      ) from error

  def read(self, index):
    """bytes of one picture."""
    with self._env.begin() as transaction:
      return transaction.get(self.keys[index])


def find_source(root, category):
  """The folder of a category: an LMDB (with data.mdb) or exported pictures."""
  if category not in CATEGORIES:
    raise UserError(
      f"config.data.category is {category!r}: use one of "
      f"{', '.join(CATEGORIES)}."
    )
  places = {
    "car": ("car", "car_lmdb"),
    "bedroom": ("bedroom_train_lmdb", "bedroom_train", "bedroom"),
  }
  return lists.find(root, *places[category])


def load_lsun(root, *, category, image_size, load_size, crop, cache, limit=0):
  """Loads a category.

  Args:
    root: the folder.
    category: "car" or "bedroom".
    image_size: side of the model frame in pixels.
    load_size: side of a loaded picture in pixels.
    crop: rule of `arrays.crop_box`.
    cache: keep the decoded pictures in memory.
    limit: use the first so many pictures; 0 for all.

  Returns:
    ArrayDataset if cache, else StreamingDataset; without points.

  Raises:
    UserError: if the folder is not as described above.
  """
  source = find_source(root, category)
  reader = None
  if (source / "data.mdb").exists():
    database = Lmdb(source, limit)
    reader = database.read
    paths = names = [key.decode("ascii", "replace") for key in database.keys]
    if not names:
      raise UserError(f"{source} is empty; download it again.")
  else:
    images, names = folder.list_images(source, SUFFIXES)
    names = names[:limit] if limit else names
    paths = [images / name for name in names]

  # Not at the top: mistakes in a folder are found without TensorFlow.
  from c3_jax.data import streaming
  from c3_jax.data.scan import scan

  if not cache:
    # Millions of pictures: broken ones are found as they come.
    return streaming.StreamingDataset(
      paths,
      load_size=load_size,
      image_size=image_size,
      names=names,
      crop=crop,
      reader=reader,
    )
  return scan(
    paths,
    image_size=image_size,
    load_size=load_size,
    names=names,
    crop=crop,
    reader=reader,
  )
