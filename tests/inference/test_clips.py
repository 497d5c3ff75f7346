"""Clips, COCO files and the mirror check of predict, on an untrained run."""

import csv
import json
import logging
import shutil

import cv2
import numpy as np
import pytest
from PIL import Image

import c3_jax
from c3_jax.data import coco, image_files, video
from c3_jax.errors import UserError
from c3_jax.evaluation import mirror
from c3_jax.inference import write_landmarks

SIZE = (48, 40)
FRAMES = 24


def _draw(seed):
  rng = np.random.default_rng(seed)
  low = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8))
  return low.resize(SIZE, Image.BICUBIC)


@pytest.fixture(scope="module")
def work(tmp_path_factory, save_run):
  """A folder with a run in `run`, and two images and two clips in `pics`."""
  tmp = tmp_path_factory.mktemp("clips")
  save_run(tmp / "run", {4: 20.0})
  pics = tmp / "pics"
  pics.mkdir()
  for name in ("a.png", "z.png"):
    _draw(ord(name[0])).save(pics / name)
  fourcc = cv2.VideoWriter_fourcc(*"mp4v")
  writer = cv2.VideoWriter(
    str(pics / "m.mp4"), cv2.CAP_FFMPEG, fourcc, 10.0, SIZE
  )
  for i in range(FRAMES):
    writer.write(np.asarray(_draw(i))[..., ::-1].copy())
  writer.release()
  pages = [_draw(i) for i in range(3)]
  pages[0].save(pics / "p.tif", save_all=True, append_images=pages[1:])
  return tmp


def _rows(path):
  with open(path, newline="") as file:
    return list(csv.DictReader(file))


def test_every_frame_has_a_row(work, tmp_path):
  """In order among images, with its number and time, as if it were an image."""
  out = tmp_path / "out.csv"
  assert write_landmarks(work / "run", str(work / "pics"), out) == (4, [])
  rows = _rows(out)
  assert [row["file"] for row in rows] == (
    ["a.png", *["m.mp4"] * FRAMES, *["p.tif"] * 3, "z.png"]
  )
  assert list(rows[0])[-3:] == ["c10", "frame", "time"]
  times = [(row["frame"], row["time"]) for row in rows]
  assert times[0] == times[-1] == ("", "")
  assert times[1:-1] == (
    [(str(i), f"{i / 10:.4f}") for i in range(FRAMES)]
    + [(str(i), "") for i in range(3)]
  )
  model = c3_jax.load(work / "run")
  images = [frame.image for frame in video.frames(work / "pics" / "m.mp4")]
  for row, found in zip(rows[1:], model.predict(images)):
    xy = [float(row[f"{axis}{i}"]) for i in range(1, 11) for axis in "xy"]
    np.testing.assert_allclose(xy, found.points.ravel(), atol=1e-3)
  found = model.predict(work / "pics" / "m.mp4")
  assert [each.frame for each in found] == list(range(FRAMES))
  assert {(each.name, *each.size.tolist()) for each in found} == {
    ("m.mp4", *SIZE)
  }


@pytest.mark.slow
def test_coco_has_the_numbers_of_the_csv(work, tmp_path):
  """The same points, names that say the frame, sizes, and nothing else."""
  for name in ("out.csv", "out.json"):
    write_landmarks(work / "run", str(work / "pics"), tmp_path / name)
  rows, found = _rows(tmp_path / "out.csv"), coco.read(tmp_path / "out.json")
  for row, each in zip(rows, found, strict=True):
    frame = f"#{row['frame']}" if row["frame"] else ""
    assert (each.file, each.size) == (row["file"] + frame, SIZE)
    xy = [float(row[f"{axis}{i}"]) for i in range(1, 11) for axis in "xy"]
    np.testing.assert_allclose(each.points.ravel(), xy, atol=1e-3)
  content = json.loads((tmp_path / "out.json").read_text())
  (category,) = content["categories"]
  assert category["keypoints"] == [f"l{i}" for i in range(1, 11)]
  for row, each in zip(rows, content["annotations"], strict=True):
    confidence = [float(row[f"c{i}"]) for i in range(1, 11)]
    seen = [2 if c >= coco.SEEN else 1 for c in confidence]
    assert each["keypoints"][2::3] == seen
  # Written again over itself, never over a file of somebody else.
  write_landmarks(work / "run", str(work / "pics"), tmp_path / "out.json")
  (tmp_path / "mine.json").write_text(json.dumps({"images": []}))
  with pytest.raises(UserError, match="mine.json exists"):
    write_landmarks(work / "run", str(work / "pics"), tmp_path / "mine.json")


def test_smoothing_changes_clips_alone(work, tmp_path):
  """The first frame stays, later ones move less; images stay."""
  rows = []
  for smooth in ("none", "one-euro"):
    out = tmp_path / f"{smooth}.csv"
    write_landmarks(work / "run", str(work / "pics"), out, smooth=smooth)
    rows.append(
      np.array([[float(r[f"x{i}"]) for i in range(1, 11)] for r in _rows(out)])
    )
  before, after = rows
  for i in (0, 1, 1 + FRAMES, -1):
    np.testing.assert_array_equal(before[i], after[i])
  steps = [np.abs(np.diff(x[1 : 1 + FRAMES], axis=0)).mean() for x in rows]
  assert steps[1] < 0.8 * steps[0]
  with pytest.raises(UserError, match="--smooth=kalman"):
    write_landmarks(
      work / "run", str(work / "pics"), tmp_path / "x.csv", smooth="kalman"
    )


@pytest.mark.slow
def test_swaps_are_those_of_the_mirrored_image(work, tmp_path, caplog):
  """Partners are found on the images, or taken from the run's evaluation."""
  out, pics = tmp_path / "out.csv", work / "pics" / "m.mp4"
  options = {"mirror_check": True}
  with caplog.at_level(logging.INFO, "c3_jax"):
    write_landmarks(work / "run", str(pics), out, **options)
  swaps = [int(row["swap"]) for row in _rows(out)]
  model = c3_jax.load(work / "run")
  images = [frame.image for frame in video.frames(pics)]
  there, back = (
    np.stack([found.points / SIZE for found in model.predict(given)])
    for given in (images, [image[:, ::-1] for image in images])
  )
  pixel = 1 / np.array(SIZE)
  back = (1 - pixel - back) * [1, 0] + back * [0, 1]
  partner, _ = mirror.partners(there, back)
  assert f"partners: {mirror.line(partner + 1)}." in caplog.text
  shape = np.array(SIZE)
  want = mirror.swapped(there * shape, back * shape, partner).sum(1) // 2
  assert swaps == want.tolist()

  with pytest.raises(UserError, match="2 images .* evaluate the run"):
    few = str(work / "pics" / "*.png")
    write_landmarks(work / "run", few, out, **options)
  shutil.copytree(work / "run", tmp_path / "run")
  (tmp_path / "run" / "eval").mkdir()
  report = {"step": 4, "mirror": {"partner": [*range(10, 0, -1)]}}
  (tmp_path / "run" / "eval" / "x.json").write_text(json.dumps(report))
  with caplog.at_level(logging.INFO, "c3_jax"):
    write_landmarks(tmp_path / "run", few, out, **options)
  assert "partners: 1-10 2-9 3-8 4-7 5-6." in caplog.text


@pytest.mark.slow
def test_overlays_of_a_clip_are_a_clip(work, tmp_path):
  """As many frames, enlarged as images are; drawn again over itself."""
  pics, folder = str(work / "pics" / "[mp]*"), tmp_path / "over"
  for _ in range(2):
    write_landmarks(work / "run", pics, tmp_path / "o.csv", overlay=str(folder))
  drawn = {path.name: path for path in folder.iterdir()}
  assert set(drawn) == {"m.mp4.mp4", "p.tif.mp4"}
  frames = list(video.frames(drawn["m.mp4.mp4"]))
  assert len(frames) == FRAMES
  assert frames[0].image.shape == (280, 336, 3)
  assert len(list(video.frames(drawn["p.tif.mp4"]))) == 3


def test_broken_clips_are_left_out(work, tmp_path, caplog):
  """Named with the reason; alone, a broken clip is an error, no file."""
  pics, out = tmp_path / "pics", tmp_path / "out.csv"
  shutil.copytree(work / "pics", pics)
  (pics / "bad.mp4").write_bytes(b"no video")
  done, failed = write_landmarks(work / "run", str(pics), out)
  assert (done, failed) == (4, ["bad.mp4"])
  assert "bad.mp4 cannot be read: it is no video" in caplog.text
  out.unlink()
  with pytest.raises(UserError, match="none of the 1 files"):
    write_landmarks(work / "run", str(pics / "bad.mp4"), out)
  assert not out.exists()
  model = c3_jax.load(work / "run")
  with pytest.raises(image_files.Unreadable, match="bad.mp4"):
    model.predict(pics / "bad.mp4")
