"""The predictor gives the numbers of the csv file, whatever it is given."""

import csv

import jax
import numpy as np
import pytest
from PIL import Image

import c3_jax
from c3_jax import inference
from c3_jax.errors import UserError

SIZES = {"a.png": (41, 30), "b/c.png": (20, 64), "d.png": (33, 33)}


@pytest.fixture(scope="module")
def work(tmp_path_factory, save_run):
  """A folder with a run in `run`, and images in `pics`."""
  tmp = tmp_path_factory.mktemp("predictor")
  save_run(tmp / "run", {4: 20.0, 8: 30.0})
  rng = np.random.default_rng(0)
  for name, size in SIZES.items():
    low = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
    (tmp / "pics" / name).parent.mkdir(parents=True, exist_ok=True)
    low.resize(size, Image.BICUBIC).save(tmp / "pics" / name)
  return tmp


@pytest.fixture(scope="module")
def predictor(work):
  """Loaded as the documentation says, of the best checkpoint."""
  result = c3_jax.load(work / "run")
  assert (result.step, result.k) == (4, 10)
  return result


@pytest.fixture(scope="module")
def rows(work):
  """{file: (points [10, 2], confidence [10])} of the csv of predict."""
  out = work / "out.csv"
  inference.write_landmarks(work / "run", str(work / "pics"), out)
  _, *rows = csv.reader(out.read_text().splitlines())
  numbers = {row[0]: np.array(row[1:], float) for row in rows}
  return {name: (x[:20].reshape(10, 2), x[20:]) for name, x in numbers.items()}


def check(found, rows, names):
  """Landmarks are those of the rows, to the digits of the csv."""
  assert len(found) == len(rows)
  for each, row, name in zip(found, rows, names, strict=True):
    assert each.name == name and each.annotated is None
    assert each.points.dtype == np.float64
    np.testing.assert_allclose(each.points, row[0], atol=0.002)
    np.testing.assert_allclose(each.confidence, row[1], atol=1e-4)


def test_folder_pattern_and_files_are_the_csv(work, predictor, rows):
  """All ways to name files give their rows, in order."""
  pics = work / "pics"
  check(predictor.predict(pics), rows.values(), rows)
  found = predictor.predict(str(pics / "*.png"))
  check(found, [rows["a.png"], rows["d.png"]], ["a.png", "d.png"])
  check(predictor.predict(pics / "d.png"), [rows["d.png"]], ["d.png"])
  paths = [pics / name for name in reversed(SIZES)]
  want = [rows[name] for name in reversed(SIZES)]
  check(predictor.predict(paths), want, map(str, paths))


@pytest.mark.parametrize("kind", ["pil", "array"])
def test_images_in_memory_are_the_csv(work, predictor, rows, kind):
  """PIL images and arrays have the landmarks of their files; one is a list."""
  images = [Image.open(work / "pics" / name) for name in SIZES]
  if kind == "array":
    images = [np.asarray(image) for image in images]
  want = [rows[name] for name in SIZES]
  check(predictor.predict(images), want, "012")
  check(predictor.predict(images[1]), want[1:2], "0")
  assert predictor.predict([]) == []


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16"])
def test_modes_are_handled_as_files_of_that_mode(work, predictor, mode):
  """Grey, transparent and 16-bit arrays and images equal a PNG of theirs."""
  if mode == "I;16":
    rng = np.random.default_rng(1)
    image = Image.fromarray(rng.integers(0, 65536, (40, 30), np.uint16))
  else:
    image = Image.open(work / "pics" / "a.png").convert(mode)
  path = work / f"{mode[0]}.png"
  image.save(path)
  stored = Image.open(path)
  assert stored.mode == mode
  want, *others = predictor.predict([path, stored, np.asarray(stored)])
  for other in others:
    np.testing.assert_array_equal(other.points, want.points)
    np.testing.assert_array_equal(other.confidence, want.confidence)


def test_more_images_than_a_batch(work, predictor, rows):
  """Order is kept over batches, the last of them short."""
  small = inference.load(work / "run", batch_size=4)
  image = [Image.open(work / "pics" / name) for name in SIZES]
  found = small.predict(image * 3)
  check(found, list(rows.values()) * 3, map(str, range(9)))


@pytest.mark.parametrize("size", [(1, 1), (3, 2000), (20_000, 7)], ids=str)
def test_images_of_any_shape_have_landmarks_inside(predictor, size):
  """One pixel, or a strip of them, gives points within its outer edges."""
  (found,) = predictor.predict(Image.new("RGB", size, (200, 90, 10)))
  assert (found.points >= -0.5).all()
  assert (found.points <= np.array(size) - 0.5).all()


@pytest.mark.slow
def test_double_precision_elsewhere_changes_nothing(work, rows):
  """A program that computes in float64 gets the landmarks of the csv."""
  with jax.enable_x64(True):
    other = inference.load(work / "run", batch_size=4)
    check(other.predict(work / "pics"), rows.values(), rows)


def test_the_folder_of_the_run_stays_as_it_is(work, rows):
  """Prediction needs no right to write there, and leaves nothing."""

  def seen():
    return {
      path: (path.stat().st_mtime_ns, path.stat().st_size)
      for path in (work / "run").rglob("*")
    }

  before = seen()
  found = inference.load(work / "run").predict(work / "pics")
  check(found, rows.values(), rows)
  assert seen() == before


def test_what_cannot_be_read_is_named(work, predictor):
  """A file by its name, an array by its place."""
  good, bad = work / "pics" / "a.png", work / "bad.png"
  bad.write_text("no image")
  with pytest.raises(UserError, match="bad.png cannot be read"):
    predictor.predict([good, bad])
  with pytest.raises(UserError, match="none.png cannot be read"):
    predictor.predict([work / "none.png"])
  for array in (np.zeros((4, 4, 3)), np.zeros((4, 4, 5), np.uint8)):
    with pytest.raises(UserError, match=r"images\[1\]: .* uint8"):
      predictor.predict([good, array])
