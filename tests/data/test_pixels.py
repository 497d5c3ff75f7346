"""Pixels of every mode become what a viewer shows."""

import cv2
import numpy as np
import pytest
from PIL import Image

from c3_jax.data import image_files, pixels

GREY = np.random.default_rng(0).integers(0, 256, (24, 31), np.uint8)
GREY.flat[0] = 255  # So that the brightest pixel needs all bits.


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_deep_grey_shows_as_its_highest_bits(tmp_path, bits, suffix):
  """Files of 16 bits of which fewer are used, as cameras write them."""
  rng = np.random.default_rng(1)
  low = rng.integers(0, 2 ** (bits - 8), GREY.shape, np.uint16)
  deep = GREY.astype(np.uint16) * 2 ** (bits - 8) + low
  path = tmp_path / f"a.{suffix}"
  Image.fromarray(deep).save(path)
  want = np.repeat(GREY[..., None], 3, -1)
  np.testing.assert_array_equal(image_files.decode(path), want)
  np.testing.assert_array_equal(image_files.decode(deep), want)
  big = Image.frombytes("I;16B", GREY.shape[::-1], deep.astype(">u2").tobytes())
  np.testing.assert_array_equal(pixels.to_rgb(big), want)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("suffix", ["png", "tif", "raw.tif"])
def test_deep_colours_show_as_their_highest_bits(tmp_path, bits, suffix):
  """The rule of grey holds for colours: one white for all three, and alpha."""
  rng = np.random.default_rng(1)
  want = np.stack([GREY, GREY // 2, 255 - GREY], -1)
  low = rng.integers(0, 2 ** (bits - 8), want.shape, np.uint16)
  deep = want.astype(np.uint16) * 2 ** (bits - 8) + low
  alpha = np.full(GREY.shape, 65535, np.uint16)
  alpha[:, :16] = 0
  path = str(tmp_path / f"a.{suffix}")
  options = [cv2.IMWRITE_TIFF_COMPRESSION, 1] if suffix == "raw.tif" else []
  assert cv2.imwrite(path, deep[..., ::-1], options)
  np.testing.assert_array_equal(image_files.decode(path), want)
  np.testing.assert_array_equal(image_files.decode(deep), want)
  assert cv2.imwrite(path, np.dstack([deep[..., ::-1], alpha]), options)
  for found in (path, np.dstack([deep, alpha])):
    found = image_files.decode(found)
    assert (found[:, :16] == pixels.BACKGROUND).all()
    np.testing.assert_array_equal(found[:, 16:], want[:, 16:])


def test_deep_colours_that_are_cut_off_are_refused(tmp_path):
  """Pillow judges what is damaged, not the decoder that reads all bits."""
  deep = np.random.default_rng(0).integers(0, 4096, (40, 40, 3), np.uint16)
  cv2.imwrite(str(tmp_path / "a.png"), deep)
  (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:-2000])
  with pytest.raises(image_files.Unreadable, match="b.png cannot be read: ."):
    image_files.decode(tmp_path / "b.png")


@pytest.mark.parametrize("white", [1, 255, 65535])
def test_floats_show_by_their_brightest_pixel(tmp_path, white):
  """0 to 1, to 255, or a range of whole numbers."""
  Image.fromarray(np.float32(GREY / 255 * white)).save(tmp_path / "a.tif")
  found = image_files.decode(tmp_path / "a.tif")
  np.testing.assert_allclose(found[..., 1], GREY, atol=1)


def test_a_pixel_that_is_no_number_is_refused(tmp_path):
  """NaN and infinity: one line that names the file."""
  for value in (np.nan, np.inf, -np.inf):
    values = GREY / np.float32(255)
    values[3, 4] = value
    Image.fromarray(values).save(tmp_path / "a.tif")
    with pytest.raises(image_files.Unreadable, match="a.tif .*not a finite"):
      image_files.decode(tmp_path / "a.tif")


def hidden(mode, shade):
  """An image of a mode whose left half is transparent, with a shade there."""
  colours = np.stack([GREY, GREY // 2, 255 - GREY], -1)
  colours[:, :16] = shade
  alpha = np.full(GREY.shape, 255, np.uint8)
  alpha[:, :16] = 0
  image = Image.fromarray(np.dstack([colours, alpha]))
  return image if mode == "RGBA" else image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa"])
def test_colours_that_nobody_sees_do_not_count(mode):
  """Under alpha 0 all is the background; under 255 nothing changes."""
  first, other = (pixels.to_rgb(hidden(mode, shade)) for shade in (0, 200))
  np.testing.assert_array_equal(first, other)
  assert (first[:, :16] == pixels.BACKGROUND).all()
  opaque = np.asarray(hidden("RGB" if "R" in mode else "L", 0).convert("RGB"))
  np.testing.assert_array_equal(first[:, 16:], opaque[:, 16:])


@pytest.mark.parametrize("kind", ["palette", "grey", "colour", "16"])
def test_transparent_shades_of_png_are_background(tmp_path, kind):
  """tRNS: an entry of a palette, a shade of grey or a colour."""
  path = tmp_path / "a.png"
  index = np.tile(np.arange(4, dtype=np.uint8) * 60, (4, 1))
  if kind == "palette":
    image = Image.new("P", (4, 4))
    image.putdata((index // 60).reshape(-1).tolist())
    image.putpalette([c for i in range(4) for c in (i * 60, 9, 9)])
    image.save(path, transparency=2)
  elif kind == "grey":
    Image.fromarray(index).save(path, transparency=120)
  elif kind == "16":
    Image.fromarray(index.astype(np.uint16) * 257).save(
      path, transparency=120 * 257
    )
  else:
    Image.fromarray(np.dstack([index] * 3)).save(
      path, transparency=(120, 120, 120)
    )
  found = image_files.decode(path)
  assert (found[:, 2] == pixels.BACKGROUND).all()
  np.testing.assert_array_equal(found[:, 3, 0], 180)


@pytest.mark.parametrize(
  "mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "RGBA", "I;16"]
)
def test_bands_give_what_the_whole_gives(monkeypatch, mode):
  """Converted a few rows at a time, to hold little memory: the same bytes."""
  colours = np.dstack([GREY, GREY[::-1], GREY[:, ::-1]])
  image = Image.fromarray(colours)
  if mode == "I;16":
    image = Image.fromarray(GREY.astype(np.uint16) * 9)
  elif mode != "RGB":
    image = image.convert(mode)
  whole = pixels.to_rgb(image)
  monkeypatch.setattr(pixels, "_BAND", 100)
  np.testing.assert_array_equal(pixels.to_rgb(image), whole)
