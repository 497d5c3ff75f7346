"""A trained model as a function of images."""

import os
import pathlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from c3_jax import runs
from c3_jax.data import find, frame_of, video
from c3_jax.errors import UserError
from c3_jax.evaluation import mirror
from c3_jax.evaluation.detect import landmark_function
from c3_jax.inference.estimator import PointEstimator
from c3_jax.runtime import json_files, parallel, paths

_MIRROR = {"step": int, "mirror": {"partner": [int]}}


class Landmarks(NamedTuple):
  """The landmarks of one image, or frame of a clip, in its own pixels.

  Attributes:
    name: of the file, relative to the folder asked for; of an image in memory,
      its place in the list.
    points: float64 [k, 2], (x, y), 0 = centre of the first pixel of the image
      as stored.
    confidence: float32 [k] in [0, 1]; see `detect.confidence`.
    annotated: float64 [P, 2], estimates of the annotated points, in the same
      pixels; None without a regression.
    size: int [2], (width, height) of the image.
    frame: of a clip, from 0 on; None of an image.
    seconds: of that frame since the start of its clip, or None.
    swapped: bool [k], landmarks that seem to have changed sides with their
      mirror partner; None where that was not checked.
  """

  name: str
  points: np.ndarray
  confidence: np.ndarray
  annotated: np.ndarray | None = None
  size: np.ndarray | None = None
  frame: int | None = None
  seconds: float | None = None
  swapped: np.ndarray | None = None


def load(
  workdir: str | os.PathLike,
  step: int | None = None,
  *,
  regressor: str | os.PathLike = "",
  batch_size: int = 32,
) -> "Predictor":
  """Reads a trained model, and nothing else, from the folder of its run.

  Args:
    workdir: folder of the run.
    step: of the checkpoint; None is the best.
    regressor: an eval/DATASET.json, to estimate its annotated points, or "".
    batch_size: images that the network sees at once.

  Raises:
    UserError: there is no such run, checkpoint or regression.
  """
  workdir = paths.local(workdir, "workdir")
  trained = runs.load_trained(workdir, step)
  estimator = None
  if regressor:
    estimator = PointEstimator(regressor, workdir, trained)
  return Predictor(trained, estimator=estimator, batch_size=batch_size)


class Predictor:
  """Finds landmarks in images of any size.

  Attributes:
    k: number of landmarks.
    n_annotated: number of annotated points that are estimated, too.
    step: of the checkpoint.
    batch_size: images that the network sees at once.
    frame: `geometry.Frame`, the part of an image that it sees.
    partner: int [k], the mirror partner of each landmark, if swaps are looked
      for; see `check_mirror`.
  """

  def __init__(self, trained, *, estimator=None, batch_size=32):
    """Prepares the network of a `runs.Trained`, compiled at its first use.

    `estimator` is a `PointEstimator` or None; batch_size is rounded up to a
    multiple of the local devices.
    """
    self.k, self.step = trained.config.model.k, trained.step
    self.n_annotated = estimator.count if estimator else 0
    self.batch_size = parallel.whole_batch(batch_size)
    self.frame = frame_of(trained.config)
    self.partner, self._estimator = None, estimator
    self._function = landmark_function(
      trained.model, self.frame.image_size, certainty=True
    )
    self._variables = parallel.replicate(trained.variables)

  def predict(self, images):
    """Finds the landmarks of images: a list of `Landmarks`, in order.

    Args:
      images: a folder, a pattern or a file, as --images of c3_jax.predict; or
        a list of file names, PIL images and arrays, uint8 [h, w, 3]. Grey,
        RGBA and 16-bit images are handled as files of that mode are. One PIL
        image or array is a list of one.

    Raises:
      UserError: names an image that cannot be read.
    """
    names, files = _named(images)
    result = []
    for found, errors in self.batches(names, files):
      for i, error in errors.items():
        if isinstance(files[i], str | os.PathLike):
          raise error
        raise UserError(f"images[{i}]: {error}") from error
      result += found
    return result

  def batches(self, names, files):
    """Finds landmarks batch by batch, holding no more than a few images.

    `files` are names of files, or images as `image_files.decode` takes them.
    A clip gives the landmarks of each of its frames.

    Yields:
      (list of `Landmarks`, dict i -> `image_files.Unreadable` of files that
      cannot be read).
    """
    for batch, frames in video.read_all(files, self.frame, self.batch_size):
      found = []
      if batch.good.any():
        found = self._find([names[i] for i in batch.index], batch)
      if frames:
        found = [
          each._replace(frame=number, seconds=seconds)
          for each, (number, seconds) in zip(found, frames, strict=True)
        ]
      yield found, {int(batch.index[i]): e for i, e in batch.errors.items()}

  def _find(self, names, batch):
    """Finds the landmarks of the readable images of an `image_files.Batch`.

    `names` are those of its rows.
    """
    points, confidence = self._network(batch.images)
    annotated = swapped = [None] * len(names)
    if self._estimator:
      coords = self._estimator(points)
      annotated = self.frame.coords_to_file(coords, batch.sizes)
    if self.partner is not None:
      mirrored = self._mirrored(batch.images)
      swapped = mirror.swapped(points, mirrored, self.partner)
    pixels = self.frame.coords_to_file(points, batch.sizes)
    return [
      Landmarks(
        names[i],
        pixels[i],
        confidence[i],
        annotated[i],
        batch.sizes[i],
        swapped=swapped[i],
      )
      for i in np.flatnonzero(batch.good)
    ]

  def _network(self, images):
    """Gives (points, confidence) of at most batch_size loaded images."""
    # One shape for all batches: the network is compiled once.
    whole = np.zeros((self.batch_size, *images.shape[1:]), np.uint8)
    whole[: len(images)] = images
    out = self._function(self._variables, {"image": whole})
    return tuple(x[: len(images)] for x in out)

  def _mirrored(self, images):
    """Gives the points of the mirror images of loaded images, mapped back."""
    return mirror.back(self._network(images[:, :, ::-1])[0])

  def check_mirror(self, workdir, files):
    """Looks for swaps from now on; finds the partners that this needs.

    Those of the run's evaluation are taken, else they are found on the first
    of the files.

    Args:
      workdir: folder of the run.
      files: as of `batches`.

    Raises:
      UserError: the run was not evaluated, and the images are too few.
    """
    for path in sorted(pathlib.Path(workdir).glob("eval/*.json")):
      try:
        report = json_files.read(path, _MIRROR, wrong="", remedy="")
      except UserError:
        continue  # Of another version, or of pairs.
      partner = np.array(report["mirror"]["partner"]) - 1
      if report["step"] == self.step and len(partner) == self.k:
        self.partner = partner
        return
    self.partner = self._partners(files)

  def _partners(self, files):
    """Finds the mirror partner of each landmark on the first of the files."""
    points, mirrored, n = [], [], 0
    for batch, _ in video.read_all(files, self.frame, self.batch_size):
      images = batch.images[batch.good]
      if len(images):
        points.append(self._network(images)[0])
        mirrored.append(self._mirrored(images))
      n += len(images)
      if n >= mirror.IMAGES:
        break
    if n < mirror.FEWEST:
      raise UserError(
        f"--mirror_check has {n} images to find mirror partners on, fewer than "
        f"{mirror.FEWEST}: evaluate the run (--mode=eval), or give more images."
      )
    found = mirror.partners(np.concatenate(points), np.concatenate(mirrored))
    return found[0]


def _named(images):
  """Lists (names, files) of what `Predictor.predict` was given."""
  if isinstance(images, str | os.PathLike):
    root, names = find.find(paths.local(images, "images"))
    return names, [os.path.join(root, name) for name in names]
  # The rows of one image are no images.
  if isinstance(images, Image.Image) or (
    isinstance(images, np.ndarray) and images.ndim < 4
  ):
    images = [images]
  images = list(images)
  return [
    os.fspath(image) if isinstance(image, str | os.PathLike) else str(i)
    for i, image in enumerate(images)
  ], images
