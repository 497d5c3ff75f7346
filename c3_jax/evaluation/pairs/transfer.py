"""Points carried from one image to another by the flow (Fig. 3).

Here, unlike in `alignment`, matches are read in the project's own coordinates,
in which the network's maps lie.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from c3_jax import geometry
from c3_jax.evaluation import regression
from c3_jax.geometry import spline, warp
from c3_jax.models import correspondence

# Cells within which the way back must end where it started.
WITHIN = 1.0


def carry(scores, points, match=correspondence.Matcher()):  # noqa: B008
  """Carries points [n, p, 2] of the target to the source.

  `scores` [n, h, w, h, w] are C^ with the source's cells first. T^{source->
  target}, which `match` reads off them, holds the match of each cell of the
  target; it is read bilinearly.
  """
  return jax.vmap(warp.sample)(match(jnp.asarray(scores)), points)


@functools.partial(jax.jit, static_argnames="match")
def there_and_back(scores, points, match):
  """Runs `carry`, and measures how far from the points the way back ends.

  Returns:
    ([n, p, 2], [n, p]): where they arrive, and by how many cells they miss
    their start when T^{target->source} carries them back.
  """
  out, back = match.both(scores)
  arrived = jax.vmap(warp.sample)(out, points)
  return arrived, correspondence.return_distance(points, out, back)


def collect(batch, match):
  """Carries the points of a batch of `matching.matched` to the source.

  `match` is the `correspondence.Matcher` that reads T.

  Returns:
    {"flow", "landmarks", "identity", "truth"}, each [n, P, 2], and "agrees",
    bool [n, P]. landmarks carries by a thin-plate spline from the target's
    landmarks to the source's, identity leaves the points in place, truth is
    where they belong, NaN where that is not known. Where the flow agrees, the
    way back ends within a cell of the point.
  """
  points = batch["points_target"]
  arrived, missed = there_and_back(batch["scores"], points, match)
  return {
    "flow": np.asarray(arrived),
    "agrees": np.asarray(missed) <= WITHIN,
    "landmarks": spline.move(
      batch["landmarks_target"], batch["landmarks_source"], points
    ),
    "identity": points,
    "truth": np.where(
      batch["visible"][..., None], batch["points_source"], np.nan
    ),
  }


def average(numbers):
  """Averages an array; None where it is empty."""
  return float(numbers.mean()) if numbers.size else None


def measure(values, *, image_size, normaliser):
  """Measures how far annotated points arrive from where they belong.

  `values` are from `collect`, of all pairs; image_size is the side of the model
  frame in pixels, normaliser as in `regression.point_errors`.

  Returns:
    {"flow", "landmarks", "identity"}, each in per cent of the normaliser, and
    "agreeing": "share", the per cent of points where the flow agrees with its
    way back, and the three numbers of these alone, None where there are none.
  """
  pixels = {
    name: geometry.coords_to_corner_pixels(values[name], image_size)
    for name in ("flow", "landmarks", "identity", "truth")
  }
  truth = pixels.pop("truth")
  errors = {
    name: regression.point_errors(
      points, truth, normaliser=normaliser, image_size=image_size
    )
    for name, points in pixels.items()
  }
  measured = ~np.isnan(errors["flow"])
  agrees = values["agrees"] & measured
  return {
    name: float(np.nanmean(regression.defined(each, normaliser)))
    for name, each in errors.items()
  } | {
    "agreeing": {"share": 100 * float(agrees.sum() / measured.sum())}
    | {name: average(each[agrees]) for name, each in errors.items()}
  }
