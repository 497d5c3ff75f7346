"""Listed pairs of images with matching points, in memory.

An image is scaled to S x S pixels without keeping its aspect ratio (NC-Net);
points are (x, y) in [-1, 1] of it.
"""

import dataclasses
import itertools

import numpy as np

from c3_jax.data import in_memory, sampler
from c3_jax.errors import UserError
from c3_jax.runtime import arrays

# PASCAL VOC's, in the order of the numbers 1 to 20 in the lists.
CATEGORIES = tuple(
  "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog "
  "horse motorbike person pottedplant sheep sofa train tvmonitor".split()
)


@dataclasses.dataclass(eq=False)
class PairDataset:
  """A `PairedDataset` in memory; each image file is held once.

  Attributes:
    images: uint8 [m, S, S, 3].
    names: m str, the files.
    sizes: int32 [m, 2], (width, height) of the files.
    flips: bool [n]; both images of such a pair are mirrored.
    categories: int32 [n], indices into `CATEGORIES`.
    points: as they are before mirroring; P is 0 where nothing is annotated.
    visible: bool [n, P]; False for padding.
  """

  images: np.ndarray
  names: list
  sizes: np.ndarray
  pairs: np.ndarray
  _: dataclasses.KW_ONLY
  flips: np.ndarray
  categories: np.ndarray
  points: np.ndarray
  visible: np.ndarray
  subsets: dict = dataclasses.field(default_factory=dict)

  seen = protocol = None

  def __post_init__(self):
    for name, dtype in _DTYPES.items():
      setattr(self, name, np.asarray(getattr(self, name), dtype))
    self.names = list(self.names)
    self.load_size = self.image_size = self.images.shape[1]
    self.images_per_epoch = 2 * len(self)

  def __len__(self):
    return len(self.pairs)

  def batches(self, batch_size, *, seed, start_step=0, shard=(0, 1)):
    """Gives endless training batches of whole pairs: see `PairedDataset`."""
    if batch_size % 2:
      raise ValueError(f"a batch of {batch_size} images is not whole pairs")
    for index in sampler.batch_indices(
      len(self), batch_size // 2, seed=seed, start_step=start_step, shard=shard
    ):
      images = np.stack(self._images(index), 1)
      yield {
        "image": images.reshape(-1, *images.shape[2:]),
        "index": (2 * index[:, None] + [0, 1]).reshape(-1),
      }

  def eval_batches(self, batch_size):
    """Gives every pair once, in order: see `PairedDataset`."""
    for index, mask in sampler.eval_indices(len(self), batch_size):
      batch = {
        "visible": self.visible[index],
        "category": self.categories[index],
        "index": index,
        "mask": mask,
      }
      images = self._images(index)
      # A mirrored image: x becomes -x. Points match by their number, which
      # stays.
      sign = np.where(self.flips[index, None, None], [-1, 1], 1)
      for i, side in enumerate(("source", "target")):
        batch[f"image_{side}"] = images[i]
        points = self.points[index, i] * sign
        batch[f"points_{side}"] = points.astype(np.float32)
        batch[f"size_{side}"] = self.sizes[self.pairs[index, i]]
      yield batch

  def first(self, n):
    """Gives the sources of the first n pairs: an `in_memory.ArrayDataset`."""
    images, _ = self._images(np.arange(min(n, len(self))))
    names = [self.names[row] for row in self.pairs[:n, 0]]
    return in_memory.ArrayDataset(images, None, names)

  def _images(self, index):
    """Gives (source, target) of some pairs: uint8 [b, S, S, 3] each."""
    flips = self.flips[index, None, None, None]
    both = [self.images[self.pairs[index, i]] for i in (0, 1)]
    return [np.where(flips, image[:, :, ::-1], image) for image in both]

  def save(self, path):
    """Writes one .npz file: whole, or not at all."""
    fields = {name: getattr(self, name) for name in (*_DTYPES, "images")}
    fields |= {f"subset_{name}": part for name, part in self.subsets.items()}
    fields["view"] = in_memory.pack_view(self)
    for name in ("names", "subsets"):
      fields[name] = np.array(list(getattr(self, name)), np.str_)
    arrays.write(path, fields)

  @classmethod
  def load(cls, path):
    """Reads a file of `save`; raises `UserError` if it is none."""
    fields = arrays.read(path, _FORMS)
    subsets = list(dict.fromkeys(fields.pop("subsets").tolist()))
    part = arrays.Form(("b",), (len(fields["pairs"]),))
    found = arrays.read(path, {f"subset_{name}": part for name in subsets})
    if not fields["images"].size or not fields["pairs"].size:
      raise UserError(f"{path} holds no pairs; {arrays.REMEDY}")
    for name, end in (
      ("pairs", len(fields["images"])),
      ("categories", len(CATEGORIES)),
    ):
      if not ((fields[name] >= 0) & (fields[name] < end)).all():
        raise UserError(
          f"{path} has {name} that are not there; {arrays.REMEDY}"
        )
    if (fields["sizes"] < 1).any():
      raise UserError(f"{path} has images without a size; {arrays.REMEDY}")
    view = fields.pop("view")
    fields["subsets"] = dict(zip(subsets, found.values(), strict=True))
    dataset = cls(**fields)
    in_memory.unpack_view(dataset, view, path)
    return dataset


_DTYPES = {
  "sizes": np.int32,
  "pairs": np.int64,
  "flips": bool,
  "categories": np.int32,
  "points": np.float32,
  "visible": bool,
}
_FORMS = {
  "images": in_memory.IMAGES,
  "names": arrays.Form(("U",), ("n",)),
  "sizes": arrays.Form(("i",), ("n", 2)),
  "pairs": arrays.Form(("i",), ("pairs", 2)),
  "flips": arrays.Form(("b",), ("pairs",)),
  "categories": arrays.Form(("i",), ("pairs",)),
  "points": arrays.Form(("f",), ("pairs", 2, "points", 2)),
  "visible": arrays.Form(("b",), ("pairs", "points")),
  "subsets": arrays.Form(("U", "f"), ("subsets",)),
  "view": in_memory.VIEW,
}


def pad(points):
  """Pads lists of matching points to arrays of one length.

  Args:
    points: list of n (source, target), float [p, 2] each, p varying.

  Returns:
    (float64 [n, 2, P, 2], bool [n, P]): zeros, and False, fill up to the
    longest.
  """
  longest = max((len(source) for source, _ in points), default=0)
  padded = np.zeros((len(points), 2, longest, 2))
  visible = np.zeros((len(points), longest), bool)
  for i, side in itertools.product(range(len(points)), (0, 1)):
    padded[i, side, : len(points[i][side])] = points[i][side]
    visible[i, : len(points[i][side])] = True
  return padded, visible
