"""The geometry of the synthetic head: pose, landmarks and correspondence.

The head is a surface of revolution about its vertical axis. A surface point
has canonical coordinates (u, v): u is the azimuth in radians (0 = middle of the
face, positive to image right), v the height in units of the model frame
(positive down). They are MATERIAL coordinates: the expression moves the skin
over a head of fixed shape, so a mouth corner has the same (u, v) in every
image. A point goes into the image in three steps, each with a closed
inverse:

  expression   (u, v) -> (u', v')                        `_deform`, `undeform`
  yaw          X = r(v') sin(u' + yaw),  Y = v'          orthographic camera
  similarity   (x, y) = shift + scale R(roll) (X, Y)

All functions take one pose: use `jax.vmap` for many. Points are (x, y) of the
model frame, [-1, 1] on it, as in `c3_jax.geometry`.
"""

import jax
import jax.numpy as jnp
from flax import struct

HALF_WIDTH = 0.64
HALF_HEIGHT = 0.76
EGG = 0.12  # how much narrower the chin is than the forehead

EYE_U, EYE_V = 0.56, 0.02
NOSE_V = 0.25
MOUTH_U, MOUTH_V = 0.46, 0.46
BROW_V = -0.20

# The five landmarks, in canonical coordinates and in the project's order.
LANDMARKS_UV = (
  (-EYE_U, EYE_V),
  (EYE_U, EYE_V),
  (0.0, NOSE_V),
  (-MOUTH_U, MOUTH_V),
  (MOUTH_U, MOUTH_V),
)


@struct.dataclass
class HeadPose:
  """Where the face is and what it does: whatever moves surface points."""

  yaw: jax.Array  # Radians, positive turns the face to image right.
  roll: jax.Array  # Radians, positive is clockwise on the screen.
  scale: jax.Array  # 1 makes the head 2 HALF_HEIGHT = 1.52 high (frame: 2).
  shift: jax.Array  # [2], (x, y) of the head's centre in the model frame.
  smile: jax.Array  # -1 (corners of the mouth down) to 1 (up).
  mouth_open: jax.Array  # 0 (closed) to 1.
  brow_raise: jax.Array  # -1 (frown) to 1.


def squared_radius(v):
  """Gives the squared radius at height v; negative above and below the head."""
  t = v / HALF_HEIGHT
  return HALF_WIDTH**2 * (1 - t**2) * (1 - EGG * t) ** 2


def _radius(v):
  """Gives the radius at height v, 0 above and below the head."""
  return jnp.sqrt(jnp.maximum(squared_radius(v), 0))


def smoothstep(x, low, high):
  """Rises smoothly from 0 at `low` to 1 at `high`."""
  t = jnp.clip((x - low) * (1 / (high - low)), 0, 1)
  return t * t * (3 - 2 * t)


def _piecewise_linear(v, source, target):
  """Maps the knots `source` to `target`, linear between, identity outside."""
  out = v
  for s0, s1, t0, t1 in zip(
    source[:-1], source[1:], target[:-1], target[1:], strict=True
  ):
    out = out + ((t1 - t0) / (s1 - s0) - 1) * jnp.clip(v - s0, 0, s1 - s0)
  return out


def _knots(pose, u):
  """Gives the knots of v at rest and under the expression, at azimuth u."""
  reach = jnp.abs(u) / MOUTH_U  # 1 at the corners of the mouth
  fade = 1 - smoothstep(reach, 1.0, 1.8)
  bend = 0.065 * pose.smile * (1 - 2 * jnp.minimum(reach, 1) ** 2) * fade
  upper = bend + fade * (0.035 - 0.02 * pose.mouth_open)
  lower = bend + fade * (0.10 * pose.mouth_open - 0.035)
  rest = (-0.5, BROW_V, -0.1, 0.32, MOUTH_V - 0.05, MOUTH_V + 0.05, 0.74)
  shift = (0, -0.06 * pose.brow_raise, 0, 0, upper, lower, 0)
  return rest, tuple(r + d for r, d in zip(rest, shift, strict=True))


def _widening(pose, v):
  """Gives how much a smile stretches azimuths at canonical height v."""
  bump = jnp.maximum(1 - ((v - MOUTH_V) / 0.28) ** 2, 0) ** 2
  return 1 + 0.14 * pose.smile * bump


def _deform(pose, u, v):
  """Applies the expression: canonical (u, v) to (u', v') on the head."""
  u = u * _widening(pose, v)
  rest, moved = _knots(pose, u)
  return u, _piecewise_linear(v, rest, moved)


def undeform(pose, u, v):
  """Inverts `_deform`."""
  rest, moved = _knots(pose, u)
  v = _piecewise_linear(v, moved, rest)
  return u / _widening(pose, v), v


def to_head(pose, xy):
  """Inverts the similarity: (x, y) in the model frame to (X, Y) of the head."""
  d = (xy - pose.shift) / pose.scale
  c, s = jnp.cos(pose.roll), jnp.sin(pose.roll)
  return c * d[..., 0] + s * d[..., 1], c * d[..., 1] - s * d[..., 0]


def surface_points(pose, uv):
  """Maps canonical surface points to the image.

  Args:
    pose: `HeadPose` of one face.
    uv: [..., 2], canonical (u, v); |v| < HALF_HEIGHT.

  Returns:
    (points, visible): points [..., 2], (x, y) of the model frame, [-1, 1] on
    it; visible [...], bool: the surface there faces the camera.
  """
  u, v = _deform(pose, uv[..., 0], uv[..., 1])
  x, y = _radius(v) * jnp.sin(u + pose.yaw), v
  c, s = jnp.cos(pose.roll), jnp.sin(pose.roll)
  rotated = jnp.stack([c * x - s * y, s * x + c * y], -1)
  visible = (jnp.abs(u + pose.yaw) < jnp.pi / 2) & (jnp.abs(v) < HALF_HEIGHT)
  return pose.shift + pose.scale * rotated, visible


def surface_coords(pose, xy):
  """Maps places to the surface points seen there: inverts `surface_points`.

  Args:
    pose: `HeadPose` of one face.
    xy: [..., 2], (x, y) of the model frame.

  Returns:
    (uv, on_face): uv [..., 2], canonical (u, v), meaningless where the head is
    not; on_face [...], bool: the head (skin or the hair on it) is seen there.
  """
  x, y = to_head(pose, xy)
  squared_z = squared_radius(y) - x**2
  z = jnp.sqrt(jnp.maximum(squared_z, 0))
  u, v = undeform(pose, jnp.arctan2(x, z) - pose.yaw, y)
  return jnp.stack([u, v], -1), squared_z > 0


def correspondence(
  pose_from: HeadPose, pose_to: HeadPose, xy: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Matches points of one image to another (push: from -> to).

  Args:
    pose_from: `HeadPose` in the image that `xy` lies in.
    pose_to: `HeadPose` in the other image, of any face: (u, v) is shared.
    xy: [..., 2], (x, y) of the model frame.

  Returns:
    (xy_to, valid): xy_to [..., 2]; valid [...], bool: on the head in `from` and
    visible in `to`. The match may lie outside the frame of either image.
  """
  uv, on_face = surface_coords(pose_from, xy)
  xy_to, visible = surface_points(pose_to, uv)
  return xy_to, on_face & visible


def landmarks(pose: HeadPose) -> jax.Array:
  """Gives the five landmarks of a face: [5, 2], (x, y) in [-1, 1].

  They are the canonical points LANDMARKS_UV, moved by the expression like any
  other: image-left eye, image-right eye, nose, image-left and image-right
  corner of the mouth.
  """
  return surface_points(pose, jnp.array(LANDMARKS_UV))[0]
