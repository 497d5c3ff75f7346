"""Image files against Pillow and known images, singly and many at once."""

import numpy as np
import pytest
import simplejpeg
from PIL import Image

from c3_jax import geometry
from c3_jax.data import image_files

SIZES = [(160, 160), (89, 109), (640, 481), (33, 57), (300, 90), (20, 24)]


def picture(width, height, seed=0):
  """Smooth colours with noise, as a photograph has."""
  rng = np.random.default_rng(seed)
  low = rng.integers(0, 256, (height // 6 + 2, width // 6 + 2, 3), np.uint8)
  big = Image.fromarray(low).resize((width, height), Image.Resampling.BICUBIC)
  noisy = np.asarray(big) + rng.normal(0, 8, (height, width, 3))
  return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
  """Files of many sizes, formats and colour types."""
  folder, paths = tmp_path_factory.mktemp("photos"), []

  def save(image, name, **options):
    image.save(folder / name, **options)
    paths.append(str(folder / name))

  for i, size in enumerate(SIZES):
    save(picture(*size, i), f"{i}.jpg", quality=90)
    save(picture(*size, i), f"{i}.png")
  image = picture(200, 150, 9)
  for mode in ("L", "P", "1", "LA", "RGBA"):
    save(image.convert(mode), f"{mode}.png")
  save(image.convert("L"), "grey.jpg")
  save(image.convert("CMYK"), "cmyk.jpg", quality=95)
  grey = np.asarray(image.convert("L"), np.uint16)
  noise = np.random.default_rng(0).integers(0, 256, grey.shape, np.uint16)
  save(Image.fromarray(grey * 256 + noise), "16.png")
  turned = Image.Exif()
  turned[0x0112] = 6  # Orientation: to be turned by a quarter.
  save(image, "exif.jpg", exif=turned)
  return paths


@pytest.mark.parametrize("crop", geometry.CROPS)
def test_one_file_is_read_as_in_a_batch(files, crop):
  """Alone or among others, a file gives the same bytes."""
  frame = geometry.Frame(32, 40, crop)
  (batch,) = image_files.read_batches(files, frame)
  assert batch.index.tolist() == list(range(len(files)))
  assert not batch.errors
  for path, loaded, file_size in zip(
    files, batch.images, batch.sizes, strict=True
  ):
    image, size = image_files.load(path, frame)
    assert size == tuple(file_size.tolist())
    np.testing.assert_array_equal(image, loaded, err_msg=path)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_jpegs_are_decoded_as_by_pillow(
  tmp_path, size, progressive, subsampling
):
  """Byte for byte: three chroma samplings, odd sizes, colours and greys."""
  for mode in ("RGB", "L", "CMYK"):
    path = tmp_path / f"{mode}.jpg"
    picture(*size).convert(mode).save(
      path, quality=83, progressive=progressive, subsampling=subsampling
    )
    oracle = np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(image_files.decode(path), oracle)
    if mode != "CMYK":  # Or Pillow might have decoded it.
      found = simplejpeg.decode_jpeg(path.read_bytes())
      np.testing.assert_array_equal(found, oracle)


def test_what_juts_out_of_a_file_is_black(tmp_path):
  """DVE's square of a wide image has rows below it: they stay empty."""
  path = tmp_path / "wide.png"
  Image.new("RGB", (120, 60), (200, 100, 50)).save(path)
  image, _ = image_files.load(path, geometry.Frame(30, 30, "dve"))
  # Its square begins 30 / 218 of 60 rows down, and is 120 rows high.
  inside = round((60 - 60 * 30 / 218) / 120 * 30)
  assert (image[: inside - 1] == (200, 100, 50)).all()
  assert (image[inside + 1 :] == 0).all()


def test_no_other_decoder_of_pillow_is_reached(tmp_path, monkeypatch):
  """Whatever a file is called, and in memory, seven formats alone are opened.

  Every decoder that Pillow knows is made to fail the test where it is asked.
  """
  Image.init()
  others = {*Image.OPEN} - {*image_files.FORMATS}
  assert {"EPS", "PPM", "FITS", "ICO", "JPEG2000"} <= others

  def reached(*_):
    raise AssertionError("another decoder was reached")

  for name in others:
    monkeypatch.setitem(Image.OPEN, name, (reached, lambda _: True))
  contents = {
    "eps.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n{} loop\n",
    "ppm.png": b"P6 2 2 255\n" + bytes(12),
    "fits.tif": b"SIMPLE  =" + bytes(3000),
  }
  for name, data in contents.items():
    (tmp_path / name).write_bytes(data)
    for read in (image_files.decode, image_files.size_of):
      with pytest.raises(image_files.Unreadable, match="none of JPEG, PNG"):
        read(tmp_path / name)


def test_an_open_image_of_another_format_is_not_loaded(tmp_path):
  """To load a PostScript would run it; a copy in memory is anybody's."""
  path = tmp_path / "a.ppm"
  Image.new("RGB", (3, 2), (1, 2, 3)).save(path)
  with Image.open(path) as image:
    with pytest.raises(image_files.Unreadable, match="PPM is none of JPEG"):
      image_files.decode(image)
    copy = image.convert("RGB").copy()
  copy.format = None
  assert (image_files.decode(copy) == (1, 2, 3)).all()


def test_an_image_with_next_to_no_contrast_is_told_of_once(tmp_path, caplog):
  """Black images are named, the first ten of them, and not in every epoch."""
  paths = [tmp_path / f"dark{i:02}.png" for i in range(12)]
  rng = np.random.default_rng(0)
  for path in paths:
    Image.fromarray(rng.integers(0, 16, (30, 30, 3), np.uint8)).save(path)
  image_files._tell_flat.cache_clear()
  for path in paths * 2:
    image_files.load(path, geometry.Frame(30, 30))
  *lines, last = [record.getMessage() for record in caplog.records]
  assert len(lines) == 10 and last.startswith("More images")
  for path, line in zip(paths, lines):
    assert line.startswith(f"{path} has next to no contrast: its values lie in")
    assert "0..15 of" in line


def test_unreadable_files_say_why(tmp_path, files):
  """Empty, cut off, no image, missing: one error that names the file."""
  whole = (tmp_path / "whole.jpg", tmp_path / "whole.png")
  picture(60, 60).save(whole[0])
  picture(60, 60).save(whole[1])
  for name, content in {
    "empty.jpg": b"",
    "text.png": b"this is no image",
    "cut.jpg": whole[0].read_bytes()[:-200],
    "cut.png": whole[1].read_bytes()[:-2000],
    "head.png": whole[1].read_bytes()[:20],
  }.items():
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
      image_files.Unreadable, match=f"{name} cannot be read: ."
    ):
      image_files.decode(tmp_path / name)
  with pytest.raises(image_files.Unreadable, match="none.jpg cannot be read"):
    image_files.decode(tmp_path / "none.jpg")


def test_pillow_judges_jpegs_with_faults(tmp_path):
  """Bytes too many before the end mark: read, as Pillow reads them."""
  path = tmp_path / "whole.jpg"
  picture(60, 60).save(path)
  whole = image_files.decode(path)
  data = path.read_bytes()
  path.write_bytes(data[:-2] + bytes(9) + data[-2:])
  with pytest.raises(ValueError, match="extraneous"):
    simplejpeg.decode_jpeg(path.read_bytes())
  np.testing.assert_array_equal(image_files.decode(path), whole)
