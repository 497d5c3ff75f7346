"""The losses: Eq. 1, 2, 4, 5, the paired reconstruction and the flow's loss.

Pure functions of arrays. Batches hold symmetric pairs: images 2m and 2m + 1
belong together, each is once i and once j, so the two terms of an equation
are twice the mean over the batch.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Shaped

from c3_jax.geometry import AnyArray, warp
from c3_jax.models import correspondence, flow

Scalar = Float[Array, ""]
Taps = dict[str, Float[AnyArray, "b _ _ _"]]
Maps = Float[AnyArray, "b h w k"]


def partner(x: Shaped[AnyArray, " b *n"]) -> Shaped[Array, " b *n"]:
  """Exchanges 2m and 2m + 1 along the first axis, whose length is even."""
  return jnp.flip(x.reshape(-1, 2, *x.shape[1:]), 1).reshape(x.shape)


def tap_distances(
  targets: Taps, outputs: Taps, mask: Float[AnyArray, "b _ _ 1"] | None = None
) -> dict[str, Scalar]:
  """Computes the raw parts of P: mean squared difference of each feature map.

  The mask, weights in [0, 1], is resized to each map; None is 1. The plain mean
  over b, h, w, c is float32, and its mean over devices is the whole batch's.
  """
  distances = {}
  for tap, target in targets.items():
    dtype = jnp.promote_types(target.dtype, jnp.float32)
    square = (outputs[tap].astype(dtype) - target.astype(dtype)) ** 2
    if mask is not None:
      shape = (*target.shape[:3], 1)
      square *= jax.image.resize(mask, shape, "linear", antialias=True)
    distances[tap] = square.mean()
  return distances


def update_running(
  running: dict[str, Scalar], distances: dict[str, Scalar], *, decay
) -> dict[str, Scalar]:
  """Moves the running means of the tap distances; 0 stands for "none yet".

  Args:
    running: tap -> mean; the first batch replaces a 0.
    distances: tap -> distance, averaged over devices, no gradient.
    decay: 0.99 in IMM.
  """
  return {
    tap: jnp.where(
      running[tap] > 0,
      decay * running[tap] + (1 - decay) * distance,
      distance,
    )
    for tap, distance in distances.items()
  }


def early_decay(decay, step) -> Scalar:
  """Computes a decay that grows with the step: min(decay, (1 + n) / (10 + n)).

  The running means then follow the first, large distances down, instead of
  making P count for little until these are forgotten.
  """
  return jnp.minimum(decay, (1 + step) / (10 + step))


def perceptual(
  distances: dict[str, Scalar], running: dict[str, Scalar], *, floor=1e-6
) -> Scalar:
  """Computes P: the mean over taps of distance / running mean (Eq. 1, IMM).

  The means are constants; `floor` is the least divisor, so that two equal
  batches give 0 and never NaN. P is about 1 while the distances stay.
  """
  ratios = [
    distances[tap] / jnp.maximum(jax.lax.stop_gradient(running[tap]), floor)
    for tap in distances
  ]
  return jnp.stack(ratios).mean()


def pose_difference(
  p: Maps, q: Maps, weight: Float[AnyArray, "b h w 1"] | None = None
) -> Scalar:
  """Computes squared errors of gaussian maps, mean over space, sum over k.

  It is the two terms of Eq. 2 or Eq. 4, averaged over the pairs. With weights
  in [0, 1] the mean over space is weighted; where all are 0, it is 0.
  """
  square = (p - q) ** 2
  if weight is None:
    means = jnp.mean(square, (1, 2))
  else:
    total = jnp.maximum(jnp.sum(weight, (1, 2)), 1e-6)
    means = jnp.sum(weight * square, (1, 2)) / total
  return 2 * jnp.sum(means, -1).mean()


def point_difference(
  points: Float[AnyArray, "b k 2"], moved: Float[AnyArray, "b k 2"]
) -> Scalar:
  """Computes L_warp: landmarks of one view against the other's, warped.

  The warp between the views of a synthetic pair is known, so it penalises
  landmarks that depend on anything but place (on a colour, say). Not in the
  paper, whose stage `pairs` has the reconstruction alone.

  Args:
    points: in the target view.
    moved: those of the source view under the known warp.
  """
  return 2 * jnp.sum((points - moved) ** 2, (1, 2)).mean()


def crowding(points: Float[AnyArray, "b k 2"], distance) -> Scalar:
  """Computes L_apart: how many landmarks coincide (the separation of [37]).

  It is the sum over pairs of landmarks of exp(-d^2 / (2 distance^2)), mean over
  the batch: from 0 (all far apart) to k (k - 1) / 2 (all on one spot).
  """
  first, second = jnp.triu_indices(points.shape[1], 1)
  square = jnp.sum((points[:, first] - points[:, second]) ** 2, -1)
  return jnp.sum(jnp.exp(-square / (2 * distance**2)), -1).mean()


def invariance(maps: Maps, maps_again: Maps) -> Scalar:
  """Computes L_inv (Eq. 2): p of the images against p' of the swapped ones."""
  return pose_difference(maps_again, maps)


def equivariance(
  maps_i: Maps,
  maps_j: Maps,
  t_ij: Float[AnyArray, "b hc wc 2"],
  t_ji: Float[AnyArray, "b hc wc 2"],
  *,
  check=0.0,
) -> Scalar:
  """Computes L_equiv (Eq. 4): |p_i - T^{j->i} o p_j| + |p_j - T^{i->j} o p_i|.

  T^{i->j} gives each cell of j its match in i: a pull map. The result is the
  mean over the pairs. With `check` above 0, the mean over space is that over
  the cells whose way to the other image and back ends within so many cells.
  """

  def carried(maps, target, out, back):
    weight = None
    if check:
      agrees = returning(out, back, cells=check)
      weight = warp.resize_map(agrees, *target.shape[1:3])
    moved = warp.by_correspondence(maps, out)
    return pose_difference(target, moved, weight)

  to_i = carried(maps_j, maps_i, t_ji, t_ij)
  to_j = carried(maps_i, maps_j, t_ij, t_ji)
  return (to_i + to_j) / 2


def returning(
  out: Float[AnyArray, "b h w 2"], back: Float[AnyArray, "b hi wi 2"], *, cells
) -> Float[Array, "b h w 1"]:
  """Marks by 1 the cells from which out and back end within so many cells."""
  out, back = jax.lax.stop_gradient((out, back))
  missed = correspondence.cells_missed(out, back)
  # A hard T moves by whole cells, but for rounding.
  return (missed <= cells + 1e-3).astype(out.dtype)[..., None]


def matching(
  probability: flow.Correlation, places: Float[AnyArray, "b hj wj 2"]
) -> Scalar:
  """Computes L_match: the cross-entropy at known correspondences.

  The warp between the views of a synthetic pair is known, and teaches the flow.

  Args:
    probability: of each cell of i to match a cell of j; sums to 1 over i.
    places: the point of i that each cell of j shows, in coordinates; cells
      whose point lies outside i do not count.

  Returns:
    Minus the log of the probability at its place, read bilinearly: the mean
    over the cells of each pair, then over the pairs.
  """
  b, hi, wi, hj, wj = probability.shape
  maps = jnp.moveaxis(probability.reshape(b, hi, wi, hj * wj), 3, 1)
  places = places.reshape(b, hj * wj, 1, 2)
  # Each cell of j has a map over i of its own.
  found = jax.vmap(jax.vmap(warp.sample))(maps[..., None], places)[..., 0, 0]
  inside = jnp.abs(places).max((2, 3)) < 1
  logs = jnp.log(jnp.maximum(found, 1e-6))
  # Per pair: a mean over the batch is then that over all devices.
  return -(jnp.sum(logs * inside, 1) / jnp.maximum(inside.sum(1), 1)).mean()


def chained(out: flow.Correlation, into: flow.Correlation) -> flow.Correlation:
  """Chains match probabilities: P(i | j) = sum over k of P(i | k) P(k | j)."""
  return jnp.einsum("byxqp,bqpvu->byxvu", out, into)


def match_score(c: flow.Correlation) -> Scalar:
  """Averages the best scores of both directions of C^ (NC-Net): in (0, 1].

  Scores are the softmax over the cells of i (S^{i->j}), and over those of j.
  """
  s_ij, s_ji = jax.nn.softmax(c, (1, 2)), jax.nn.softmax(c, (3, 4))
  return (s_ij.max((1, 2)).mean() + s_ji.max((3, 4)).mean()) / 2


def weak_flow(positive: flow.Correlation, negative: flow.Correlation) -> Scalar:
  """Computes L_flow: match score of negative minus that of positive pairs.

  Both are filtered correlations C^; the result lies in (-1, 1).
  """
  return match_score(negative) - match_score(positive)


def total(terms, weights):
  """Computes Eq. 5: the weighted sum of the terms; each has a weight."""
  return sum(weights[name] * term for name, term in terms.items())
