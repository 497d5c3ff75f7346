"""Figures are PNG files whose marks lie where the coordinates say."""

import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from c3_jax.figures import canvas, grids
from c3_jax.geometry import pixels_to_coords


def read(path):
  """The PNG at path as [h, w, 3] float in [0, 1]."""
  with Image.open(path) as image:
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"), np.float64) / 255


def centroid(weight):
  """Weighted mean (x, y) of pixel indices of [h, w]."""
  y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
  return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def saturation(drawn):
  """How colourful each pixel is: [h, w]."""
  return drawn.max(-1) - drawn.min(-1)


def grey(n, size=16):
  """Plain grey images [n, size, size, 3]."""
  return np.full((n, size, size, 3), 0.5)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("point", [(0.0, 0.0), (-0.613, 0.377), (0.8, -0.752)])
def test_dot_lies_where_its_coordinates_say(tmp_path, point, k):
  """The colour's centre of mass is the coordinate, to a tenth of a pixel."""
  landmarks = np.full((1, k, 2), 3.0, np.float32)  # outside: not seen
  landmarks[0, 0] = point
  grids.landmarks_figure(tmp_path / "a.png", grey(1), landmarks)
  drawn = read(tmp_path / "a.png")
  inside = canvas.GAP, canvas.GAP + canvas.CELL
  cell = drawn[slice(*inside), slice(*inside)]
  # Pixel i of the figure spans [i, i + 1]: its centre is i + 1/2.
  got = (centroid(saturation(cell)) + 0.5) / canvas.CELL * 2 - 1
  assert np.abs(got - point).max() < 0.1 * 2 / canvas.CELL


def test_dot_covers_the_image_pixel_it_names(tmp_path):
  """A dot on the centre of a bright pixel has that pixel's place."""
  image = np.zeros((2, 9, 9, 3))
  image[0, 6, 2] = 1
  point = pixels_to_coords(np.array([[2.0, 6.0]]), 9)
  outside = np.full((1, 2), 3.0)
  grids.landmarks_figure(tmp_path / "a.png", image, np.stack([outside, point]))
  drawn = read(tmp_path / "a.png")
  half = drawn.shape[1] // 2
  bright = centroid(drawn[4:-4, 4 : half - 2].mean(-1))
  dot = centroid(saturation(drawn[4:-4, half + 2 : -4]))
  np.testing.assert_allclose(dot, bright, atol=1)


def test_dots_of_a_grid_have_their_own_image_and_colour(tmp_path):
  """In every cell landmark 0 is left, 1 is right, in the colours of k = 2."""
  columns, rows = 3, 2
  points = np.tile([[-0.5, 0.2], [0.5, 0.2]], (6, 1, 1))
  grids.landmarks_figure(tmp_path / "a.png", grey(6), points, columns=columns)
  drawn = read(tmp_path / "a.png")
  cell = (drawn.shape[1] - canvas.GAP) // columns
  assert drawn.shape[0] == rows * cell + canvas.GAP
  side = cell - canvas.GAP
  for row in range(rows):
    for column in range(columns):
      for x, colour in zip((0.25, 0.75), grids.landmark_colours(2)):
        got = drawn[
          row * cell + canvas.GAP + int(0.6 * side),
          column * cell + canvas.GAP + int(x * side),
        ]
        np.testing.assert_allclose(got, colour, atol=0.01)


@pytest.mark.parametrize("k", [1, 2, 10, 30])
def test_landmark_colours_differ(k):
  """No two of k colours are the same to the eye, and all are in range."""
  colours = grids.landmark_colours(k)
  assert colours.shape == (k, 3)
  assert colours.min() >= 0 and colours.max() <= 1
  distance = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
  assert (distance + np.eye(k)).min() > 0.1


def test_annotated_and_regressed_points_are_drawn_in_place(tmp_path):
  """White marks appear round each point, and only when they are given."""
  landmarks = np.full((1, 1, 2), 3.0)  # outside: not seen
  where = {"annotated": (-0.4, 0.5), "predicted": (0.6, -0.3)}
  for name, point in where.items():
    path = tmp_path / f"{name}.png"
    grids.landmarks_figure(
      path, grey(1), landmarks, **{name: np.array([[point]])}
    )
    cell = read(path)[4 : 4 + canvas.CELL, 4 : 4 + canvas.CELL]
    got = (centroid(cell.min(-1) > 0.9) + 0.5) / canvas.CELL * 2 - 1
    np.testing.assert_allclose(got, point, atol=0.2 * 2 / canvas.CELL)
  grids.landmarks_figure(tmp_path / "none.png", grey(1), landmarks)
  assert read(tmp_path / "none.png")[4:-4, 4:-4].max() < 0.6


def test_swap_cells_are_in_rows_of_appearance(tmp_path):
  """Row i is appearance i, column j pose j, values clipped to [0, 1]."""
  level = np.array([[0.1, 0.2, 0.3], [0.4, 1.5, -0.6]])
  swapped = np.broadcast_to(level[..., None, None, None], (2, 3, 8, 8, 3))
  rows = np.broadcast_to([[[[0.7]]], [[[0.8]]]], (2, 8, 8, 3))
  columns = np.broadcast_to([[[[0.15]]], [[[0.25]]], [[[0.35]]]], (3, 8, 8, 3))
  grids.swap_figure(tmp_path / "a.png", rows, columns, swapped)
  drawn = read(tmp_path / "a.png")
  x = (np.arange(4) + 0.5) / 4 * drawn.shape[1]
  y = (np.arange(3) + 0.5) / 3 * drawn.shape[0]
  got = drawn[np.ix_(y.astype(int), x.astype(int))][..., 0]
  np.testing.assert_allclose(got[0, 1:], [0.15, 0.25, 0.35], atol=0.01)
  np.testing.assert_allclose(got[1:, 0], [0.7, 0.8], atol=0.01)
  np.testing.assert_allclose(got[1:, 1:], np.clip(level, 0, 1), atol=0.01)


def test_template_rows_are_in_order(tmp_path):
  """Image, reconstruction, pose only and appearance only, from the top."""
  images = [np.full((3, 8, 8, 3), value) for value in (0.1, 0.3, 0.5, 0.7)]
  grids.template_figure(tmp_path / "a.png", *images)
  drawn = read(tmp_path / "a.png")
  y = ((np.arange(4) + 0.5) / 4 * drawn.shape[0]).astype(int)
  got = drawn[y, drawn.shape[1] - 20, 0]
  np.testing.assert_allclose(got, [0.1, 0.3, 0.5, 0.7], atol=0.01)


def test_transfers_stand_below_what_they_were_carried_from(tmp_path):
  """Images 2m above, 2m + 1 below; crosses are below alone."""
  images = np.broadcast_to(
    np.array([0.2, 0.4, 0.6, 0.8]).reshape(4, 1, 1, 1), (4, 8, 8, 3)
  )
  points = np.zeros((4, 3, 2)) + np.array([[-0.5, 0], [0, 0], [0.5, 0]])
  drawn = []
  for moved in (0.0, 0.3):
    grids.transfer_figure(
      tmp_path / "a.png", images, points, points[::2] + moved
    )
    drawn.append(read(tmp_path / "a.png"))
  height = (drawn[0].shape[0] - 20) // 2
  right = drawn[0].shape[1] - 20
  for row, column, value in ((20, 60, 0.2), (20, right, 0.6)):
    np.testing.assert_allclose(drawn[0][row, column], value, atol=0.01)
    below = drawn[0][height + row, column]
    np.testing.assert_allclose(below, value + 0.2, atol=0.01)
  np.testing.assert_array_equal(drawn[0][:height], drawn[1][:height])
  assert (np.abs(drawn[0] - drawn[1])[height:] > 0.3).sum() > 100


def test_figures_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
  """A write that fails leaves the old figure and nothing else."""
  path = tmp_path / "deep" / "a.png"
  points = np.zeros((1, 2, 2))
  grids.landmarks_figure(path, grey(1), points)
  before = path.read_bytes()
  grids.landmarks_figure(path, grey(1), points)
  assert path.read_bytes() == before

  def fail(self, file, **_):
    file.write(b"half")
    raise OSError("disk full")

  monkeypatch.setattr(Figure, "savefig", fail)
  with pytest.raises(OSError, match="disk full"):
    grids.landmarks_figure(path, grey(1), points)
  assert path.read_bytes() == before
  assert list(path.parent.iterdir()) == [path]


@pytest.mark.slow
def test_pyplot_is_not_imported():
  """The figures need neither pyplot nor a display."""
  code = (
    "import sys, c3_jax.figures.grids; "
    "sys.exit('matplotlib.pyplot' in sys.modules)"
  )
  assert subprocess.run([sys.executable, "-c", code]).returncode == 0
