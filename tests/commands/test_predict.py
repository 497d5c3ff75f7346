"""Landmarks of new images: files in, pixels of each file out."""

import csv
import json
import logging
import os
import subprocess
import sys

import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from PIL import Image

from c3_jax import geometry, runs
from c3_jax.data import frame_of, image_files, streaming
from c3_jax.errors import UserError
from c3_jax.evaluation import landmark_function, regression
from c3_jax.figures.canvas import landmark_colours
from c3_jax.inference import write_landmarks
from c3_jax.models.extractors import Pose
from tests.conftest import ROOT

# What `python -m c3_jax.predict` does, several times, without TensorFlow.
PROGRAM = """
import json, sys
sys.modules["tensorflow"] = None
from absl import flags
from c3_jax import predict
from c3_jax.runtime import cli
predict.define_flags()
for arguments in json.load(sys.stdin):
  flags.FLAGS.unparse_flags()
  argv = cli.parse(["predict", *arguments])
  print(json.dumps(cli.run(predict.program, argv) or 0), flush=True)
"""


def read_csv(path):
  """(header, {file: [numbers]}) of a csv file."""
  with open(path, encoding="utf-8", errors="surrogateescape") as file:
    header, *rows = csv.reader(file)
  return header, {row[0]: np.array(row[1:], float) for row in rows}


def photograph(path, width, height, seed):
  """Writes an image of smooth colours."""
  rng = np.random.default_rng(seed)
  low = rng.integers(0, 256, (5, 5, 3), np.uint8)
  image = Image.fromarray(low).resize((width, height), Image.BICUBIC)
  path.parent.mkdir(parents=True, exist_ok=True)
  image.save(path)


SIZES = {
  "a.jpg": (40, 40),
  "a.png": (61, 45),
  "deep/b.jpg": (30, 77),
  "deep/er/c d.png": (300, 200),
  "e.jpg": (16, 16),
  "f.webp": (50, 44),
  "g.bmp": (64, 31),
  "h, \udcff.jpg": (33, 33),
}
BROKEN = ("broken.jpg", "deep/text.png")


@pytest.fixture(scope="module")
def work(tmp_path_factory, save_run):
  """A folder with a run in `run`, and images in `pics`."""
  tmp = tmp_path_factory.mktemp("predict")
  save_run(tmp / "run", {4: 30.0, 8: 20.0, 12: 40.0})
  for i, (name, size) in enumerate(SIZES.items()):
    photograph(tmp / "pics" / name, *size, i)
  (tmp / "pics" / BROKEN[0]).write_bytes(
    (tmp / "pics" / "a.jpg").read_bytes()[:300]
  )
  (tmp / "pics" / BROKEN[1]).write_text("no image")
  return tmp


class Dots:
  """Stands for `C3`: its landmarks are the centres of red and of green."""

  def apply(self, variables, images, method):
    return method(self, images)

  def features(self, images):
    return None, images

  def pose(self, images):
    weight = images[..., :2] / images[..., :2].sum((1, 2), keepdims=True)
    cells = geometry.grid(*images.shape[1:3])
    points = jnp.einsum("nyxk,yxd->nkd", weight, cells)
    return Pose(points, images, weight)


@pytest.mark.parametrize("crop", ["square", "imm", "dve"])
def test_dots_are_found_in_pixels_of_their_file(tmp_path, monkeypatch, crop):
  """Centres of discs drawn into files come back, whatever size and crop."""
  (tmp_path / "pics").mkdir()
  rng, want = np.random.default_rng(0), {}
  for i, (width, height) in enumerate([(178, 218), (200, 260), (90, 96)]):
    short = min(width, height)
    centre = np.array([[width, height]]) / 2
    dots = centre + rng.uniform(-0.15, 0.15, (2, 2)) * short
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1)
    image = np.zeros((height, width, 3), np.uint8)
    for channel, dot in enumerate(dots):
      square = ((grid - dot) ** 2).sum(-1)
      image[..., channel] = np.rint(255 * np.exp(-square / (short / 12) ** 2))
    Image.fromarray(image).save(tmp_path / "pics" / f"{i}.png")
    want[f"{i}.png"] = dots
  config = ml_collections.ConfigDict(
    {
      "data": {
        "name": "x",
        "image_size": 48,
        "load_size": 60,
        "crop": crop,
        "protocol": "custom",
      },
      "model": {"k": 2},
    }
  )
  trained = runs.Trained(config, Dots(), {}, 1)
  monkeypatch.setattr(runs, "load_trained", lambda workdir, step: trained)
  out = tmp_path / "out.csv"
  assert write_landmarks("run", str(tmp_path / "pics"), out) == (3, [])
  for name, row in read_csv(out)[1].items():
    # A tenth of a pixel of the frame.
    np.testing.assert_allclose(row[:4].reshape(2, 2), want[name], atol=0.4)


@pytest.mark.slow
def test_one_by_one_in_batches_and_by_the_pipeline(work, tmp_path):
  """Coordinates agree to 0.01 px of the file for every way to run."""
  pics, rows = work / "pics", []
  for batch_size in (1, 64):
    out = tmp_path / f"{batch_size}.csv"
    done, failed = write_landmarks(
      work / "run", str(pics), out, batch_size=batch_size
    )
    assert (done, sorted(failed)) == (len(SIZES), sorted(BROKEN))
    header, found = read_csv(out)
    assert list(found) == sorted(SIZES)
    rows.append(found)
  columns = [f"{axis}{i}" for i in range(1, 11) for axis in "xy"]
  assert header == ["file", *columns, *(f"c{i}" for i in range(1, 11))]
  out = tmp_path / "one.csv"
  write_landmarks(work / "run", str(pics / "deep/b.jpg"), out)
  rows.append(rows[0] | {"deep/b.jpg": read_csv(out)[1]["b.jpg"]})
  for name in SIZES:
    for found in rows[1:]:
      np.testing.assert_allclose(found[name], rows[0][name], atol=0.01)
    assert ((rows[0][name][20:] >= 0) & (rows[0][name][20:] <= 1)).all()

  trained = runs.load_trained(work / "run")
  data = trained.config.data
  names = [name for name in SIZES if name.endswith(("jpg", "png"))]
  paths = [str(pics / name) for name in names]
  frame = frame_of(trained.config)
  trained_on = streaming.StreamingDataset(paths, frame, tf_data=True)
  (batch,) = trained_on.eval_batches(4 * len(paths))
  points = landmark_function(trained.model, data.image_size)(
    trained.variables, {"image": batch["image"]}
  )
  spread = []
  for name, xy in zip(names, points[: len(names)], strict=True):
    pixels = frame.coords_to_file(xy, SIZES[name])
    got = rows[0][name][:20].reshape(10, 2)
    # The images are the same; the csv has three digits.
    np.testing.assert_allclose(got, pixels, atol=0.01)
    spread.append(np.ptp(got, 0))
  assert np.max(spread) > 1  # Not all in one place.


def test_estimates_are_those_of_the_regression(work, tmp_path):
  """px, py are the regressor's points, in pixels of the file."""
  rng = np.random.default_rng(0)
  fitted = regression.Regressor(rng.normal(0, 0.1, (20, 6)), np.full(6, 8.0))
  report = {
    "image_size": 16,
    "step": 8,
    "regressor": {"intercept": fitted.as_json()},
  }
  (work / "run" / "eval").mkdir(exist_ok=True)
  path = work / "run" / "eval" / "faces.json"
  path.write_text(json.dumps(report))
  out, name = tmp_path / "out.csv", "deep/er/c d.png"
  arguments = (work / "run", str(work / "pics" / name), out)
  write_landmarks(*arguments, regressor="eval/faces.json")
  header, rows = read_csv(out)
  assert header[31:] == ["px1", "py1", "px2", "py2", "px3", "py3"]
  (row,) = rows.values()
  # 300 x 200: of the central 200 the frame is 16 / 20, so 160 pixels.
  corner = np.array([300 - 160, 200 - 160]) / 2 - 0.5
  inside = (row[:20].reshape(10, 2) - corner) / 160 * 16
  want = (inside.reshape(-1) @ fitted.weights + 8).reshape(3, 2)
  np.testing.assert_allclose(
    row[30:].reshape(3, 2), want / 16 * 160 + corner, atol=0.01
  )
  for key, value, match in (
    ("step", 12, "landmarks of step 12, not 8"),
    ("image_size", 32, "landmarks of image_size 32, not 16"),
    ("regressor", {}, "has no regression"),
  ):
    path.write_text(json.dumps(report | {key: value}))
    with pytest.raises(UserError, match=match):
      write_landmarks(*arguments, regressor=str(path))
  with pytest.raises(UserError, match="none.json has no regression"):
    write_landmarks(*arguments, regressor="none.json")


def test_overlays_are_one_image_a_file_and_nothing_else(work, tmp_path):
  """Names that differ in their suffix alone do not meet; dots lie right."""
  folder = tmp_path / "over" / "lay"
  out = tmp_path / "out.csv"
  write_landmarks(work / "run", str(work / "pics"), out, overlay=str(folder))
  found = [p.relative_to(folder).as_posix() for p in folder.rglob("*.*")]
  assert sorted(found) == sorted(f"{name}.png" for name in SIZES)
  _, rows = read_csv(out)
  for name, size in SIZES.items():
    drawn = image_files.decode(folder / f"{name}.png")
    assert 320 <= max(drawn.shape) <= 1280
    scale = drawn.shape[1] / size[0]
    # The last dot is drawn over all others.
    x, y = (rows[name][18:20] + 0.5) * scale - 0.5
    colour = drawn[round(y), round(x)]
    want = 255 * landmark_colours(10)[9]
    np.testing.assert_allclose(colour, want, atol=1)


def test_an_output_is_replaced_and_annotations_are_not(work, tmp_path):
  """The same command twice; another's csv, an image and a run's file stay."""
  pics, out = work / "pics", tmp_path / "out.csv"
  image = str(pics / "a.png")
  first = write_landmarks(work / "run", image, out)
  assert write_landmarks(work / "run", image, out) == first
  text = "file,x1,y1,x2,y2,split\na.png,1,2,3,4,train\n"
  (tmp_path / "landmarks.csv").write_text(text)
  for path, options in (
    (tmp_path / "landmarks.csv", {}),
    (pics / "a.png", {"overwrite": True}),
    (work / "run" / "config.json", {"overwrite": True}),
  ):
    before = path.read_bytes()
    with pytest.raises(UserError, match=f"--out={path} "):
      write_landmarks(work / "run", image, path, **options)
    assert path.read_bytes() == before
  path = tmp_path / "landmarks.csv"
  write_landmarks(work / "run", image, path, overwrite=True)
  assert path.read_bytes() == out.read_bytes()


def test_an_overlay_that_fails_does_not_cost_the_csv(work, tmp_path, caplog):
  """A name too long, another's file in its place, a link out of the folder."""
  source = work / "pics" / "a.png"
  pics, folder = tmp_path / "pics", tmp_path / "over"
  names = ["n" * 250 + ".png", "out/a.png", "taken.png", "good.png"]
  for name in names:
    (pics / name).parent.mkdir(parents=True, exist_ok=True)
    (pics / name).write_bytes(source.read_bytes())
  folder.mkdir()
  (tmp_path / "elsewhere").mkdir()
  (folder / "out").symlink_to(tmp_path / "elsewhere")
  (folder / "taken.png.png").write_text("another's")
  out = tmp_path / "out.csv"
  for _ in range(2):  # Its own overlays are replaced.
    caplog.clear()
    write_landmarks(work / "run", str(pics), out, overlay=str(folder))
    assert sorted(read_csv(out)[1]) == sorted(names)
    told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert len([line for line in told if "No overlay of" in line]) == 3
  assert (folder / "taken.png.png").read_text() == "another's"
  assert not list((tmp_path / "elsewhere").iterdir())
  assert image_files.size_of(folder / "good.png.png")[0] >= 320


def test_warnings_name_the_broken_files(work, tmp_path, caplog):
  """Each is named once, with the reason; nothing else is warned of."""
  with caplog.at_level(logging.INFO, "c3_jax"):
    write_landmarks(work / "run", str(work / "pics"), tmp_path / "out.csv")
  warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
  assert len(warned) == len(BROKEN)
  for name, message in zip(sorted(BROKEN), warned, strict=True):
    assert f"{name} cannot be read: " in message


def test_mistakes_leave_nothing(work, tmp_path):
  """Wrong arguments are named before anything is written."""
  run, pics, out = work / "run", str(work / "pics"), tmp_path / "out.csv"
  for arguments, options, match in (
    ((tmp_path / "none", pics, out), {}, "none/config.json does not exist"),
    ((run, str(tmp_path / "none"), out), {}, "--images=.*none matches no file"),
    (
      (run, pics, tmp_path / "no" / "out.csv"),
      {},
      "--out=.* cannot be written",
    ),
    ((run, pics, tmp_path), {}, "--out=.* cannot be written"),
    ((run, pics, out), {"batch_size": 0}, "--batch_size=0"),
    ((run, pics, out), {"step": 5}, "no checkpoint of step 5"),
    ((run, pics, out), {"overlay": pics}, "--overlay=.* is the folder"),
  ):
    with pytest.raises(UserError, match=match):
      write_landmarks(*arguments, **options)
  assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_command_line_without_tensorflow(work, tmp_path):
  """Exit code 0 with a count of warnings; 2 and no file if all failed."""
  broken = str(work / "pics" / BROKEN[0])
  outs = [tmp_path / f"{i}.csv" for i in range(3)]
  flags = [f"--workdir={work / 'run'}", "--batch_size=8"]
  cases = [
    [*flags, f"--images={work / 'pics'}", f"--out={outs[0]}"],
    [*flags, f"--images={broken}", f"--out={outs[1]}"],
    [*flags, f"--images={broken}", f"--out={outs[2]}", "more"],
  ]
  done = subprocess.run(
    [sys.executable, "-c", PROGRAM],
    input=json.dumps(cases),
    cwd=ROOT,
    env=os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    capture_output=True,
    text=True,
  )
  assert done.stdout.split() == ["0", "2", "2"], done.stderr
  assert f"Wrote {outs[0]}: 8 images, 2 warning(s)." in done.stderr
  assert "none of the 1 files" in done.stderr
  assert "unknown argument 'more'" in done.stderr
  assert "Traceback" not in done.stderr
  assert [path.name for path in tmp_path.iterdir()] == ["0.csv"]
