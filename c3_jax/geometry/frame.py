"""Coordinates: every conversion between the places a point can be given in.

One convention holds in the whole project: a point is (x, y) in [-1, 1], x to
the right and y down, with -1 and +1 at the outer EDGES of the image, so that
coordinates do not depend on resolution. The other places, each with a pair of
functions named by their two ends:

  pixels            0 = centre of the first pixel: ((x + 1) W - 1) / 2
  corner_pixels     0 = outer corner of the first pixel: (x + 1) W / 2 (IMM)
  one_based_pixels  1 = centre of the first pixel (NC-Net's lists)
  aligned           -1 and +1 at the CENTRES of the outer pixels (NC-Net)
  file              pixels of an image file, of which a `Frame` sees a part
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from c3_jax.errors import UserError

CROPS = ("square", "imm", "dve")


def coords_to_pixels(points, size):
  """Maps coordinates in [-1, 1] to pixels, 0 = centre of the first pixel.

  Args:
    points: [..., 2] array of (x, y) in [-1, 1].
    size: image side in pixels, or (width, height).

  Returns:
    [..., 2] array of pixels. NumPy in, NumPy out.
  """
  return ((points + 1) * _scale(points, size) - 1) / 2


def pixels_to_coords(pixels, size):
  """Inverts `coords_to_pixels`: pixels [..., 2] to (x, y) in [-1, 1]."""
  return (2 * pixels + 1) / _scale(pixels, size) - 1


def _scale(points, size):
  """(width, height), in the library and dtype of points."""
  width, height = (size, size) if isinstance(size, int) else size
  if isinstance(points, jax.Array):
    return jnp.array([width, height], points.dtype)
  return [width, height]


def coords_to_corner_pixels(points, size):
  """Maps coordinates to float64 pixels, 0 = the image's corner.

  Args:
    points: [..., 2] array of (x, y) in [-1, 1].
    size: image side in pixels.

  Returns:
    [..., 2] in [0, size]: half a pixel more than `coords_to_pixels`.
  """
  return (np.asarray(points, np.float64) + 1) / 2 * size


def corner_pixels_to_coords(pixels, size):
  """Inverts `coords_to_corner_pixels`."""
  return 2 * np.asarray(pixels, np.float64) / size - 1


def coords_to_one_based_pixels(points, size):
  """Maps coordinates [n, P, 2] to 1-based pixels of images of sizes [n, 2]."""
  size = np.asarray(size, np.float64)[:, None]
  return ((np.asarray(points, np.float64) + 1) * size + 1) / 2


def one_based_pixels_to_coords(pixels, size):
  """Inverts `coords_to_one_based_pixels`."""
  size = np.asarray(size, np.float64)[:, None]
  return (2 * np.asarray(pixels, np.float64) - 1) / size - 1


def one_based_pixels_to_aligned(pixels, size):
  """Maps 1-based pixels [n, P, 2] of sizes [n, 2] to NC-Net's coordinates."""
  side = size[:, None]
  return (pixels - 1 - (side - 1) / 2) * 2 / (side - 1)


def aligned_to_one_based_pixels(points, size):
  """Inverts `one_based_pixels_to_aligned`."""
  side = size[:, None]
  return points * (side - 1) / 2 + 1 + (side - 1) / 2


def cell_centres(n, dtype=jnp.float32):
  """Gives the coordinates in [-1, 1] of the centres of n cells: [n]."""
  return (2 * jnp.arange(n, dtype=dtype) + 1) / n - 1


def grid(height, width, dtype=jnp.float32):
  """Gives (x, y) of every cell of a map: [height, width, 2]."""
  x, y = jnp.meshgrid(cell_centres(width, dtype), cell_centres(height, dtype))
  return jnp.stack([x, y], -1)


def crop_box(crop, width, height):
  """Gives the box of an image file that is loaded.

  Args:
    crop: "square", the largest central square; "imm", everything, whose sides
      are then scaled to one length (IMM, NC-Net); "dve", DVE's square of
      an aligned CelebA image, which is as wide as the file and begins 30
      rows of 218 below its top.
    width, height: of the file; whole numbers, or arrays of them.

  Returns:
    (left, top, width, height) in whole pixels from the outer corner of the
    file. The box may end below the file.

  Raises:
    UserError: there is no such rule.
  """
  if crop == "square":
    short = np.minimum(width, height)
    return (width - short) // 2, (height - short) // 2, short, short
  if crop == "imm":
    return 0 * width, 0 * height, width, height
  if crop == "dve":
    return 0 * width, np.rint(30 / 218 * height), width, width
  raise UserError(f"config.data.crop is {crop!r}: use one of {CROPS}.")


class Frame(NamedTuple):
  """The part of an image file that the network sees.

  The box of a crop rule is scaled to load_size x load_size pixels; the network
  sees the central image_size pixels of that. Points are coordinates of the
  latter, so the loaded image spans [-m, m], m = load_size / image_size.

  Attributes:
    image_size: side of the frame in pixels.
    load_size: side of the loaded image in pixels, at least image_size.
    crop: rule of `crop_box`.
  """

  image_size: int
  load_size: int
  crop: str = "square"

  @classmethod
  def of(cls, config):
    """Reads the frame of a run's config.

    Raises:
      UserError: the config is of a version that does not say.
    """
    data = config.data
    try:
      # Listed pairs are seen whole.
      crop = "imm" if data.name == "pf_pascal" else data.crop
      return cls(data.image_size, data.load_size, crop)
    except AttributeError as error:
      raise UserError(
        f"config.json of the run is of another version ({error}): use the "
        "version of c3_jax it was trained with."
      ) from error

  def file_to_coords(self, pixels, file_size):
    """Maps pixels of a file to coordinates of the frame.

    Args:
      pixels: [..., P, 2] array of (x, y), 0 = centre of the first pixel.
      file_size: (width, height) of the file, or a [..., 2] array of them.

    Returns:
      [..., P, 2] array of (x, y) in [-1, 1] of the frame; points near the
      border of the file lie outside [-1, 1].
    """
    corner, extent = self._corner_and_extent(file_size)
    inside = (2 * (np.asarray(pixels) - corner) + 1) / extent - 1
    return inside * (self.load_size / self.image_size)

  def coords_to_file(self, points, file_size):
    """Inverts `file_to_coords`: frame [..., P, 2] to float64 file pixels."""
    corner, extent = self._corner_and_extent(file_size)
    points = np.asarray(points, np.float64)
    inside = points * (self.image_size / self.load_size)
    return ((inside + 1) * extent - 1) / 2 + corner

  def _corner_and_extent(self, file_size):
    """Arrays [..., 1, 2] of (x, y) that go with points [..., P, 2]."""
    size = np.asarray(file_size, np.float64)
    left, top, width, height = crop_box(self.crop, size[..., 0], size[..., 1])
    corner = np.stack([left, top], -1)[..., None, :]
    return corner, np.stack([width, height], -1)[..., None, :]


def centre_crop(images, size):
  """Cuts the central [b, size, size, c] of loaded images [b, s, s, c]."""
  top = (images.shape[1] - size) // 2
  return images[:, top : top + size, top : top + size]


def network_input(images, size):
  """Turns loaded images into what the network sees.

  Args:
    images: uint8 [b, s, s, 3].
    size: side of the frame, at most s.

  Returns:
    float32 [b, size, size, 3] in [0, 1]. NumPy in, NumPy out.
  """
  return centre_crop(images, size).astype(np.float32) / 255
