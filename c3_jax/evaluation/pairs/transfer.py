"""Points carried from one image to another by the flow (Fig. 3).

Here, unlike in `alignment`, matches are read in the project's own coordinates,
in which the network's maps lie.
"""

import jax
import jax.numpy as jnp
import numpy as np

from c3_jax import geometry
from c3_jax.evaluation import regression
from c3_jax.geometry import spline, warp
from c3_jax.models import flow


def transferred(model, f_from, f_to, points):
  """Carries points from one image to another.

  Args:
    model: bound `C3`.
    f_from, f_to: [n, h, w, c], f' of the images.
    points: [n, p, 2] in the images `from`.

  Returns:
    [n, p, 2] in the images `to`.
  """
  return carry(model.match(f_to, f_from), points)


def carry(scores, points):
  """Carries points of the target to the source.

  Args:
    scores: [n, h, w, h, w], C^ with the source's cells first.
    points: [n, p, 2] in the target.

  Returns:
    [n, p, 2] in the source: T^{source->target}, which holds the match in the
    source of each cell of the target, read bilinearly at the points.
  """
  field = flow.hard_correspondence(jnp.asarray(scores))
  return jax.vmap(warp.sample)(field, points)


def collect(batch):
  """Carries the target's points to the source, by flow and by landmarks.

  Args:
    batch: from `matching.matched`.

  Returns:
    {"flow", "landmarks", "identity", "truth"}, each [n, P, 2]. landmarks
    carries by a thin-plate spline from the target's landmarks to the source's,
    identity leaves the points in place, truth is where they belong.
  """
  points = batch["points_target"]
  return {
    "flow": np.asarray(carry(batch["scores"], points)),
    "landmarks": spline.carry(
      batch["landmarks_target"], batch["landmarks_source"], points
    ),
    "identity": points,
    "truth": batch["points_source"],
  }


def report(values, *, image_size, normaliser):
  """Measures how far annotated points arrive from where they belong.

  Args:
    values: from `collect`, of all pairs.
    image_size: side of the model frame in pixels.
    normaliser: as `regression.point_errors`.

  Returns:
    {"flow": per cent, "landmarks": per cent, "identity": per cent} of the
    normaliser.
  """
  pixels = {
    name: geometry.coords_to_corner_pixels(points, image_size)
    for name, points in values.items()
  }
  truth = pixels.pop("truth")
  return {
    name: regression.error_percent(
      points, truth, normaliser=normaliser, image_size=image_size
    )
    for name, points in pixels.items()
  }
