"""Pictures in memory, and the frame their points live in. No TensorFlow.

A crop rule says which box of a file is loaded; it is scaled to load_size x
load_size pixels. The network sees the central image_size pixels of that, the
model frame; points are (x, y) in [-1, 1] of the model frame, so that the
loaded picture spans [-m, m], m = load_size / image_size.
"""

import os
import pathlib
import zipfile

import numpy as np

from c3_jax.data import sampler
from c3_jax.errors import UserError

CROPS = ("square", "imm", "dve")
_MEND = "write it with python -m c3_jax.pack."


def crop_box(crop, width, height):
  """The box of a file that is loaded.

  Args:
    crop: "square", the largest central square; "imm", everything, whose sides
      are then scaled to one length (IMM, NC-Net); "dve", DVE's square of
      an aligned CelebA picture, which is as wide as the file and begins 30
      rows of 218 below its top.
    width, height: of the file; whole numbers, or arrays of them.

  Returns:
    (left, top, width, height) in whole pixels from the outer corner of the
    file. The box may end below the file.
  """
  if crop == "square":
    short = np.minimum(width, height)
    return (width - short) // 2, (height - short) // 2, short, short
  if crop == "imm":
    return 0 * width, 0 * height, width, height
  if crop == "dve":
    return 0 * width, np.rint(30 / 218 * height), width, width
  raise UserError(f"config.data.crop is {crop!r}: use one of {CROPS}.")


def points_to_frame(pixels, file_size, image_size, load_size, crop="square"):
  """Maps pixels of a file to coordinates of the model frame.

  Args:
    pixels: [..., P, 2] array of (x, y), 0 = centre of the first pixel.
    file_size: (width, height) of the file, or a [..., 2] array of them.
    image_size: side of the model frame in pixels.
    load_size: side of the loaded picture in pixels.
    crop: rule of `crop_box`.

  Returns:
    [..., P, 2] array of (x, y) in [-1, 1] of the model frame; points near the
    border of the file lie outside [-1, 1].
  """
  corner, extent = _corner_and_extent(crop, file_size)
  inside = (2 * (np.asarray(pixels) - corner) + 1) / extent - 1
  return inside * (load_size / image_size)


def points_to_file(points, file_size, image_size, load_size, crop="square"):
  """Inverse of `points_to_frame`: model frame [..., P, 2] to file pixels."""
  corner, extent = _corner_and_extent(crop, file_size)
  inside = np.asarray(points) * (image_size / load_size)
  return ((inside + 1) * extent - 1) / 2 + corner


def _corner_and_extent(crop, file_size):
  """Arrays [..., 1, 2] of (x, y) that go with points [..., P, 2]."""
  size = np.asarray(file_size, np.float64)
  left, top, width, height = crop_box(crop, size[..., 0], size[..., 1])
  corner = np.stack([left, top], -1)[..., None, :]
  return corner, np.stack([width, height], -1)[..., None, :]


class ArrayDataset:
  """Decoded pictures, all in memory.

  Attributes:
    images: uint8 [n, load_size, load_size, 3].
    points: float32 [n, P, 2] in [-1, 1] of the model frame, or None.
    names: list of n str.
    load_size: side of a picture in pixels.
    image_size: side of the model frame that `points` refers to.
  """

  def __init__(self, images, points=None, names=None, *, image_size=None):
    """Wraps arrays, without a copy of the images.

    Args:
      images: uint8 [n, S, S, 3]; or a stand-in, such as `synthetic.Faces`, that
        is indexed like an array.
      points: [n, P, 2] in [-1, 1] of the model frame, or None.
      names: n strings; by default the numbers 0 to n - 1.
      image_size: side of the model frame; by default all of the picture.

    Raises:
      ValueError: if a shape or dtype is not as above.
    """
    shape = images.shape
    if images.dtype != np.uint8 or shape != (len(images), *shape[1:2] * 2, 3):
      raise ValueError(
        f"images must be uint8 [n, S, S, 3], not {images.dtype} {shape}"
      )
    if points is not None:
      points = np.asarray(points, np.float32)
      if points.ndim != 3 or points.shape[::2] != (len(images), 2):
        raise ValueError(
          f"points must be [{len(images)}, P, 2], not {points.shape}"
        )
    names = [str(i) for i in range(len(images))] if names is None else names
    if len(names) != len(images):
      raise ValueError(f"{len(names)} names for {len(images)} images")
    self.images = images
    self.points = points
    self.names = list(names)
    self.load_size = shape[1]
    self.image_size = image_size or self.load_size

  def __len__(self):
    return len(self.images)

  def batches(self, batch_size, *, seed, start_step=0, shard=(0, 1)):
    """Endless training batches, in the order of `sampler.batch_indices`.

    Yields:
      dict(image=uint8 [b, S, S, 3], index=int64 [b]), b = batch_size / c.
    """
    for index in sampler.batch_indices(
      len(self), batch_size, seed=seed, start_step=start_step, shard=shard
    ):
      yield {"image": self.images[index], "index": index}

  def eval_batches(self, batch_size):
    """Every picture once; the last batch is padded under mask 0.

    Yields:
      dict(image=uint8 [b, S, S, 3], index=int64 [b], mask=float32 [b]), and
      points=float32 [b, P, 2] if there are any.
    """
    for index, mask in sampler.eval_indices(len(self), batch_size):
      batch = {"image": self.images[index], "index": index, "mask": mask}
      if self.points is not None:
        batch["points"] = self.points[index]
      yield batch

  def first(self, n):
    """The first n pictures, fewer if there are fewer: an `ArrayDataset`."""
    return ArrayDataset(
      self.images[:n],
      None if self.points is None else self.points[:n],
      self.names[:n],
      image_size=self.image_size,
    )

  def save(self, path):
    """Writes one .npz file: whole, or not at all.

    Args:
      path: file to write; it keeps exactly this name.

    Raises:
      UserError: if the folder of the file does not exist.
    """
    arrays = {
      "images": self.images,
      "names": np.array(self.names, np.str_),
      "image_size": np.int64(self.image_size),
    }
    if self.points is not None:
      arrays["points"] = self.points
    write_npz(path, arrays)

  @classmethod
  def load(cls, path, *, image_size=None):
    """Reads a file of `save`.

    Args:
      path: .npz file.
      image_size: side of the model frame wanted; points are rescaled to it.
        By default that of the file.

    Raises:
      UserError: if there is no such file, or it is not one of `save`.
    """
    names = ("images", "names", "image_size")
    arrays = read_npz(path, names, optional=("points",))
    packed_size = int(arrays["image_size"])
    image_size = image_size or packed_size
    points = arrays["points"]
    if points is not None:
      points = points * np.float32(packed_size / image_size)
    try:
      return cls(
        arrays["images"],
        points,
        arrays["names"].tolist(),
        image_size=image_size,
      )
    except ValueError as error:
      raise UserError(f"{path} is not a packed dataset; {_MEND}") from error


def write_npz(path, arrays):
  """Writes dict name -> array to one .npz file: whole, or not at all.

  Raises:
    UserError: if the folder of the file does not exist.
  """
  path = pathlib.Path(path)
  if not path.parent.is_dir():
    raise UserError(f"{path.parent} is not a folder; make it first.")
  part = path.with_name(f".{path.name}.{os.getpid()}.part")
  try:
    with open(part, "wb") as f:  # Given a name, savez would append ".npz".
      np.savez(f, **arrays)
    os.replace(part, path)
  finally:
    part.unlink(missing_ok=True)


def is_npz_with(path, name):
  """Whether a file is an .npz archive that holds an array of that name."""
  return zipfile.is_zipfile(path) and (
    f"{name}.npy" in zipfile.ZipFile(path).namelist()
  )


def read_npz(path, names, optional=()):
  """Reads a file of `write_npz`: dict name -> array.

  Args:
    path: .npz file.
    names: of arrays that must be there.
    optional: of arrays that may be; None stands for those that are not.

  Raises:
    UserError: if there is no such file, or an array of `names` is not in it.
  """
  try:
    with open(path, "rb") as f, np.load(f, allow_pickle=False) as arrays:
      found = {name: arrays[name] for name in names}
      return found | {name: arrays.get(name) for name in optional}
  except FileNotFoundError as error:
    raise UserError(f"{path} does not exist; {_MEND}") from error
  except (
    AttributeError,
    EOFError,
    KeyError,
    OSError,
    TypeError,  # A bare .npy: np.load gives an array, not an archive.
    ValueError,
    zipfile.BadZipFile,
  ) as error:
    raise UserError(f"{path} is not a packed dataset; {_MEND}") from error
