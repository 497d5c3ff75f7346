"""Cartoon faces, drawn in JAX.

A pixel is coloured by walking back from the image to the surface of the head
(`head.py`) and painting there, in canonical coordinates (u, v): so whatever is
on the head, hair too, moves exactly as `head.correspondence` says.

Images are [3, h, w] inside this file, colours [3, 1, 1]: with the channels
last, XLA's CPU code does not vectorise.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from c3_jax.data.synthetic import head
from c3_jax.data.synthetic.head import (
  EYE_U,
  EYE_V,
  MOUTH_U,
  MOUTH_V,
  NOSE_V,
  HeadPose,
)
from c3_jax.geometry import cell_centres

_EAR_V = 0.06


def _rgb(red, green, blue):
  return np.array([red, green, blue], np.float32)[:, None, None]


_BLACK = _rgb(0.08, 0.06, 0.07)
_WHITE = _rgb(0.98, 0.98, 0.96)
_BLUSH = _rgb(0.93, 0.36, 0.36)
_THROAT = _rgb(0.30, 0.05, 0.08)
_NOSE = _rgb(0.76, 0.60, 0.58)  # times the skin


@struct.dataclass
class Appearance:
  """Colours, hair and light: whatever moves no surface point."""

  # RGB in [0, 1]: [3], of the background [2, 3], both ends of a gradient.
  skin: jax.Array
  hair: jax.Array
  eyes: jax.Array
  lips: jax.Array
  shirt: jax.Array
  background: jax.Array
  background_angle: jax.Array  # Radians, direction of that gradient.
  light: (
    jax.Array
  )  # [3], unit vector towards it (x right, y down, z to viewer).
  light_strength: jax.Array  # 0 (flat colours) to 1 (black shadows).
  hairline: jax.Array  # v of the hair's edge over the forehead.
  hair_sides: jax.Array  # v down to which it covers the sides of the head.
  hair_volume: jax.Array  # Thickness in units of the model frame.
  parting: jax.Array  # Slope of the hair's edge over the forehead.
  eye_size: jax.Array  # 1 is medium.
  brow_width: jax.Array  # Thickness in units of the model frame.
  blush: jax.Array  # 0 to 1, redness of the cheeks.


def _over(image, colour, cover):
  """Paints `colour` over `image` where `cover` [h, w] is 1."""
  return image + cover * (colour - image)


def _ellipse(x, y, half_width, half_height):
  """Measures the distance to an ellipse, exact near it; < 0 inside."""
  q = (x * (1 / half_width)) ** 2 + (y * (1 / half_height)) ** 2
  return 0.5 * (q - 1) * jnp.minimum(half_width, half_height)


def _outline(x, y):
  """Measures the distance to the head's outline, exact near it; < 0 inside."""
  t = y / head.HALF_HEIGHT
  slope = head.HALF_WIDTH**2 / head.HALF_HEIGHT * t
  steepness = 2 * jnp.sqrt(x**2 + slope**2 + 1e-4)
  return (x**2 - head.squared_radius(y)) / steepness


def _shade(a, x, y, z):
  """Shades a matt surface with normal (x, y, z), of any length."""
  along = x * a.light[0] + y * a.light[1] + z * a.light[2]
  cosine = along * jax.lax.rsqrt(x**2 + y**2 + z**2 + 1e-6)
  return 1 + a.light_strength * (1.2 * jnp.maximum(cosine, 0) - 0.9)


def _features(a, u, v, inside):
  """Colours the bare head at canonical (u, v): [3, h, w]."""
  x = 0.6 * (u - jnp.where(u < 0, -EYE_U, EYE_U))  # from the nearer eye
  y = v - EYE_V
  ear = _ellipse(0.62 * (jnp.abs(u) - 1.53), v - _EAR_V, 0.10, 0.14)
  p = _over(a.skin, 0.8 * a.skin, inside(ear))

  cheek = jnp.maximum(1 - (x / 0.15) ** 2 - ((v - 0.30) / 0.10) ** 2, 0)
  p = _over(p, _BLUSH, 0.7 * a.blush * cheek)
  nose = _ellipse(0.62 * u, v - NOSE_V, 0.085, 0.065)
  p = _over(p, a.skin * _NOSE, inside(nose))
  shine = _ellipse(0.62 * u, v - NOSE_V + 0.025, 0.045, 0.025)
  p = _over(p, 0.5 * a.skin + 0.5, 0.6 * inside(shine))

  m = v - MOUTH_V
  p = _over(p, a.lips, inside(_ellipse(0.5 * u, m, 0.5 * MOUTH_U, 0.095)))
  hole = inside(_ellipse(0.5 * u, m, 0.5 * MOUTH_U - 0.02, 0.05))
  p = _over(p, _THROAT, hole)
  p = _over(p, _WHITE, hole * inside(m + 0.015))

  arch = y - (head.BROW_V - EYE_V + 2.5 * x**2)
  brow = jnp.maximum(jnp.abs(arch) - a.brow_width, jnp.abs(x) - 0.15)
  p = _over(p, 0.65 * a.hair, inside(brow))
  w, h = 0.125 * a.eye_size, 0.115 * a.eye_size
  p = _over(p, _BLACK, inside(_ellipse(x, y + 0.022, 1.08 * w, h)))
  p = _over(p, _WHITE, inside(_ellipse(x, y, w, h)))
  p = _over(p, a.eyes, inside(_ellipse(x, y, 0.085, 0.085)))
  p = _over(p, _BLACK, inside(_ellipse(x, y, 0.045, 0.045)))
  p = _over(p, _WHITE, inside(_ellipse(x - 0.03, y + 0.03, 0.022, 0.022)))
  return p


def _behind(pose, a, xy, x, y, mane, inside):
  """Colours what is behind the head, and its ears: [3, h, w]."""
  c, s = jnp.cos(a.background_angle), jnp.sin(a.background_angle)
  along = head.smoothstep(c * xy[..., 0] + s * xy[..., 1], -1.5, 1.5)
  p = _over(a.background[0], a.background[1], along)
  p = _over(p, 0.7 * a.hair, mane * (y > 0))
  p = _over(p, 0.72 * a.skin, inside(jnp.maximum(jnp.abs(x) - 0.24, -y)))
  p = _over(p, a.shirt, inside(_ellipse(x, y - 1.6, 1.0, 0.7)))
  ear_x = 0.97 * head.HALF_WIDTH * jnp.cos(pose.yaw)
  ear = inside(_ellipse(jnp.abs(x) - ear_x, y - _EAR_V, 0.14, 0.16))
  return _over(p, 0.88 * a.skin, ear)


def _scene(pose, a, xy, width):
  """Colours xy [h, w, 2], with edges `width` wide: [3, h, w] in [0, 1]."""

  def inside(distance):
    return jnp.clip(0.5 - distance * (1 / width), 0, 1)

  x, y = head.to_head(pose, xy)
  z = jnp.sqrt(jnp.maximum(head.squared_radius(y) - x**2, 0))
  u, v = head.undeform(pose, jnp.arctan2(x, z) - pose.yaw, y)

  # The hair is painted on the head, and goes on beyond its outline, with the
  # azimuth of the outline, as far as the mane reaches.
  on_head = inside(_outline(x, y))
  across = (x / (head.HALF_WIDTH + a.hair_volume)) ** 2
  top = (jnp.minimum(y, 0) / (head.HALF_HEIGHT + a.hair_volume)) ** 2
  bottom = (jnp.maximum(y, 0) / jnp.maximum(a.hair_sides + 0.25, 0.1)) ** 4
  mane = inside(0.5 * head.HALF_WIDTH * (across + top + bottom - 1))
  edge = a.hairline + a.parting * u + 0.03 * jnp.cos(5 * u)
  sides = head.smoothstep(jnp.abs(u), 0.95, 1.4)
  hair_cover = jnp.maximum(on_head, mane) * inside(
    v - edge - sides * (a.hair_sides - edge)
  )
  hair_z = jnp.sqrt(jnp.maximum(1 - across - top, 0)) * head.HALF_WIDTH + 0.1
  hair_shade = (1 + 0.08 * jnp.sin(17 * u)) * _shade(a, x, y, hair_z)

  p = _behind(pose, a, xy, x, y, mane, inside)
  tall = (head.HALF_WIDTH / head.HALF_HEIGHT) ** 2
  bare = _features(a, u, v, inside) * _shade(a, x, tall * y, z)
  p = _over(p, bare, on_head)
  p = _over(p, a.hair * hair_shade, hair_cover)
  return jnp.clip(p, 0, 1)


def render(
  pose: HeadPose,
  appearance: Appearance,
  *,
  size: int,
  extent: float = 1.0,
  supersample: int = 2,
) -> jax.Array:
  """Draws one face.

  Args:
    pose: `HeadPose`.
    appearance: `Appearance`.
    size: side of the image in pixels.
    extent: the image spans [-extent, extent] of the model frame in x and y;
      load_size / image_size for an image with room for warps.
    supersample: each pixel is the mean of this many samples squared.

  Returns:
    [size, size, 3], float32 in [0, 1].
  """
  n = size * supersample
  line = extent * cell_centres(n)
  xy = jnp.stack(jnp.meshgrid(line, line), -1)
  width = 2 * extent / n / pose.scale
  a = appearance.replace(
    **{
      name: getattr(appearance, name)[..., None, None]
      for name in ("skin", "hair", "eyes", "lips", "shirt", "background")
    }
  )
  fine = _scene(pose, a, xy, width)
  coarse = fine.reshape(3, size, supersample, size, supersample).mean((2, 4))
  return coarse.transpose(1, 2, 0)
