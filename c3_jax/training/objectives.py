"""The losses: Eq. 1, 2, 4, 5, the paired reconstruction and the flow's loss.

Pure functions of arrays. Batches hold symmetric pairs: images 2m and 2m + 1
belong together, each is once i and once j, so the two terms of an equation
are twice the mean over the batch.
"""

import jax
import jax.numpy as jnp

from c3_jax.geometry import warp
from c3_jax.models import flow


def partner(x):
  """Exchanges 2m and 2m + 1 along the first axis, whose length is even."""
  return jnp.flip(x.reshape(-1, 2, *x.shape[1:]), 1).reshape(x.shape)


def tap_distances(targets, outputs, mask=None):
  """Mean squared difference of each feature map: the raw parts of P.

  Args:
    targets, outputs: dicts tap -> [b, h, w, c], of the same keys and shapes.
    mask: [b, H, W, 1] weights in [0, 1], resized to each map; None is 1.

  Returns:
    dict tap -> scalar, float32: the mean over b, h, w, c of mask * difference
    squared. It is a plain mean, so the mean over devices is the whole batch's.
  """
  distances = {}
  for tap, target in targets.items():
    difference = outputs[tap].astype(jnp.float32) - target.astype(jnp.float32)
    square = difference**2
    if mask is not None:
      shape = (*target.shape[:3], 1)
      square *= jax.image.resize(mask, shape, "linear", antialias=True)
    distances[tap] = square.mean()
  return distances


def update_running(running, distances, *, decay):
  """Moves the running means of the tap distances; 0 stands for "none yet".

  Args:
    running: dict tap -> scalar, 0 before the first batch.
    distances: dict tap -> scalar, averaged over devices, no gradient.
    decay: 0.99 in IMM.

  Returns:
    dict tap -> scalar; the first batch starts the mean.
  """
  return {
    tap: jnp.where(
      running[tap] > 0,
      decay * running[tap] + (1 - decay) * distance,
      distance,
    )
    for tap, distance in distances.items()
  }


def perceptual(distances, running, *, floor=1e-6):
  """P: the mean over taps of distance / running mean (Eq. 1; IMM's balance).

  Args:
    distances: dict tap -> scalar, from `tap_distances`.
    running: dict tap -> scalar, constants.
    floor: least divisor; two equal batches give 0 and never NaN.

  Returns:
    Scalar, about 1 while the distances stay where they are.
  """
  ratios = [
    distances[tap] / jnp.maximum(jax.lax.stop_gradient(running[tap]), floor)
    for tap in distances
  ]
  return jnp.stack(ratios).mean()


def pose_difference(p, q):
  """Squared error of gaussian maps, mean over space, sum over K.

  Args:
    p, q: [b, h, w, k].

  Returns:
    Scalar: the two terms of Eq. 2 or Eq. 4, averaged over the pairs.
  """
  return 2 * jnp.sum(jnp.mean((p - q) ** 2, (1, 2)), -1).mean()


def point_difference(points, moved):
  """L_warp: landmarks of one view against those of the other, carried along.

  The warp between the views of a synthetic pair is known, so landmarks that
  tell anything but where things are (a colour, say) can be found out. Not in
  the paper, whose stage `pairs` has the reconstruction alone.

  Args:
    points: [b, k, 2] in the target view.
    moved: [b, k, 2], those of the source view under the known warp.

  Returns:
    Scalar: squared distance, sum over K, twice its mean over the batch.
  """
  return 2 * jnp.sum((points - moved) ** 2, (1, 2)).mean()


def crowding(points, distance):
  """L_apart: how many landmarks sit on one another (the separation of [37]).

  Args:
    points: [b, k, 2].
    distance: over which the penalty falls off, in coordinates.

  Returns:
    Scalar: sum over pairs of landmarks of exp(-d^2 / (2 distance^2)), mean over
    the batch; from 0 (all far apart) to k (k - 1) / 2 (all on one spot).
  """
  k = points.shape[1]
  first, second = jnp.triu_indices(k, 1)
  square = jnp.sum((points[:, first] - points[:, second]) ** 2, -1)
  return jnp.sum(jnp.exp(-square / (2 * distance**2)), -1).mean()


def invariance(maps, maps_again):
  """L_inv (Eq. 2): p of the images against p' read off the swapped images.

  Args:
    maps: [b, h, w, k], p_i.
    maps_again: [b, h, w, k], p'_i.

  Returns:
    Scalar.
  """
  return pose_difference(maps_again, maps)


def equivariance(maps_i, maps_j, t_ij, t_ji):
  """L_equiv (Eq. 4): |p_i - T^{j->i} o p_j| + |p_j - T^{i->j} o p_i|.

  Args:
    maps_i, maps_j: [m, h, w, k], the gaussian maps of m pairs.
    t_ij: [m, h', w', 2], for each cell of j its match in i (a pull map).
    t_ji: [m, h', w', 2], for each cell of i its match in j.

  Returns:
    Scalar, the mean over the pairs.
  """
  to_i = pose_difference(maps_i, warp.by_correspondence(maps_j, t_ji))
  to_j = pose_difference(maps_j, warp.by_correspondence(maps_i, t_ij))
  return (to_i + to_j) / 2


def match_score(c):
  """Mean best score over both directions of a filtered correlation (NC-Net).

  Args:
    c: [b, h_i, w_i, h_j, w_j].

  Returns:
    Scalar in (0, 1].
  """
  s_ij, s_ji = flow.match_scores(c)
  return (s_ij.max((1, 2)).mean() + s_ji.max((3, 4)).mean()) / 2


def weak_flow(positive, negative):
  """L_flow: mean match score of negative pairs minus that of positive pairs.

  Args:
    positive, negative: [b, h_i, w_i, h_j, w_j] filtered correlations.

  Returns:
    Scalar in (-1, 1).
  """
  return match_score(negative) - match_score(positive)


def total(terms, weights):
  """Eq. 5: the weighted sum of the terms.

  Args:
    terms: dict name -> scalar.
    weights: dict name -> float, for at least the terms given.

  Returns:
    Scalar.
  """
  return sum(weights[name] * term for name, term in terms.items())
