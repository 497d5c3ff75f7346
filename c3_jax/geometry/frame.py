"""Coordinates: every conversion between the places a point can be given in.

One convention holds in the whole project: a point is (x, y) in [-1, 1], x to
the right and y down, with -1 and +1 at the outer EDGES of the image, so that
coordinates do not depend on resolution. The other places, with functions named
by their two ends:

  pixels            0 = centre of the first pixel: ((x + 1) W - 1) / 2
  corner_pixels     0 = outer corner of the first pixel: (x + 1) W / 2 (IMM)
  one_based_pixels  1 = centre of the first pixel (NC-Net's lists)
  aligned           -1 and +1 at the CENTRES of the outer pixels (NC-Net)
  file              pixels of an image file, of which a `Frame` sees a part
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Real, Shaped, UInt8

from c3_jax.errors import UserError

# Where both are taken, the result is what was given unless stated otherwise.
AnyArray = Array | np.ndarray
Points = Float[AnyArray, "*n 2"]
Pixels = Real[AnyArray, "*n 2"]
Size = Any  # A length in pixels, or (width, height), or an array of these.

CROPS = ("square", "imm", "dve")


def coords_to_pixels(points: Points, size: Size) -> Points:
  """Maps coordinates in [-1, 1] to pixels, 0 = centre of the first pixel.

  `size` is the image side in pixels, or (width, height), or an array of these
  that broadcasts. NumPy in, NumPy out.
  """
  return ((points + 1) * _like(points, size) - 1) / 2


def pixels_to_coords(pixels: Pixels, size: Size) -> Points:
  """Inverts `coords_to_pixels`."""
  return (2 * pixels + 1) / _like(pixels, size) - 1


def _like(points, size):
  """Makes an array of a size, in the library of points and in JAX's dtype."""
  if isinstance(points, jax.Array):
    return jnp.asarray(size, points.dtype)
  return np.asarray(size)


def coords_to_corner_pixels(points: Points, size: Size) -> Points:
  """Maps coordinates to float64 pixels in [0, size], 0 = the image's corner.

  That is half a pixel more than `coords_to_pixels`.
  """
  return (np.asarray(points, np.float64) + 1) / 2 * size


def corner_pixels_to_coords(pixels: Pixels, size: Size) -> Points:
  """Inverts `coords_to_corner_pixels`."""
  return 2 * np.asarray(pixels, np.float64) / size - 1


def coords_to_one_based_pixels(
  points: Float[AnyArray, "n p 2"], size: Real[AnyArray, "n 2"]
) -> Float[np.ndarray, "n p 2"]:
  """Maps coordinates to 1-based pixels of images of sizes (width, height)."""
  size = np.asarray(size, np.float64)[:, None]
  return ((np.asarray(points, np.float64) + 1) * size + 1) / 2


def one_based_pixels_to_aligned(
  pixels: Real[AnyArray, "n p 2"], size: Real[AnyArray, "n 2"]
) -> Float[AnyArray, "n p 2"]:
  """Maps 1-based pixels of images of sizes (width, height) to `aligned`."""
  side = size[:, None]
  return (pixels - 1 - (side - 1) / 2) * 2 / (side - 1)


def aligned_to_one_based_pixels(
  points: Float[AnyArray, "n p 2"], size: Real[AnyArray, "n 2"]
) -> Float[AnyArray, "n p 2"]:
  """Inverts `one_based_pixels_to_aligned`."""
  side = size[:, None]
  return points * (side - 1) / 2 + 1 + (side - 1) / 2


def cell_centres(n: int, dtype: Any = float) -> Float[Array, " {n}"]:
  """Gives the coordinates in [-1, 1] of the centres of n cells."""
  return (2 * jnp.arange(n, dtype=dtype) + 1) / n - 1


def grid(
  height: int, width: int, dtype: Any = float
) -> Float[Array, "{height} {width} 2"]:
  """Gives (x, y) in [-1, 1] of the centre of every cell of a map."""
  x, y = jnp.meshgrid(cell_centres(width, dtype), cell_centres(height, dtype))
  return jnp.stack([x, y], -1)


def crop_box(crop: str, width: Size, height: Size) -> tuple[Size, ...]:
  """Gives the box of an image file that is loaded.

  Args:
    crop: "square", the largest central square; "imm", everything, whose sides
      are then scaled to one length (IMM, NC-Net); "dve", DVE's square of an
      aligned CelebA image: as wide as the file, from 30 rows of 218 down.
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

  def file_to_coords(
    self, pixels: Real[AnyArray, "*n p 2"], file_size
  ) -> Float[np.ndarray, "*n p 2"]:
    """Maps pixels of a file to coordinates of the frame.

    `file_size` is (width, height) of the file, or a [*n, 2] array of them.
    Points near the border of the file lie outside [-1, 1].
    """
    corner, extent = self._corner_and_extent(file_size)
    inside = pixels_to_coords(np.asarray(pixels) - corner, extent)
    return inside * (self.load_size / self.image_size)

  def coords_to_file(
    self, points: Float[AnyArray, "*n p 2"], file_size
  ) -> Float[np.ndarray, "*n p 2"]:
    """Inverts `file_to_coords`, in float64."""
    corner, extent = self._corner_and_extent(file_size)
    points = np.asarray(points, np.float64)
    inside = points * (self.image_size / self.load_size)
    return coords_to_pixels(inside, extent) + corner

  def seen(self, file_size: Real[AnyArray, "n 2"]) -> Float[np.ndarray, " n"]:
    """Measures the share of files, of (width, height), that it shows: in %."""
    corner, extent = self._corner_and_extent(file_size)
    size = np.asarray(file_size)[:, None]
    middle, half = corner + extent / 2, extent / 2
    half *= self.image_size / self.load_size
    low, high = (np.clip(middle + s * half, 0, size) for s in (-1, 1))
    return 100 * ((high - low) / size).prod((1, 2))

  def _corner_and_extent(self, file_size):
    """Gives the box as two [*n, 1, 2] arrays: (left, top), (width, height)."""
    width, height = np.moveaxis(np.asarray(file_size, np.float64), -1, 0)
    box = np.stack(crop_box(self.crop, width, height), -1)[..., None, :]
    return box[..., :2], box[..., 2:]


def centre_crop(
  images: Shaped[AnyArray, "b s s c"], size: int
) -> Shaped[AnyArray, "b {size} {size} c"]:
  """Cuts the central size x size pixels of loaded images."""
  top = (images.shape[1] - size) // 2
  return images[:, top : top + size, top : top + size]


def network_input(
  images: UInt8[AnyArray, "b s s 3"], size: int
) -> Float[AnyArray, "b {size} {size} 3"]:
  """Turns loaded images into what the network sees: float32 in [0, 1].

  `size` is the side of the frame, at most s. NumPy in, NumPy out.
  """
  return centre_crop(images, size).astype(np.float32) / 255
