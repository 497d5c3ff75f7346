"""What is no regular file is refused by every reader, and not waited for."""

import os
import pathlib
import signal

import pytest

from c3_jax import geometry
from c3_jax.data import coco, image_files, prepare, video
from c3_jax.data.datasets import aflw, celeba, folder, load_packed, lsun
from c3_jax.errors import UserError
from c3_jax.inference.estimator import PointEstimator
from c3_jax.models import weight_files
from c3_jax.runs import load_config, log

FRAME = geometry.Frame(16, 16)
# Name of the file in its folder -> what reads it, a function of the folder.
READERS = {
  "a.jpg": lambda root: image_files.load(root / "a.jpg", FRAME),
  "a.mp4": lambda root: list(video.frames(root / "a.mp4")),
  "a.gif": lambda root: list(video.frames(root / "a.gif")),
  "landmarks.csv": lambda root: folder.read_landmarks(root / "landmarks.csv"),
  "points.json": lambda root: coco.read(root / "points.json"),
  "train.npz": lambda root: load_packed(root / "train.npz", FRAME),
  "list_eval_partition.txt": celeba.read_partition,
  "aflw_test_keypoints.mat": lambda root: aflw.read_split(
    root, split="test", release="lmdis"
  ),
  "training.txt": lambda root: prepare._checksum(root / "training.txt"),
  "data.mdb": lsun.Lmdb,
  "config.json": load_config,
  "faces.json": lambda root: PointEstimator("faces.json", root, None),
  "metrics.jsonl": lambda root: log.read_metrics(root / "metrics.jsonl"),
  "vgg16.safetensors": lambda root: weight_files.load(
    root, "vgg16", key="weights.vgg"
  ),
}


def make_pipe(path):
  """A pipe that nobody writes to."""
  os.mkfifo(path)


def link_device(path):
  """A link to a device that never ends."""
  path.symlink_to("/dev/zero")


@pytest.fixture
def watchdog():
  """Ends a test that waits for longer than ten seconds."""

  def end(number, frame):
    raise AssertionError("it was waited for")

  before = signal.signal(signal.SIGALRM, end)
  signal.setitimer(signal.ITIMER_REAL, 10)
  yield
  signal.setitimer(signal.ITIMER_REAL, 0)
  signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("watchdog")
@pytest.mark.parametrize("make", [make_pipe, link_device])
@pytest.mark.parametrize("name", READERS)
def test_pipes_and_devices_are_refused(tmp_path, name, make):
  """Each reader says so in one line."""
  (tmp_path / "aflw_test_images.txt").write_text("0.jpg\n")
  make(tmp_path / name)
  with pytest.raises((UserError, OSError)) as error:
    READERS[name](pathlib.Path(tmp_path))
  assert name in str(error.value)
  assert "\n" not in str(error.value)
