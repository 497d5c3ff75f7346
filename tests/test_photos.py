"""Picture files by Pillow against the tf.data pipeline."""

import numpy as np
import pytest
from PIL import Image

from c3_jax import photos
from c3_jax.data import arrays, pipeline

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


@pytest.mark.parametrize("crop", ["square", "imm"])
def test_pixels_are_those_of_the_pipeline(files, crop):
  """At most one grey level off, and that in few pixels, whatever the file."""
  frame = photos.Frame(32, 40, crop)
  reference = {}
  for batch in pipeline.read(files, load_size=40, crop=crop):
    reference |= zip(batch["index"].tolist(), batch["image"], strict=True)
    for i, size in zip(batch["index"], batch["file_size"], strict=True):
      assert photos.read(files[i], frame)[1] == tuple(size.tolist())
  assert len(reference) == len(files)
  for i, path in enumerate(files):
    image, _ = photos.read(path, frame)
    difference = np.abs(image.astype(int) - reference[i][4:36, 4:36])
    assert difference.max() <= 1, path
    assert (difference > 0).mean() < 0.02, path


@pytest.mark.parametrize("crop", arrays.CROPS)
def test_points_lie_where_the_box_says(crop):
  """Corners of the frame are corners of the box; the data's rule agrees."""
  frame = photos.Frame(32, 40, crop)
  for size in ((178, 218), (300, 200)):
    left, top, right, bottom = frame.box(size)
    found = frame.to_file([[-1, -1], [1, 1]], size)
    # 0 is the centre of the first pixel, half a pixel inside the file.
    want = np.array([[left, top], [right, bottom]]) - 0.5
    np.testing.assert_allclose(found, want, atol=1e-9)
    back = arrays.points_to_frame(found, size, 32, 40, crop)
    np.testing.assert_allclose(back, [[-1, -1], [1, 1]], atol=1e-9)


def test_what_juts_out_of_a_file_is_black(tmp_path):
  """DVE's square of a wide picture has rows below it: they stay empty."""
  path = tmp_path / "wide.png"
  Image.new("RGB", (120, 60), (200, 100, 50)).save(path)
  image, _ = photos.read(path, photos.Frame(30, 30, "dve"))
  # Its square begins 30 / 218 of 60 rows down, and is 120 rows high.
  inside = round((60 - 60 * 30 / 218) / 120 * 30)
  assert (image[: inside - 1] == (200, 100, 50)).all()
  assert (image[inside + 1 :] == 0).all()


def test_unreadable_files_say_why(tmp_path, files):
  """Empty, cut off, no picture, missing: one error that names the file."""
  whole = (tmp_path / "whole.jpg", tmp_path / "whole.png")
  picture(60, 60).save(whole[0])
  picture(60, 60).save(whole[1])
  for name, content in {
    "empty.jpg": b"",
    "text.png": b"this is no picture",
    "cut.jpg": whole[0].read_bytes()[:-200],
    "cut.png": whole[1].read_bytes()[:-2000],
    "head.png": whole[1].read_bytes()[:20],
  }.items():
    (tmp_path / name).write_bytes(content)
    with pytest.raises(photos.Unreadable, match=f"{name} cannot be read: ."):
      photos.decode(tmp_path / name)
  with pytest.raises(photos.Unreadable, match="none.jpg cannot be read"):
    photos.decode(tmp_path / "none.jpg")
