"""Decoded images, all in memory."""

import json

import numpy as np

from c3_jax.data import sampler
from c3_jax.errors import UserError
from c3_jax.runtime import arrays, json_files

# What an .npz file holds; see `arrays.Form`.
IMAGES = arrays.Form(("u1",), ("n", "side", "side", 3))
VIEW = arrays.Form(("U",), (), optional=True)
FORMS = {
  "images": IMAGES,
  "names": arrays.Form(("U",), ("n",)),
  "image_size": arrays.Form(("i", "u")),
  "points": arrays.Form(("f",), ("n", "points", 2), optional=True),
  "visible": arrays.Form(("b",), ("n", "points"), optional=True),
  "view": VIEW,
}


class ArrayDataset:
  """A `Dataset` of decoded images, all in memory.

  Attributes:
    images: uint8 [n, load_size, load_size, 3].
  """

  sizes = seen = protocol = None

  def __init__(self, images, points=None, names=None, *, image_size=None):
    """Wraps arrays without copying the images.

    Args:
      images: uint8 [n, S, S, 3]; or a stand-in, such as `synthetic.Faces`, that
        is indexed like an array.
      points: [n, P, 2] in [-1, 1] of the model frame, NaN where missing, or
        None.
      names: n strings; by default the numbers 0 to n - 1.
      image_size: side of the model frame; by default all of the image.

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
    self.images, self.images_per_epoch = images, len(images)
    self.points = points
    self.names = list(names)
    self.load_size = shape[1]
    self.image_size = image_size or self.load_size

  def __len__(self):
    return len(self.images)

  def batches(self, batch_size, *, seed, start_step=0, shard=(0, 1)):
    """Gives endless training batches: see `Dataset`."""
    for index in sampler.batch_indices(
      len(self), batch_size, seed=seed, start_step=start_step, shard=shard
    ):
      yield {"image": self.images[index], "index": index}

  def eval_batches(self, batch_size):
    """Gives every image once, in order: see `Dataset`."""
    for index, mask in sampler.eval_indices(len(self), batch_size):
      batch = {"image": self.images[index], "index": index, "mask": mask}
      if self.points is not None:
        batch["points"] = self.points[index]
      yield batch

  def first(self, n):
    """Gives the first n images, fewer if there are fewer: see `Dataset`."""
    return ArrayDataset(
      self.images[:n],
      None if self.points is None else self.points[:n],
      self.names[:n],
      image_size=self.image_size,
    )

  def save(self, path):
    """Writes one .npz file of exactly this name: whole, or not at all."""
    fields = {
      "images": self.images,
      "names": np.array(self.names, np.str_),
      "image_size": np.int64(self.image_size),
      "view": pack_view(self),
    }
    if self.points is not None:
      visible = np.isfinite(self.points).all(-1)
      fields["points"] = np.where(visible[..., None], self.points, 0)
      fields["visible"] = visible
    arrays.write(path, fields)

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
    fields = arrays.read(path, FORMS)
    packed_size = int(fields["image_size"])
    if not fields["images"].size:
      raise UserError(f"{path} holds no images; {arrays.REMEDY}")
    if not 0 < packed_size <= fields["images"].shape[1]:
      raise UserError(
        f"{path} says that {packed_size} pixels of its images are seen; "
        f"{arrays.REMEDY}"
      )
    image_size, points = image_size or packed_size, fields["points"]
    if points is not None:
      points = points * np.float32(packed_size / image_size)
      if fields["visible"] is not None:
        points[~fields["visible"]] = np.nan
    dataset = cls(
      fields["images"],
      points,
      fields["names"].tolist(),
      image_size=image_size,
    )
    # Another frame sees another part.
    if image_size == packed_size:
      unpack_view(dataset, fields["view"], path)
    return dataset


def pack_view(dataset):
  """Gives what `unpack_view` restores, as text for an .npz file."""
  return json.dumps({"seen": dataset.seen, "protocol": dataset.protocol})


def unpack_view(dataset, text, path):
  """Restores `seen` and `protocol`; files of older versions have no text.

  Raises:
    UserError: the text, of the file `path`, is another one.
  """
  if text is None:
    return
  try:
    view = json_files.parse(str(text))
    json_files.check(view, {"seen": (float, None), "protocol": (dict, None)})
  except ValueError as error:
    raise UserError(
      f"{path} does not say what is seen of its images ({error}); "
      f"{arrays.REMEDY}"
    ) from error
  dataset.seen, dataset.protocol = view["seen"], view["protocol"]
