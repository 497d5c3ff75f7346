"""Images -> network -> landmarks, for whole datasets and for new images."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from c3_jax import geometry
from c3_jax.geometry import warp
from c3_jax.models.c3 import C3
from c3_jax.runtime import parallel


def landmark_function(
  model: C3, image_size: int, *, certainty: bool = False
) -> Callable:
  """Makes the pmapped detector of a `C3`: (variables, batch) -> landmarks.

  They are [n, k, 2] in [-1, 1] of the frame, whose side is image_size; with
  certainty, their `confidence` [n, k] is given, too. The batch has image, uint8
  [n, s, s, 3], and may have warp, float32 [n, 2, 3]: pull maps under which the
  images are seen.
  """

  def run(variables, batch):
    images = batch["image"]
    if "warp" in batch:
      images = geometry.network_input(images, images.shape[1])
      images = warped(images, batch["warp"], image_size)
    else:
      images = geometry.network_input(images, image_size)
    pose = model.apply(variables, images, method=C3.detect)
    if certainty:
      return pose.points, confidence(pose.points, pose.probability)
    return pose.points

  return parallel.pmap_eval(run)


def warped(images, matrices, size):
  """Samples frames [n, size, size, c] of loaded images under pull maps."""
  grid = geometry.grid(size, size)
  coords = jax.vmap(lambda matrix: warp.affine(matrix, grid))(matrices)
  sample = functools.partial(warp.sample, extent=images.shape[1] / size)
  return jax.vmap(sample)(images, coords)


def confidence(points, probability):
  """Measures how concentrated the softmax map of each landmark is: [n, k].

  One minus the root mean square distance of the map's probability from the
  landmark, in units of that of a flat map. A map with all of it in one cell
  has 1, a flat one 0, and so has one with peaks in opposite corners.

  Args:
    points: [n, k, 2], (x, y) in [-1, 1], the expectations of the maps.
    probability: [n, h, w, k], which sums to 1 over each map.
  """
  cells = geometry.grid(*probability.shape[1:3])
  square = lambda cells, points: jnp.sum((cells - points) ** 2, -1)  # noqa: E731
  distance = square(cells[None, :, :, None], points[:, None, None])
  spread = jnp.sum(probability * distance, (1, 2))
  flat = jnp.mean(square(cells, 0.0))
  return jnp.clip(1 - jnp.sqrt(spread / flat), 0, 1)


def detect(function, variables, dataset, *, batch_size, warps=None):
  """Finds the landmarks of a dataset of n images, in order: [n, k, 2].

  Args:
    function, variables: `landmark_function` and its variables.
    dataset: `Dataset`.
    batch_size: a multiple of the local devices.
    warps: float32 [n, 2, 3], the pull map of each image, or None.
  """
  found = np.zeros((len(dataset), 0, 2), np.float32)
  for batch in dataset.eval_batches(batch_size):
    inputs = {"image": batch["image"]}
    if warps is not None:
      inputs["warp"] = warps[batch["index"]]
    out, real = function(variables, inputs), batch["mask"] > 0
    if not found.shape[1]:
      found = np.zeros((len(dataset), *out.shape[1:]), np.float32)
    found[batch["index"][real]] = out[real]
  return found


def random_similarities(n, options):
  """Draws seeded similarity transforms, pull maps: float32 [n, 2, 3].

  `options` has the seed, and the half width of a uniform law for each of:
  rotation in degrees, scale, shift as a fraction of the image side.
  """
  rng = np.random.default_rng(options["seed"])
  draw = lambda half, *shape: rng.uniform(-half, half, (n, *shape))  # noqa: E731
  angle = np.deg2rad(draw(options["rotation"]))
  scale, shift = 1 + draw(options["scale"]), 2 * draw(options["shift"], 2)
  c, s = scale * np.cos(angle), scale * np.sin(angle)
  matrix = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], 1)
  return np.concatenate([matrix, shift[..., None]], -1).astype(np.float32)


def see_through(matrices, points):
  """Moves points [n, p, 2] of images to where pull maps [n, 2, 3] show them."""
  linear, shift = matrices[:, None, :, :2], matrices[:, None, :, 2]
  seen = np.linalg.solve(linear, (points - shift)[..., None])
  return seen[..., 0].astype(np.float32)
