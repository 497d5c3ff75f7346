"""Correspondence (section 3.2): T^{i->j}, read off the filtered correlation C^.

T^{i->j} gives each cell of j the coordinates of the cell of i that matches it:
a pull map, so that `warp.by_correspondence(p_i, T^{i->j})` lives in the frame
of j.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from c3_jax import geometry
from c3_jax.geometry import warp
from c3_jax.models.flow import Correlation, swap_images

Correspondence = Float[geometry.AnyArray, "b hj wj 2"]
# Of the trust in a cell, in cells by which its way back misses it.
TRUST_WIDTH = 0.5


def hard_correspondence(c: Correlation) -> Correspondence:
  """Computes T^{i->j} by argmax of C^ (section 3.2); no gradient.

  Entry (y, x) holds the (x, y) in i that matches the cell of j: a pull map.
  """
  b, hi, wi, hj, wj = c.shape
  best = jnp.argmax(c.reshape(b, hi * wi, hj, wj), 1)
  return geometry.grid(hi, wi).reshape(hi * wi, 2)[best]


def refined_correspondence(
  c: Correlation, *, reach, temperature=1.0
) -> Correspondence:
  """Computes T^{i->j} between cells: the expected match near the best one.

  Args:
    c: C^.
    reach: cells on each side of the argmax that count.
    temperature: divides C^ before the softmax over them.
  """
  b, hi, wi, hj, wj = c.shape
  flat = c.reshape(b, hi * wi, hj, wj)
  best = jnp.argmax(flat, 1)[:, None]
  cell = jnp.arange(hi * wi)[:, None, None]
  near = jnp.maximum(
    jnp.abs(cell // wi - best // wi), jnp.abs(cell % wi - best % wi)
  )
  score = jax.nn.softmax(flat / temperature, axis=1, where=near <= reach)
  grid = geometry.grid(hi, wi).reshape(hi * wi, 2)
  return jnp.einsum("bnvu,nd->bvud", score, grid)


def soft_correspondence(c: Correlation, *, temperature=1.0) -> Correspondence:
  """Computes T^{i->j} as the expected match under S^{i->j}: differentiable.

  `temperature` divides C before the softmax.
  """
  score = jax.nn.softmax(c / temperature, axis=(1, 2))
  return jnp.einsum("byxvu,yxd->bvud", score, geometry.grid(*c.shape[1:3]))


@dataclass(frozen=True)
class Matcher:
  """Reads T off C^: a function of C^, equal where the options are.

  Attributes:
    hard: by argmax; False: by the expectation over all cells.
    temperature: of the expectation.
    reach: if above 0, by the expectation over so many cells round the argmax.
    smooth: if above 0, `smoothed` with this sigma afterwards.
  """

  hard: bool = True
  temperature: float = 1.0
  reach: int = 0
  smooth: float = 0.0

  @classmethod
  def measured(cls, objective):
    """Makes that of evaluation from `config.objective`.

    It reads between cells where training does, by argmax otherwise.
    """
    return cls(
      temperature=objective.flow_temperature,
      reach=objective.flow_reach,
      smooth=objective.flow_smooth,
    )

  def __call__(self, c: Correlation) -> Correspondence:
    return self.both(c)[0] if self.smooth else self._read(c)

  def both(self, c: Correlation) -> tuple[Correspondence, Correspondence]:
    """Reads T^{i->j} and T^{j->i} off C^."""
    t_ij, t_ji = self._read(c), self._read(swap_images(c))
    if not self.smooth:
      return t_ij, t_ji
    smooth = partial(smoothed, sigma=self.smooth)
    return smooth(t_ij, t_ji), smooth(t_ji, t_ij)

  def _read(self, c):
    if self.reach:
      return refined_correspondence(
        c, reach=self.reach, temperature=self.temperature
      )
    if self.hard:
      return hard_correspondence(c)
    return soft_correspondence(c, temperature=self.temperature)


def return_distance(
  points: Float[geometry.AnyArray, "b *n 2"],
  t_ij: Correspondence,
  t_ji: Float[geometry.AnyArray, "b hi wi 2"],
) -> Float[Array, " b *n"]:
  """Measures how far from points of j the way j -> i -> j ends, in cells of j.

  It is small where both directions agree, and where nothing is hidden.
  """
  h, w = t_ij.shape[1:3]
  read = jax.vmap(warp.sample)
  back = read(t_ji, read(t_ij, points))
  return jnp.linalg.norm((back - points) * jnp.array([w, h]) / 2, axis=-1)


def cells_missed(
  t_ij: Correspondence, t_ji: Float[geometry.AnyArray, "b hi wi 2"]
) -> Float[Array, "b hj wj"]:
  """Measures the `return_distance` of each cell of j."""
  starts = jnp.broadcast_to(geometry.grid(*t_ij.shape[1:3]), t_ij.shape)
  return return_distance(starts, t_ij, t_ji)


def smoothed(
  t_ij: Correspondence,
  t_ji: Float[geometry.AnyArray, "b hi wi 2"],
  *,
  sigma,
) -> Correspondence:
  """Averages T^{i->j} with its neighbours, where the way back agrees.

  Each cell takes the displacements of the cells round it, weighted by a
  gaussian of `sigma` cells and by exp(-(d / TRUST_WIDTH)^2), where d says by
  how many cells the way back misses the other cell. A wrong match, from which
  nothing comes back, thus gives way to right ones beside it. The weights have
  no gradient.
  """
  h, w = t_ij.shape[1:3]
  grid = geometry.grid(h, w)
  missed = cells_missed(t_ij, t_ji)[..., None]
  # Where nothing comes back all count alike.
  trust = jnp.exp(-((missed / TRUST_WIDTH) ** 2)) + 1e-3
  trust = jax.lax.stop_gradient(trust)
  both = jnp.concatenate([trust * (t_ij - grid), trust], -1)
  near = []
  for side in (h, w):
    cell = jnp.arange(side)
    near.append(jnp.exp(-((cell[:, None] - cell) ** 2) / (2 * sigma**2)))
  total = jnp.einsum("yv,xu,bvuc->byxc", *near, both)
  return grid + total[..., :2] / total[..., 2:]
