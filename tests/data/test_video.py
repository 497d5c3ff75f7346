"""Clips give their frames, and what is no clip is refused."""

import cv2
import numpy as np
import pytest
from PIL import Image

from c3_jax import geometry
from c3_jax.data import video
from c3_jax.data.image_files import Unreadable

LEVELS = [0, 60, 120, 180, 240]


def write_clip(path, levels=LEVELS, size=(64, 48), code="mp4v"):
  """Writes a video of grey frames at 25 frames a second."""
  fourcc = cv2.VideoWriter_fourcc(*code)
  writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, 25.0, size)
  for level in levels:
    writer.write(np.full((*size[::-1], 3), level, np.uint8))
  writer.release()
  return path


def write_pages(path, levels=LEVELS, size=(64, 48)):
  """Writes a GIF or TIFF file of grey pages, 80 ms each."""
  first, *others = [Image.new("L", size, level) for level in levels]
  options = {"duration": 80} if path.suffix == ".gif" else {}
  first.save(path, save_all=True, append_images=others, **options)
  return path


def _write(path):
  code = "MJPG" if path.suffix == ".avi" else "mp4v"
  if path.suffix in video.PAGED:
    return write_pages(path)
  return write_clip(path, code=code)


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".gif", ".tif"])
def test_frames_come_in_order_with_their_times(tmp_path, suffix):
  """Of videos at 25 a second, of a GIF by its pauses, of TIFF without."""
  path = _write(tmp_path / f"clip{suffix}")
  assert video.is_clip(path) and video.length(path) == len(LEVELS)
  found = list(video.frames(path))
  assert [frame.number for frame in found] == list(range(len(LEVELS)))
  step = {".gif": 0.08, ".tif": None}.get(suffix, 0.04)
  times = [step and i * step for i in range(len(LEVELS))]
  assert [f.seconds for f in found] == (
    times if step is None else pytest.approx(times)
  )
  for frame, level in zip(found, LEVELS, strict=True):
    assert frame.image.shape == (48, 64, 3)
    # Videos are compressed.
    np.testing.assert_allclose(frame.image.mean(), level, atol=4)


def test_colours_are_red_green_blue(tmp_path):
  """OpenCV has them the other way round."""
  fourcc = cv2.VideoWriter_fourcc(*"mp4v")
  path = tmp_path / "red.mp4"
  writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, 25.0, (64, 48))
  writer.write(np.full((48, 64, 3), (0, 0, 250), np.uint8))
  writer.release()
  (frame,) = video.frames(path)
  np.testing.assert_allclose(frame.image.mean((0, 1)), (250, 0, 0), atol=8)


def test_images_of_one_page_are_no_clips(tmp_path):
  """Nor are arrays, or files that cannot be read."""
  for name in ("a.gif", "a.tif", "a.png"):
    Image.new("L", (8, 8)).save(tmp_path / name)
    assert not video.is_clip(tmp_path / name)
  (tmp_path / "bad.gif").write_text("no image")
  for other in (tmp_path / "bad.gif", tmp_path / "no.tif", np.zeros(3)):
    assert not video.is_clip(other)


def test_what_is_no_video_is_named(tmp_path):
  """Cut off, empty, missing, and lists that name other files."""
  good = write_clip(tmp_path / "good.mp4")
  cases = {
    "cut.mp4": good.read_bytes()[:1000],
    "empty.mp4": b"",
    "text.avi": b"no video",
    "list.mp4": b"ffconcat version 1.0\nfile good.mp4\n",
    "play.mp4": b"#EXTM3U\n#EXTINF:9,\ngood.mp4\n#EXT-X-ENDLIST\n",
  }
  for name, data in cases.items():
    (tmp_path / name).write_bytes(data)
  write_clip(tmp_path / "none.avi", [], code="MJPG")
  for name in (*cases, "none.avi", "missing.mp4"):
    with pytest.raises(Unreadable, match=f"{name} cannot be read: "):
      list(video.frames(tmp_path / name))


def test_a_clip_that_ends_early_is_told_of(tmp_path, caplog):
  """Its frames count, and a warning names it."""
  path = write_clip(tmp_path / "long.avi", LEVELS * 20, code="MJPG")
  data = path.read_bytes()
  path.write_bytes(data[: len(data) // 2])
  n = len(list(video.frames(path)))
  assert 0 < n < 60
  (record,) = caplog.records
  assert f"long.avi ends after {n} of 100 frames" in record.getMessage()


def test_frames_are_loaded_as_images_are(tmp_path):
  """Those asked for, in batches, cropped and scaled for the network."""
  path = write_clip(tmp_path / "clip.mp4", LEVELS * 2)
  parts = list(
    video.read_clip(path, geometry.Frame(8, 10), numbers={1, 4, 8}, size=2)
  )
  assert [batch.index.tolist() for batch, _ in parts] == [[1, 4], [8]]
  for batch, _ in parts:
    assert batch.images.shape[1:] == (10, 10, 3)
    np.testing.assert_array_equal(batch.sizes, [[64, 48]] * len(batch.index))
  np.testing.assert_allclose(parts[1][0].images.mean(), LEVELS[3], atol=4)
  assert parts[1][1] == pytest.approx([0.32])
