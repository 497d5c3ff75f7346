"""CelebA (aligned) and MAFL, in the layout of their download pages.

  DIR/img_align_celeba/*.jpg               202,599 images, 178 x 218
  DIR/list_landmarks_align_celeba.txt      eyes, nose, corners of the mouth
  DIR/list_eval_partition.txt              0 train, 1 validation, 2 test
  DIR/identity_CelebA.txt                  for config.data.exclude=identity
  DIR/MAFL/training.txt, testing.txt       the lists of MAFL

The lists may also lie in Anno/ and Eval/ (MAFL's in DIR itself), the images in
Img/ or one folder deeper; its lists may be the .csv files of Kaggle's copy.
Points are used as pixels with 0 at the centre of the first one.
"""

import os

from c3_jax.data import image_files
from c3_jax.data.contract import Dataset
from c3_jax.data.datasets import lists
from c3_jax.data.scan import scan
from c3_jax.errors import UserError
from c3_jax.geometry import Frame

SIZE = (178, 218)
EXCLUDE = ("mafl_test", "mafl", "identity")
POINTS = 5  # Left eye (in the image), right eye, nose, mouth left, right.


def training_names(partition, mafl_train, mafl_test, exclude, identity=None):
  """Selects the images to learn from.

  Args:
    partition: dict name -> 0, 1 or 2, in the order of the result.
    mafl_train, mafl_test: lists of names.
    exclude: what to leave out of partition 0: "mafl_test", the test images
      (IMM); "mafl", all of MAFL (DVE); "identity", every image of a person who
      is in MAFL's test images.
    identity: dict name -> number of the person; for "identity".
  """
  if exclude not in EXCLUDE:
    raise UserError(
      f"config.data.exclude is {exclude!r}: use one of {', '.join(EXCLUDE)}."
    )
  held_out = set(mafl_test)
  if exclude == "mafl":
    held_out |= set(mafl_train)
  if exclude == "identity":
    people = {_person(identity, name) for name in mafl_test}
    held_out |= {n for n in partition if _person(identity, n) in people}
  return [
    name
    for name, part in partition.items()
    if part == 0 and name not in held_out
  ]


def _person(identity, name):
  if name not in identity:
    raise UserError(
      f"identity_CelebA.txt has no line for {name}; download it again, or use "
      "config.data.exclude=mafl_test."
    )
  return identity[name]


def read_partition(root):
  """Reads list_eval_partition.txt: (path, dict name -> 0, 1 or 2)."""
  path, table = _read_column(root, "list_eval_partition.txt", "Eval")
  for name, part in table.items():
    if part not in ("0", "1", "2"):
      raise UserError(
        f"{path} has {name} in partition {part!r}, not 0, 1 or 2; download it "
        "again."
      )
  return path, {name: int(part) for name, part in table.items()}


def read_identity(root):
  """Reads identity_CelebA.txt: dict name -> number of the person, as text."""
  return _read_column(root, "identity_CelebA.txt", "Anno")[1]


def _read_column(root, name, folder):
  """Reads a list of one number for each image: (path, dict name -> str)."""
  path = _find(root, name, folder)
  table = lists.parse_table(path, lists.read_rows(path), 1)
  return path, {name: number for name, (number,) in table.items()}


def read_mafl(root, split):
  """Reads MAFL's "training" or "testing" list: (path, names)."""
  path = lists.find(root, f"MAFL/{split}.txt", f"{split}.txt")
  return path, lists.read_lines(path)


def read_landmarks(root, names):
  """Reads the annotated points of n images.

  Returns:
    float64 [n, 5, 2] (x, y) in pixels of the 178 x 218 images.

  Raises:
    UserError: if the file is not as described, or lacks a name.
  """
  name = "list_landmarks_align_celeba.txt"
  path = _find(root, name, "Anno")
  # Below the number of images and the names of the columns.
  rows, first = lists.read_rows(path, 2), lists.read_lines(path)[:1]
  if not rows or (path.suffix != ".csv" and first != [str(len(rows))]):
    raise UserError(
      f"{path} does not have as many rows ({len(rows)}) as its first line "
      "says; download it again."
    )
  wanted = set(names)
  rows = [row for row in rows if row.split(None, 1)[0] in wanted]
  table = lists.parse_table(path, rows, 2 * POINTS)
  for name in names:
    if name not in table:
      raise UserError(f"{path} has no line for {name}; download it again.")
  return lists.points([table[name] for name in names])


def _find(root, name, folder):
  """Finds a list; Kaggle's copy has it as .csv, of the same columns."""
  kaggle = name.replace(".txt", ".csv")
  return lists.find(root, name, f"{folder}/{name}", kaggle)


def find_images(root):
  """Finds the folder of the aligned images."""
  name = "img_align_celeba"
  folder = lists.find(root, name, f"Img/{name}")
  # The archive holds a folder of its own name, and so do some copies of it.
  return folder / name if (folder / name).is_dir() else folder


def check_release(path):
  """Refuses CelebA's other images (in the wild, or cropped otherwise)."""
  try:
    width, height = image_files.size_of(path)
  except (
    image_files.Unreadable
  ):  # Broken, which is counted and named elsewhere.
    return
  # Copies at another scale are accepted: halved images are 89 x 109.
  if abs(width * SIZE[1] / SIZE[0] - height) > 1:
    raise UserError(
      f"{path} has {width} x {height} pixels, which is not the shape of "
      "CelebA's aligned 178 x 218 images; take img_align_celeba."
    )


def load_celeba(
  root: str | os.PathLike,
  frame: Frame,
  *,
  split: str,
  exclude: str,
  cache: bool,
  name: str = "celeba",
) -> Dataset:
  """Loads one split; "fit" and "test" are MAFL's.

  `name` "mafl" learns from MAFL's training images alone, "celeba" from what
  `training_names` selects by `exclude`.
  """
  images = find_images(root)
  if split == "train" and name == "celeba":
    source, partition = read_partition(root)
    identity = read_identity(root) if exclude == "identity" else None
    names = training_names(
      partition,
      read_mafl(root, "training")[1],
      read_mafl(root, "testing")[1],
      exclude,
      identity,
    )
  else:
    source, names = read_mafl(
      root, "testing" if split == "test" else "training"
    )
  if not names:
    raise UserError(f"{source} names no image for {split}.")
  if split == "fit":
    # IMM's regression takes the first nine tenths in the order of CelebA.
    names = sorted(names)
  lists.check_files(images, names, source)
  check_release(images / names[0])

  return scan(
    [images / name for name in names],
    frame,
    pixels=None if split == "train" else read_landmarks(root, names),
    pixels_size=SIZE,
    names=names,
    cache=cache,
    late=split == "train",
    tf_data=True,
  )
