"""A trained model as a function of images."""

import os
from typing import NamedTuple

import jax
import numpy as np
from PIL import Image

from c3_jax import geometry, runs
from c3_jax.data import find, image_files
from c3_jax.errors import UserError
from c3_jax.evaluation.detect import landmark_function
from c3_jax.inference.estimator import PointEstimator
from c3_jax.runtime import parallel, paths


class Landmarks(NamedTuple):
  """The landmarks of one image, in its own pixels.

  Attributes:
    name: of the file, relative to the folder asked for; of an image in memory,
      its place in the list.
    points: float64 [k, 2], (x, y), 0 = centre of the first pixel of the image
      as stored.
    confidence: float32 [k] in [0, 1]; see `detect.confidence`.
    annotated: float64 [P, 2], estimates of the annotated points, in the same
      pixels; None without a regression.
  """

  name: str
  points: np.ndarray
  confidence: np.ndarray
  annotated: np.ndarray | None = None


def load(workdir, step=None, *, regressor="", batch_size=32) -> "Predictor":
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
  """

  def __init__(self, trained, *, estimator=None, batch_size=32):
    """Prepares the network of a `runs.Trained`, compiled at its first use.

    `estimator` is a `PointEstimator` or None; batch_size is rounded up to a
    multiple of the local devices.
    """
    devices = jax.local_device_count()
    self.k, self.step = trained.config.model.k, trained.step
    self.n_annotated = estimator.count if estimator else 0
    self.batch_size = -(-batch_size // devices) * devices
    self.frame = geometry.Frame.of(trained.config)
    self._estimator = estimator
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

    Yields:
      (list of `Landmarks`, dict i -> `image_files.Unreadable` of files that
      cannot be read).
    """
    every, size = np.arange(len(files)), self.batch_size
    indices = (every[i : i + size] for i in range(0, len(files), size))
    for batch in image_files.read_batches(files, self.frame, indices):
      found = self._find(names, batch) if batch.good.any() else []
      yield found, {int(batch.index[i]): e for i, e in batch.errors.items()}

  def _find(self, names, batch):
    """Finds the landmarks of the readable images of an `image_files.Batch`."""
    n = len(batch.index)
    # One shape for all batches: the network is compiled once.
    images = np.zeros((self.batch_size, *batch.images.shape[1:]), np.uint8)
    images[:n] = batch.images
    out = self._function(self._variables, {"image": images})
    points, confidence = (x[:n] for x in out)
    annotated = [None] * n
    if self._estimator:
      coords = self._estimator(points)
      annotated = self.frame.coords_to_file(coords, batch.sizes)
    pixels = self.frame.coords_to_file(points, batch.sizes)
    return [
      Landmarks(names[batch.index[i]], pixels[i], confidence[i], annotated[i])
      for i in np.flatnonzero(batch.good)
    ]


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
