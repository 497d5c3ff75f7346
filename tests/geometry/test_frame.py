"""Conversions of coordinates: there and back, and against counted pixels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3_jax import geometry
from c3_jax.errors import UserError

SIZES = np.array([[5, 9], [8, 4], [7, 7]])
# (left, top, width, height) of each rule, counted by hand.
BOXES = {
  "square": {(178, 218): (0, 20, 178, 178), (301, 100): (100, 0, 100, 100)},
  "imm": {(178, 218): (0, 0, 178, 218), (301, 100): (0, 0, 301, 100)},
  "dve": {(178, 218): (0, 30, 178, 178), (301, 100): (0, 14, 301, 301)},
}


def centres(n):
  """Coordinates of the centres of n pixels that fill [-1, 1]."""
  edges = np.linspace(-1, 1, n + 1)
  return np.array([(edges[i] + edges[i + 1]) / 2 for i in range(n)])


def lattice(x, y):
  """All points of two lines, row by row: [len(y) * len(x), 2]."""
  return np.array([(a, b) for b in y for a in x], float)


# From coordinates, and back: each for one image of (width, height).
CONVERTERS = {
  "pixels": (geometry.coords_to_pixels, geometry.pixels_to_coords),
  "one_based_pixels": (
    lambda x, size: geometry.coords_to_one_based_pixels(
      x[None], np.array([size])
    )[0],
    lambda x, size: geometry.pixels_to_coords(x - 1, size),
  ),
  "file": (
    lambda x, size: geometry.Frame(8, 8, "imm").coords_to_file(x, size),
    lambda x, size: geometry.Frame(8, 8, "imm").file_to_coords(x, size),
  ),
}


@pytest.mark.parametrize("name", CONVERTERS)
@pytest.mark.parametrize("size", [(5, 9), (8, 4), (7, 7)])
def test_centres_of_pixels_are_whole_numbers(name, size):
  """Pixel (c, r) lies in the middle of its edges, x along the width."""
  there, back = CONVERTERS[name]
  points = lattice(*(centres(n) for n in size))
  want = lattice(*(range(n) for n in size)) + (name == "one_based_pixels")
  np.testing.assert_allclose(there(points, size), want, atol=1e-12)
  np.testing.assert_allclose(back(want, size), points, atol=1e-12)


@pytest.mark.parametrize("name", CONVERTERS)
def test_there_and_back(name):
  """Points inside and outside the image come back."""
  there, back = CONVERTERS[name]
  points = np.random.default_rng(0).uniform(-1.5, 1.5, (6, 2))
  again = back(there(points, (5, 9)), (5, 9))
  np.testing.assert_allclose(again, points, atol=1e-12)


def test_edges_of_the_image_are_half_a_pixel_outside_the_outer_centres():
  """-1 and +1 are the outer edges of the image, x belongs to the width."""
  points = jnp.array([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0], [0.25, -0.5]])
  want = [[-0.5, -0.5], [7.5, 3.5], [3.5, 1.5], [4.5, 0.5]]
  pixels = geometry.coords_to_pixels(points, (8, 4))
  np.testing.assert_allclose(pixels, want, atol=1e-6)
  square = geometry.coords_to_pixels(points, 8)
  np.testing.assert_allclose(square, np.array(want) * [1, 2] + [0, 0.5])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [7, (5, 9)])
def test_pixels_to_coords_is_the_inverse_and_numpy_stays_numpy(size, dtype):
  """Pixels and back are the same points, in NumPy's types or in JAX's."""
  points = np.random.default_rng(0).uniform(-1.2, 1.2, (3, 4, 2)).astype(dtype)
  pixels = geometry.coords_to_pixels(points, size)
  again = geometry.pixels_to_coords(pixels, size)
  assert type(pixels) is type(again) is np.ndarray
  np.testing.assert_allclose(again, points, atol=1e-6)

  on_device = geometry.coords_to_pixels(jnp.array(points, jnp.float32), size)
  assert isinstance(on_device, jax.Array)
  np.testing.assert_allclose(on_device, pixels, atol=1e-5)
  again = geometry.pixels_to_coords(on_device, size)
  np.testing.assert_allclose(again, points, atol=1e-6)


def test_corner_pixels_count_the_edges_of_pixels():
  """Edge i of 7 pixels is i, and i comes back to it."""
  edges = np.linspace(-1, 1, 8)
  points, want = lattice(edges, edges), lattice(range(8), range(8))
  pixels = geometry.coords_to_corner_pixels(points.astype(np.float32), 7)
  assert pixels.dtype == np.float64
  np.testing.assert_allclose(pixels, want, atol=1e-5)
  coords = geometry.corner_pixels_to_coords(want, 7)
  np.testing.assert_allclose(coords, points, atol=1e-12)
  again = geometry.corner_pixels_to_coords(pixels, 7)
  np.testing.assert_allclose(again, points.astype(np.float32), atol=1e-12)


def test_aligned_coordinates_join_the_centres_of_the_outer_pixels():
  """Pixel i of n, counted from 1, is entry i of n steps from -1 to 1."""
  for width, height in SIZES:
    lines = [np.linspace(-1, 1, n) for n in (width, height)]
    aligned = lattice(*lines)[None]
    pixels = lattice(range(1, width + 1), range(1, height + 1))[None]
    size = np.array([[width, height]])
    found = geometry.one_based_pixels_to_aligned(pixels, size)
    np.testing.assert_allclose(found, aligned, atol=1e-12)
    back = geometry.aligned_to_one_based_pixels(aligned, size)
    np.testing.assert_allclose(back, pixels, atol=1e-12)


def test_every_image_of_a_batch_has_its_own_size():
  """Converters of [n, P, 2] and [n, 2] do what they do for one image."""
  points = np.random.default_rng(1).uniform(-1.2, 1.2, (3, 4, 2))
  for there, back in (
    (
      geometry.coords_to_one_based_pixels,
      lambda x, size: geometry.pixels_to_coords(x - 1, size[:, None]),
    ),
    (
      geometry.aligned_to_one_based_pixels,
      geometry.one_based_pixels_to_aligned,
    ),
  ):
    pixels = there(points, SIZES)
    for i in range(3):
      one = there(points[i : i + 1], SIZES[i : i + 1])
      np.testing.assert_allclose(pixels[i : i + 1], one)
    np.testing.assert_allclose(back(pixels, SIZES), points, atol=1e-12)


def test_grid_holds_the_centres_of_the_cells():
  """Entry (r, c) of the grid is the coordinate of pixel (c, r)."""
  grid = np.asarray(geometry.grid(3, 5))
  assert grid.shape == (3, 5, 2)
  np.testing.assert_allclose(
    grid.reshape(15, 2), lattice(centres(5), centres(3)), atol=1e-6
  )
  np.testing.assert_allclose(geometry.cell_centres(5), grid[0, :, 0])


@pytest.mark.parametrize("crop", geometry.CROPS)
def test_frame_sees_the_middle_of_the_box_of_its_rule(crop):
  """Pixels of the box fill [-m, m] of the frame, m = load / image size."""
  frame = geometry.Frame(32, 40, crop)
  for size, box in BOXES[crop].items():
    assert tuple(map(int, geometry.crop_box(crop, *size))) == box
    left, top, width, height = box
    x, y = centres(width)[::9] * 40 / 32, centres(height)[::9] * 40 / 32
    points = lattice(x, y)
    pixels = lattice(range(left, left + width, 9), range(top, top + height, 9))
    found = frame.file_to_coords(pixels, size)
    np.testing.assert_allclose(found, points, atol=1e-12)
    back = frame.coords_to_file(points, size)
    np.testing.assert_allclose(back, pixels, atol=1e-9)


def test_unknown_rules_are_refused():
  """The key of the config is named, and the rules there are."""
  with pytest.raises(UserError, match="config.data.crop is 'no'.*square"):
    geometry.crop_box("no", 4, 4)


@pytest.mark.parametrize("size", [(160, 160), (178, 218), (301, 100), (7, 9)])
def test_frame_edges_and_centre(size):
  """The square's middle is 0; its edges are load_size / image_size."""
  half = min(size) / 2
  # An odd pixel stays at the right or below: the square has whole pixels.
  centre = (np.array(size) - min(size)) // 2 + half - 0.5
  pixels = centre + np.array([[0, 0], [half, 0], [0, -half], [-half, half]])
  np.testing.assert_allclose(
    geometry.Frame(64, 80).file_to_coords(pixels, size),
    [[0, 0], [1.25, 0], [0, -1.25], [-1.25, 1.25]],
    atol=1e-12,
  )


@pytest.mark.parametrize("crop", geometry.CROPS)
def test_coords_to_file_is_the_inverse(crop):
  """File, frame and back is the identity, for one size or one per image."""
  rng = np.random.default_rng(0)
  pixels = rng.uniform(-5, 200, (6, 4, 2))
  sizes = rng.integers(1, 300, (6, 2))
  frame = geometry.Frame(128, 160, crop)
  points = frame.file_to_coords(pixels, sizes)
  for i in range(6):
    one = frame.file_to_coords(pixels[i], tuple(sizes[i]))
    np.testing.assert_allclose(one, points[i])
  back = frame.coords_to_file(points, sizes)
  np.testing.assert_allclose(back, pixels, atol=1e-9)


@pytest.mark.parametrize("crop", geometry.CROPS)
def test_what_is_seen_of_a_file_is_what_lies_in_the_frame(crop):
  """The share of the pixels whose centre maps into [-1, 1]."""
  sizes = np.array([[200, 200], [200, 240], [178, 218], [240, 120]])
  frame = geometry.Frame(128, 160, crop)
  for size, share in zip(sizes, frame.seen(sizes), strict=True):
    x, y = np.meshgrid(*map(np.arange, size))
    inside = abs(frame.file_to_coords(np.stack([x, y], -1), size)) <= 1
    assert share == pytest.approx(100 * inside.all(-1).mean(), abs=1)


@pytest.mark.parametrize("loaded", [8, 11, 16])
def test_network_input_is_the_middle_in_units_of_255(loaded):
  """As many pixels are cut on each side, one more at the end if odd."""
  images = np.random.default_rng(2).integers(
    0, 256, (2, loaded, loaded, 3), np.uint8
  )
  pad = (loaded - 8) // 2
  crop = np.array(
    [
      [[image[pad + r, pad + c] for c in range(8)] for r in range(8)]
      for image in images
    ]
  )
  np.testing.assert_array_equal(geometry.centre_crop(images, 8), crop)
  for array in (images, jnp.asarray(images)):
    seen = geometry.network_input(array, 8)
    assert isinstance(seen, type(array)) and seen.dtype == np.float32
    np.testing.assert_allclose(seen, crop / 255, atol=1e-7)
