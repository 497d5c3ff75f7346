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


def carry(scores, points):
  """Carries points [n, p, 2] of the target to the source.

  `scores` [n, h, w, h, w] are C^ with the source's cells first. T^{source->
  target}, which holds the match of each cell of the target, is read bilinearly.
  """
  field = flow.hard_correspondence(jnp.asarray(scores))
  return jax.vmap(warp.sample)(field, points)


def collect(batch):
  """Carries the points of a batch of `matching.matched` to the source.

  Returns:
    {"flow", "landmarks", "identity", "truth"}, each [n, P, 2]. landmarks
    carries by a thin-plate spline from the target's landmarks to the source's,
    identity leaves the points in place, truth is where they belong, NaN where
    that is not known.
  """
  points = batch["points_target"]
  return {
    "flow": np.asarray(carry(batch["scores"], points)),
    "landmarks": spline.move(
      batch["landmarks_target"], batch["landmarks_source"], points
    ),
    "identity": points,
    "truth": np.where(
      batch["visible"][..., None], batch["points_source"], np.nan
    ),
  }


def measure(values, *, image_size, normaliser):
  """Measures how far annotated points arrive from where they belong.

  `values` are from `collect`, of all pairs; image_size is the side of the model
  frame in pixels, normaliser as in `regression.point_errors`.

  Returns:
    {"flow", "landmarks", "identity"}, each in per cent of the normaliser.
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
