"""Tests of scanned and streamed images that the tests draw themselves."""

import importlib
import io
import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from c3_jax import geometry
from c3_jax.data import broken, image_files, in_memory, streaming
from c3_jax.data.scan import scan
from c3_jax.errors import UserError
from tests.reference.resizing import resized

FRAME = geometry.Frame(16, 16)
_SIZES = [(40, 40), (61, 40), (40, 75), (200, 131), (33, 20), (25, 90)]


def _picture(width, height, seed=0):
  """A smooth random image, so that JPEG keeps it well."""
  noise = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
  return Image.fromarray(noise).resize((width, height), Image.BICUBIC)


def _write(folder, n):
  """Writes n images of mixed sizes: their paths."""
  paths = []
  for i in range(n):
    suffix = ("jpg", "png")[i % 2]
    paths.append(folder / f"{i:03d}.{suffix}")
    _picture(*_SIZES[i % len(_SIZES)], seed=i).save(paths[-1])
  return paths


def _spoil(path, how):
  """Overwrites an image with a broken one."""
  whole = path.read_bytes()
  path.write_bytes({"zero": b"", "text": b"no image", "cut": whole[:-90]}[how])


@pytest.fixture
def warnings_logged(monkeypatch):
  """The lines that go to the warning log."""
  lines = []
  for module in (broken, streaming):
    monkeypatch.setattr(
      module.logger, "warning", lambda line, *args: lines.append(line % args)
    )
  return lines


def _read(paths, load_size, crop="square"):
  """Reads all files, which fit into one batch."""
  frame = geometry.Frame(load_size, load_size, crop)
  (batch,) = image_files.read_batches(paths, frame)
  return batch


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("load_size", [24, 50, 80])
def test_dot_lands_where_the_frame_says(tmp_path, cache, load_size):
  """A blob drawn at a known pixel is found at its point, scaled up or down."""
  rng = np.random.default_rng(load_size)
  paths, pixels = [], []
  for i, (width, height) in enumerate(_SIZES):
    centre = np.array([width - 1, height - 1]) / 2
    dot = centre + rng.uniform(-0.25, 0.25, 2) * min(width, height)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    sigma = min(width, height) / 20
    blob = np.exp(-((x - dot[0]) ** 2 + (y - dot[1]) ** 2) / 2 / sigma**2)
    paths.append(tmp_path / f"{i}.{('png', 'jpg')[i % 2]}")
    Image.fromarray((255 * blob).astype(np.uint8)).save(paths[-1], quality=98)
    pixels.append([dot])
  data = scan(paths, geometry.Frame(20, load_size), pixels=pixels, cache=cache)
  (batch,) = data.eval_batches(len(paths))
  x, y = np.meshgrid(np.arange(load_size), np.arange(load_size))
  for image, point in zip(batch["image"], batch["points"][:, 0], strict=True):
    weight = np.where(image[..., 0] > 25, image[..., 0], 0.0)
    found = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    # Half a frame is 10 pixels of the frame, which pads (S - 20) / 2 around.
    expected = (point + 1) * 10 - 0.5 + (load_size - 20) / 2
    np.testing.assert_allclose(found, expected, atol=0.15)


@pytest.mark.parametrize("crop", geometry.CROPS)
@pytest.mark.parametrize("load_size", [12, 30, 64])
def test_pixels_are_those_of_slow_sums(tmp_path, load_size, crop):
  """Any shape of file, enlarged or reduced: the box, resized."""
  rng = np.random.default_rng(0)
  paths, expected = [], []
  for i, (width, height) in enumerate(_SIZES):
    noise = rng.integers(0, 256, (height, width, 3), np.uint8)
    paths.append(tmp_path / f"{i}.png")
    Image.fromarray(noise).save(paths[-1])
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    row = round(30 / 218 * height)
    box = {
      "square": (left, top, left + short, top + short),
      "imm": (0, 0, width, height),
      "dve": (0, row, width, row + width),
    }[crop]
    # PIL's crop is black where it juts out of the file.
    seen = np.asarray(Image.fromarray(noise).crop(box))
    expected.append(resized(seen, load_size))
  batch = _read(paths, load_size, crop)
  assert batch.sizes.tolist() == [list(size) for size in _SIZES]
  for image, wanted in zip(batch.images, expected, strict=True):
    assert np.abs(image - wanted).max() <= 1.5


def test_extreme_aspect_ratio_costs_no_memory(tmp_path):
  """A 60,000 x 1 strip loads as the single pixel in its middle."""
  strip = np.zeros((1, 60_001, 3), np.uint8)
  strip[0, 30_000] = [10, 20, 30]
  Image.fromarray(strip).save(tmp_path / "a.png")
  images = _read([tmp_path / "a.png"], 200).images
  assert images.shape == (1, 200, 200, 3)
  np.testing.assert_array_equal(images[0, 100, 100], [10, 20, 30])
  # DVE's square of it would take 10 GB: broken, like any other.
  assert list(_read([tmp_path / "a.png"], 9, "dve").errors) == [0]


def test_every_colour_type_becomes_rgb(tmp_path):
  """Grey, palette, alpha, 1-bit, 16-bit and CMYK files load as PIL's RGB."""
  rgb = _picture(40, 40)
  grey = rgb.convert("L")
  sixteen = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
  images = {
    "rgb.png": rgb,
    "rgb.jpg": rgb,
    "upper.JPG": rgb,
    "grey.png": grey,
    "grey.jpg": grey,
    "alpha.png": rgb.convert("RGBA"),
    "grey_alpha.png": grey.convert("LA"),
    "palette.png": rgb.convert("P"),
    "bit.png": rgb.convert("1"),
    "cmyk.jpg": rgb.convert("CMYK"),
    "sixteen.png": sixteen,
  }
  paths = [tmp_path / name for name in images]
  for path, image in zip(paths, images.values(), strict=True):
    image.save(path)
  batch = _read(paths, 40)
  assert batch.index.tolist() == list(range(len(images)))
  assert not batch.errors
  for image, path in zip(batch.images, paths, strict=True):
    # Pillow clips 16 bits to 8 where it should scale them.
    oracle = grey if "sixteen" in path.name else Image.open(path)
    difference = np.asarray(oracle.convert("RGB")).astype(int) - image
    # CMYK to RGB is rounded differently; all else is exact.
    assert np.abs(difference).max() <= ("cmyk" in path.name), path


def test_orientation_tag_is_ignored(tmp_path):
  """A JPEG that asks to be turned loads as it is stored."""
  image = _picture(40, 40)
  exif = Image.Exif()
  exif[0x0112] = 6
  image.save(tmp_path / "plain.jpg")
  image.save(tmp_path / "turned.jpg", exif=exif)
  paths = [tmp_path / "plain.jpg", tmp_path / "turned.jpg"]
  images = _read(paths, 40).images
  np.testing.assert_array_equal(images[0], images[1])


@pytest.mark.slow
@pytest.mark.parametrize("tf_data", [False, True])
def test_stream_equals_cache_byte_for_byte(tmp_path, tf_data):
  """Both datasets give the same training and evaluation batches."""
  paths = _write(tmp_path, 9)
  options = dict(pixels=np.ones((9, 2, 2)), tf_data=tf_data)
  cached = scan(paths, geometry.Frame(20, 28), cache=True, **options)
  stream = scan(paths, geometry.Frame(20, 28), cache=False, **options)
  assert isinstance(cached, in_memory.ArrayDataset)
  assert isinstance(stream, streaming.StreamingDataset)
  assert len(cached) == len(stream) == 9
  assert cached.names == stream.names
  assert cached.load_size == stream.load_size == 28
  np.testing.assert_array_equal(cached.points, stream.points)

  pairs = [
    *zip(cached.eval_batches(4), stream.eval_batches(4), strict=True),
    *itertools.islice(
      zip(
        cached.batches(6, seed=2, start_step=3, shard=(1, 2)),
        stream.batches(6, seed=2, start_step=3, shard=(1, 2)),
        strict=True,
      ),
      8,
    ),
  ]
  assert len(pairs) == 11
  for a, b in pairs:
    assert set(a) == set(b)
    for name in a:
      assert a[name].dtype == b[name].dtype
      np.testing.assert_array_equal(a[name], b[name])


def test_stream_restarts_like_a_straight_run(tmp_path):
  """100 batches straight are 40 batches and a restart at 40 for 60 more."""
  data = streaming.StreamingDataset(_write(tmp_path, 5), FRAME)
  straight = list(itertools.islice(data.batches(3, seed=1), 100))
  halves = [
    *itertools.islice(data.batches(3, seed=1), 40),
    *itertools.islice(data.batches(3, seed=1, start_step=40), 60),
  ]
  for a, b in zip(straight, halves, strict=True):
    np.testing.assert_array_equal(a["index"], b["index"])
    np.testing.assert_array_equal(a["image"], b["image"])


@pytest.mark.parametrize("how", ["zero", "text", "cut"])
@pytest.mark.parametrize("cache", [False, True])
def test_one_broken_of_twenty_is_skipped(tmp_path, warnings_logged, how, cache):
  """The broken file is named once; the others keep names and points."""
  paths = _write(tmp_path, 20)
  _spoil(paths[4], how)
  pixels = np.arange(20.0).reshape(20, 1, 1).repeat(2, -1)
  names = [path.name for path in paths]
  data = scan(
    paths,
    FRAME,
    pixels=pixels,
    names=names,
    cache=cache,
  )
  assert data.names == names[:4] + names[5:]
  assert len(warnings_logged) == 1
  assert "1 of 20" in warnings_logged[0]
  assert str(paths[4]) in warnings_logged[0]

  sizes = np.array([_SIZES[i % len(_SIZES)] for i in range(20) if i != 4])
  kept = np.delete(pixels, 4, axis=0)
  np.testing.assert_allclose(
    FRAME.coords_to_file(data.points, sizes), kept, atol=1e-4
  )
  (batch,) = data.eval_batches(19)
  alone = _read(paths[:4] + paths[5:], 16)
  np.testing.assert_array_equal(batch["image"], alone.images)


def test_missing_file_counts_as_broken(tmp_path, warnings_logged):
  """A path that vanished is skipped like a broken image."""
  paths = _write(tmp_path, 4)
  paths[0].unlink()
  assert len(scan(paths, geometry.Frame(8, 8))) == 3
  assert str(paths[0]) in warnings_logged[0]


@pytest.mark.parametrize(
  "n, broken, fatal",
  [(8, 3, False), (8, 4, True), (3, 3, True), (420, 4, False), (420, 5, True)],
)
def test_many_broken_files_are_fatal(
  tmp_path, warnings_logged, n, broken, fatal
):
  """Over 3 and over 1 % broken, or nothing usable, is the user's mistake."""
  data = io.BytesIO()
  _picture(8, 8).save(data, "png")
  paths = [tmp_path / f"{i}.png" for i in range(n)]
  for i, path in enumerate(paths):
    path.write_bytes(b"" if 0 < n - i <= broken else data.getvalue())
  if not fatal:
    assert len(scan(paths, geometry.Frame(8, 8))) == n - broken
    assert f"{broken} of {n}" in warnings_logged[0]
    return
  with pytest.raises(UserError) as error:
    scan(paths, geometry.Frame(8, 8))
  assert str(paths[n - broken]) in str(error.value)
  assert f"{broken} broken of {n}" in str(error.value)
  assert "\n" not in str(error.value)


def test_warning_names_ten_files_at_most(tmp_path, warnings_logged):
  """Of 12 broken files in 1,300, ten are named and two counted."""
  data = io.BytesIO()
  _picture(4, 4).save(data, "png")
  paths = [tmp_path / f"{i:04d}.png" for i in range(1300)]
  for i, path in enumerate(paths):
    path.write_bytes(b"" if i < 12 else data.getvalue())
  assert len(scan(paths, geometry.Frame(4, 4))) == 1288
  (line,) = warnings_logged
  assert line.count(".png") == 10
  assert line.endswith("0009.png and 2 more")


def test_cache_larger_than_memory_is_refused(tmp_path):
  """A cache beyond the machine's memory says what to do, allocates none."""
  paths = [tmp_path / "a.png"] * 10
  with pytest.raises(UserError, match="cache=False"):
    scan(paths, geometry.Frame(8, 4_000_000))


@pytest.mark.slow
@pytest.mark.parametrize("tf_data", [False, True])
def test_a_program_that_ends_while_it_streams_ends_at_once(tmp_path, tf_data):
  """Threads that read ahead neither hold it up nor write to stderr.

  Nor does TensorFlow where it loads, which leaves the GPU and the user's log
  level alone.
  """
  _write(tmp_path, 40)
  code = (
    "import os, pathlib, sys\n"
    "from c3_jax import data, geometry\n"
    "paths = sorted(pathlib.Path(sys.argv[1]).iterdir())\n"
    f"options = dict(tf_data={tf_data})\n"
    "frame = geometry.Frame(200, 200)\n"
    "stream = data.StreamingDataset(paths, frame, **options)\n"
    "batches = stream.batches(40, seed=0)\n"
    "next(batches)\n"
    "print(os.environ['TF_CPP_MIN_LOG_LEVEL'])\n"
    "if options['tf_data']:\n"
    "  import tensorflow as tf\n"
    "  print(tf.config.get_visible_devices('GPU'))\n"
    "sys.exit(3)\n"
  )
  env = {k: v for k, v in os.environ.items() if not k.startswith("TF_")}
  done = subprocess.run(
    [sys.executable, "-c", code, str(tmp_path)],
    env=env | {"TF_CPP_MIN_LOG_LEVEL": "1"},
    capture_output=True,
    timeout=120,
  )
  printed = b"1\n[]\n" if tf_data else b"1\n"
  assert (done.returncode, done.stdout, done.stderr) == (3, printed, b"")


def test_missing_tensorflow_is_one_line(monkeypatch):
  """Without TensorFlow, the tf.data pipeline says what to do."""
  monkeypatch.setitem(sys.modules, "tensorflow", None)
  monkeypatch.delitem(sys.modules, "c3_jax.data.tf_data", raising=False)
  with pytest.raises(UserError, match="install it") as error:
    importlib.import_module("c3_jax.data.tf_data")
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("how", ["zero", "text", "cut"])
def test_a_file_that_breaks_is_replaced_in_training(
  tmp_path, warnings_logged, how
):
  """The next good one stands in, in every batch, shard and restart; once."""
  paths = _write(tmp_path, 8)
  whole = streaming.StreamingDataset(paths, FRAME)
  (good,) = whole.eval_batches(8)
  for i in (2, 3):
    _spoil(paths[i], how)
  data = streaming.StreamingDataset(paths, FRAME)
  expected = good["image"][[0, 1, 4, 4, 4, 5, 6, 7]]
  straight = list(itertools.islice(data.batches(6, seed=4), 9))
  shards = [data.batches(6, seed=4, start_step=5, shard=(i, 2)) for i in (0, 1)]
  for step, batch in enumerate(straight):
    np.testing.assert_array_equal(batch["image"], expected[batch["index"]])
    if step >= 5:
      parts = [next(shard)["image"] for shard in shards]
      np.testing.assert_array_equal(np.concatenate(parts), batch["image"])
  assert len(warnings_logged) == 2
  assert all(any(str(paths[i]) in w for w in warnings_logged) for i in (2, 3))


def test_the_first_pictures_stand_in_for_broken_ones(tmp_path, warnings_logged):
  """`first` gives what training sees, as an array; fewer if there are fewer."""
  paths = _write(tmp_path, 6)
  whole = streaming.StreamingDataset(paths, FRAME)
  (good,) = whole.eval_batches(6)
  _spoil(paths[1], "zero")
  data = streaming.StreamingDataset(paths, FRAME)
  first = data.first(4)
  np.testing.assert_array_equal(first.images, good["image"][[0, 2, 2, 3]])
  assert first.names == data.names[:4]
  assert len(data.first(9)) == 6
  assert len(warnings_logged) == 1


def test_names_that_are_no_utf8(tmp_path):
  """Such files are read like others, and keep their names."""
  (path,) = _write(tmp_path, 1)
  odd = os.path.join(tmp_path, "b\udcff.jpg")
  os.rename(path, odd)
  data = streaming.StreamingDataset([odd], FRAME)
  np.testing.assert_array_equal(data.first(1).images, _read([odd], 16).images)
  assert data.names == [odd]


def test_too_many_files_that_break_stop_the_run(tmp_path, warnings_logged):
  """More than 3, and more than 1 %, as for files that were broken before."""
  paths = _write(tmp_path, 12)
  for path in paths[3:7]:
    _spoil(path, "zero")
  data = streaming.StreamingDataset(paths, geometry.Frame(8, 8))
  with pytest.raises(UserError, match="one of 4 broken of 12"):
    for _ in itertools.islice(data.batches(4, seed=0), 3):
      pass


def test_evaluation_refuses_a_file_that_broke(tmp_path):
  """No sample is left out or replaced there."""
  paths = _write(tmp_path, 5)
  data = streaming.StreamingDataset(paths, geometry.Frame(8, 8))
  _spoil(paths[4], "zero")
  with pytest.raises(UserError, match=f"{paths[4]} cannot be decoded"):
    list(data.eval_batches(3))


def test_a_reader_stands_in_for_files(tmp_path, warnings_logged):
  """Encoded images from elsewhere: the same batches, broken ones left out."""
  paths = _write(tmp_path, 7)
  encoded = [path.read_bytes() for path in paths]
  frame = geometry.Frame(8, 8)
  files = scan(paths[:4] + paths[5:], frame)
  encoded[4] = b""
  for cache in (True, False):
    data = scan(
      [f"key {i}" for i in range(7)],
      frame,
      cache=cache,
      reader=encoded.__getitem__,
    )
    (a,), (b,) = data.eval_batches(6), files.eval_batches(6)
    np.testing.assert_array_equal(a["image"], b["image"])
    assert data.names == [f"key {i}" for i in (0, 1, 2, 3, 5, 6)]
  assert all("key 4" in line for line in warnings_logged)


def test_jpegs_cut_off_in_their_header_leave_stderr_alone(tmp_path, capfd):
  """libjpeg would write a line without a name, at any log level."""
  _picture(40, 30).save(tmp_path / "whole.jpg", quality=90)
  data = (tmp_path / "whole.jpg").read_bytes()
  paths = []
  for n in range(0, data.index(b"\xff\xda") + 2, 25):
    paths.append(tmp_path / f"{n}.jpg")
    paths[-1].write_bytes(data[:n])
  assert len(paths) > 20
  assert len(_read(paths, 8).errors) == len(paths)
  assert capfd.readouterr() == ("", "")
