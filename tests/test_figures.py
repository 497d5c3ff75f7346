"""Figures are PNG files whose marks lie where the coordinates say."""

import json
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from c3_jax.errors import UserError
from c3_jax.evaluation import figures
from c3_jax.landmarks import pixels_to_coords


def read(path):
  """The PNG at path as [h, w, 3] float in [0, 1]."""
  with Image.open(path) as image:
    assert image.format == "PNG"
    return np.asarray(image.convert("RGB"), np.float64) / 255


def centroid(weight):
  """Weighted mean (x, y) of pixel indices of [h, w]."""
  y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
  return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


def saturation(picture):
  """How colourful each pixel is: [h, w]."""
  return picture.max(-1) - picture.min(-1)


def grey(n, size=16):
  """Plain grey pictures [n, size, size, 3]."""
  return np.full((n, size, size, 3), 0.5)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("point", [(0.0, 0.0), (-0.613, 0.377), (0.8, -0.752)])
def test_dot_lies_where_its_coordinates_say(tmp_path, point, k):
  """The colour's centre of mass is the coordinate, to a tenth of a pixel."""
  landmarks = np.full((1, k, 2), 3.0, np.float32)  # outside: not seen
  landmarks[0, 0] = point
  figures.landmarks_figure(tmp_path / "a.png", grey(1), landmarks)
  picture = read(tmp_path / "a.png")
  inside = figures.GAP, figures.GAP + figures.CELL
  cell = picture[slice(*inside), slice(*inside)]
  # Pixel i of the figure spans [i, i + 1]: its centre is i + 1/2.
  got = (centroid(saturation(cell)) + 0.5) / figures.CELL * 2 - 1
  assert np.abs(got - point).max() < 0.1 * 2 / figures.CELL


def test_dot_covers_the_image_pixel_it_names(tmp_path):
  """A dot on the centre of a bright pixel has that pixel's place."""
  image = np.zeros((2, 9, 9, 3))
  image[0, 6, 2] = 1
  point = pixels_to_coords(np.array([[2.0, 6.0]]), 9)
  outside = np.full((1, 2), 3.0)
  figures.landmarks_figure(
    tmp_path / "a.png", image, np.stack([outside, point])
  )
  picture = read(tmp_path / "a.png")
  half = picture.shape[1] // 2
  bright = centroid(picture[4:-4, 4 : half - 2].mean(-1))
  dot = centroid(saturation(picture[4:-4, half + 2 : -4]))
  np.testing.assert_allclose(dot, bright, atol=1)


def test_dots_of_a_grid_have_their_own_picture_and_colour(tmp_path):
  """In every cell landmark 0 is left, 1 is right, in the colours of k = 2."""
  columns, rows = 3, 2
  points = np.tile([[-0.5, 0.2], [0.5, 0.2]], (6, 1, 1))
  figures.landmarks_figure(tmp_path / "a.png", grey(6), points, columns=columns)
  picture = read(tmp_path / "a.png")
  cell = (picture.shape[1] - figures.GAP) // columns
  assert picture.shape[0] == rows * cell + figures.GAP
  side = cell - figures.GAP
  for row in range(rows):
    for column in range(columns):
      for x, colour in zip((0.25, 0.75), figures.landmark_colours(2)):
        got = picture[
          row * cell + figures.GAP + int(0.6 * side),
          column * cell + figures.GAP + int(x * side),
        ]
        np.testing.assert_allclose(got, colour, atol=0.01)


@pytest.mark.parametrize("k", [1, 2, 10, 30])
def test_landmark_colours_differ(k):
  """No two of k colours are the same to the eye, and all are in range."""
  colours = figures.landmark_colours(k)
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
    figures.landmarks_figure(
      path, grey(1), landmarks, **{name: np.array([[point]])}
    )
    cell = read(path)[4 : 4 + figures.CELL, 4 : 4 + figures.CELL]
    got = (centroid(cell.min(-1) > 0.9) + 0.5) / figures.CELL * 2 - 1
    np.testing.assert_allclose(got, point, atol=0.2 * 2 / figures.CELL)
  figures.landmarks_figure(tmp_path / "none.png", grey(1), landmarks)
  assert read(tmp_path / "none.png")[4:-4, 4:-4].max() < 0.6


def test_swap_cells_are_in_rows_of_appearance(tmp_path):
  """Row i is appearance i, column j pose j, values clipped to [0, 1]."""
  level = np.array([[0.1, 0.2, 0.3], [0.4, 1.5, -0.6]])
  swapped = np.broadcast_to(level[..., None, None, None], (2, 3, 8, 8, 3))
  rows = np.broadcast_to([[[[0.7]]], [[[0.8]]]], (2, 8, 8, 3))
  columns = np.broadcast_to([[[[0.15]]], [[[0.25]]], [[[0.35]]]], (3, 8, 8, 3))
  figures.swap_figure(tmp_path / "a.png", rows, columns, swapped)
  picture = read(tmp_path / "a.png")
  x = (np.arange(4) + 0.5) / 4 * picture.shape[1]
  y = (np.arange(3) + 0.5) / 3 * picture.shape[0]
  got = picture[np.ix_(y.astype(int), x.astype(int))][..., 0]
  np.testing.assert_allclose(got[0, 1:], [0.15, 0.25, 0.35], atol=0.01)
  np.testing.assert_allclose(got[1:, 0], [0.7, 0.8], atol=0.01)
  np.testing.assert_allclose(got[1:, 1:], np.clip(level, 0, 1), atol=0.01)


def test_template_rows_are_in_order(tmp_path):
  """Image, reconstruction, pose only and appearance only, from the top."""
  pictures = [np.full((3, 8, 8, 3), value) for value in (0.1, 0.3, 0.5, 0.7)]
  figures.template_figure(tmp_path / "a.png", *pictures)
  picture = read(tmp_path / "a.png")
  y = ((np.arange(4) + 0.5) / 4 * picture.shape[0]).astype(int)
  got = picture[y, picture.shape[1] - 20, 0]
  np.testing.assert_allclose(got, [0.1, 0.3, 0.5, 0.7], atol=0.01)


def test_transfer_marks_the_target_only_unless_asked(tmp_path):
  """Colour is in the lower row; source landmarks add it to the upper one."""
  points = np.zeros((2, 3, 2)) + np.array([[-0.5, 0], [0, 0], [0.5, 0]])
  figures.transfer_figure(
    tmp_path / "a.png", grey(2), grey(2), points, points + 0.3
  )
  figures.transfer_figure(
    tmp_path / "b.png", grey(2), grey(2), points, points + 0.3, points
  )
  without, with_source = read(tmp_path / "a.png"), read(tmp_path / "b.png")
  top = (without.shape[0] - 20) // 2
  assert saturation(without)[:top].max() == 0
  assert (saturation(without)[top:] > 0.5).sum() > 100
  assert (saturation(with_source)[:top] > 0.5).sum() > 100
  np.testing.assert_array_equal(without[top:], with_source[top:])


def write_metrics(path, records, tail=""):
  """Writes JSON lines and perhaps the beginning of one more."""
  lines = "".join(json.dumps(record) + "\n" for record in records)
  path.write_text(lines + tail)
  return path


def make_records():
  """Three stages of 120 steps, with evaluation lines that have other keys."""
  records = []
  for stage, first in (("pairs", 0), ("flow", 120), ("cycle", 240)):
    for step in range(first + 1, first + 121):
      records.append(
        {"step": step, "stage": stage, "images_per_second": 90.0 + step % 7}
        | {stage: np.exp(-step / 40)}
      )
    records.append({"step": step, "stage": stage, "error": 20 - step / 30})
  return records


def test_curves_ignore_a_line_cut_short(tmp_path):
  """A truncated last line changes nothing in the figure."""
  records = make_records()
  whole = write_metrics(tmp_path / "whole.jsonl", records)
  cut = write_metrics(
    tmp_path / "cut.jsonl", records, tail='{"step": 361, "stage": "cyc'
  )
  figures.curves_figure(tmp_path / "whole.png", whole)
  figures.curves_figure(tmp_path / "cut.png", cut)
  picture = read(tmp_path / "whole.png")
  assert picture.shape[1] == figures.WIDTH
  assert 200 < picture.shape[0] < 600
  np.testing.assert_array_equal(picture, read(tmp_path / "cut.png"))


def test_curves_are_read_with_their_stages(tmp_path):
  """Names keep their own steps, stages join up, speed is the last plot."""
  path = write_metrics(tmp_path / "m.jsonl", make_records())
  curves, stages = figures.read_curves(path)
  assert stages == [("pairs", 0, 120), ("flow", 120, 240), ("cycle", 240, 360)]
  assert list(curves) == [
    "pairs",
    "error",
    "flow",
    "cycle",
    "images_per_second",
  ]
  np.testing.assert_array_equal(curves["error"][0], [120, 240, 360])
  np.testing.assert_array_equal(curves["flow"][0], np.arange(121, 241))
  np.testing.assert_allclose(
    curves["flow"][1], np.exp(-np.arange(121, 241) / 40)
  )


def test_steps_that_start_anew_with_a_stage_are_counted_on(tmp_path):
  """Steps within a stage become steps of the run."""
  records = [
    {"step": step, "stage": stage, "loss": 1.0}
    for stage in ("pairs", "flow")
    for step in (10, 20, 30)
  ]
  path = write_metrics(tmp_path / "m.jsonl", records)
  curves, stages = figures.read_curves(path)
  np.testing.assert_array_equal(curves["loss"][0], [10, 20, 30, 40, 50, 60])
  assert stages == [("pairs", 0, 30), ("flow", 30, 60)]


def test_odd_metrics_are_drawn(tmp_path):
  """One line, NaN, infinity, text, nested values and no stage do no harm."""
  one = write_metrics(tmp_path / "one.jsonl", [{"step": 0, "loss": 1.0}])
  figures.curves_figure(tmp_path / "one.png", one)
  odd = [
    {"step": step, "stage": "other", "a": value, "b": "text", "c": {"d": 1}}
    for step, value in enumerate([1.0, float("nan"), float("inf"), -3] * 40)
  ]
  odd += [{"step": 160, "stage": "other", "all_nan": float("nan")}]
  path = write_metrics(tmp_path / "odd.jsonl", odd)
  figures.curves_figure(tmp_path / "odd.png", path)
  curves, _ = figures.read_curves(path)
  assert list(curves) == ["a", "all_nan"]
  np.testing.assert_array_equal(curves["a"][1][:4], [1, np.nan, np.nan, -3])
  assert read(tmp_path / "odd.png").shape[1] == figures.WIDTH


def test_broken_metrics_name_the_file(tmp_path):
  """A bad line in the middle names its number; an empty file says so."""
  path = tmp_path / "m.jsonl"
  path.write_text('{"step": 1, "loss": 2.0}\nnonsense\n{"step": 2}\n')
  with pytest.raises(UserError, match="m.jsonl: line 2"):
    figures.curves_figure(tmp_path / "a.png", path)
  path.write_text('{"step": 1, "lo')
  with pytest.raises(UserError, match="m.jsonl holds no numbers"):
    figures.curves_figure(tmp_path / "a.png", path)
  assert list(tmp_path.iterdir()) == [path]


def test_error_curves_are_drawn_for_each_name(tmp_path):
  """Each curve adds its own colour; NaN and errors of zero are no trouble."""
  rng = np.random.default_rng(0)
  errors = {"ours": rng.gamma(4, 1, 99), "mean shape": rng.gamma(4, 4, 99)}
  errors["ours"][5] = np.nan
  figures.error_curve_figure(tmp_path / "both.png", errors)
  figures.error_curve_figure(tmp_path / "zero.png", {"ours": np.zeros(4)})
  both, zero = read(tmp_path / "both.png"), read(tmp_path / "zero.png")
  assert both.shape == zero.shape == (320, 480, 3)
  orange = np.array([1.0, 0.498, 0.055])
  near = [np.abs(a - orange).max(-1) < 0.05 for a in (both, zero)]
  assert near[0].sum() > 200 and near[1].sum() == 0


def test_figures_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
  """A write that fails leaves the old figure and nothing else."""
  path = tmp_path / "deep" / "a.png"
  points = np.zeros((1, 2, 2))
  figures.landmarks_figure(path, grey(1), points)
  before = path.read_bytes()
  figures.landmarks_figure(path, grey(1), points)
  assert path.read_bytes() == before

  def fail(self, name, **_):
    with open(name, "wb") as file:
      file.write(b"half")
    raise OSError("disk full")

  monkeypatch.setattr(Figure, "savefig", fail)
  with pytest.raises(OSError, match="disk full"):
    figures.landmarks_figure(path, grey(1), points)
  assert path.read_bytes() == before
  assert list(path.parent.iterdir()) == [path]


def test_pyplot_is_not_imported():
  """The figures need neither pyplot nor a display."""
  code = (
    "import sys, c3_jax.evaluation.figures; "
    "sys.exit('matplotlib.pyplot' in sys.modules)"
  )
  assert subprocess.run([sys.executable, "-c", code]).returncode == 0
