"""Properties of the synthetic faces: geometry, drawing, streams."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from c3_jax.data import synthetic
from c3_jax.data.synthetic import drawing, faces, head
from c3_jax.errors import UserError
from c3_jax.geometry import coords_to_pixels, grid
from c3_jax.geometry.landmarks import soft_argmax

SIZE = 128
draw = jax.jit(drawing.render, static_argnames=("size", "supersample"))


look = jax.jit(faces.sample_appearance)
landmarks = jax.jit(head.landmarks)
correspondence = jax.jit(head.correspondence)


def poses(n, seed=0):
  """Poses with a leading axis n."""
  keys = jax.random.split(jax.random.key(seed), n)
  return jax.jit(jax.vmap(faces.sample_pose))(keys)


def one(tree, i):
  """Element i of a tree of arrays with a leading axis."""
  return jax.tree.map(lambda leaf: leaf[i], tree)


def flat_appearance(**colours):
  """Hair high above the face, no shading, even skin."""
  appearance = look(jax.random.key(1)).replace(
    light_strength=jnp.array(0.0),
    hairline=jnp.array(-0.5),
    hair_sides=jnp.array(-0.5),
    blush=jnp.array(0.0),
  )
  return appearance.replace(
    **{name: jnp.array(colour) for name, colour in colours.items()}
  )


def error_percent(predicted, points):
  """Mean distance / eye distance x 100."""
  eyes = np.linalg.norm(points[:, 0] - points[:, 1], axis=-1)
  distance = np.linalg.norm(predicted - points, axis=-1)
  return 100 * (distance / eyes[:, None]).mean()


@functools.cache
def small_dataset(split):
  """700 faces of 24 px, with a margin of 3."""
  return synthetic.dataset(
    3, split=split, n=700, image_size=24, load_size=30, batch=100
  )


def test_example_does_not_depend_on_how_many_are_drawn():
  """Example i is the same, bit for bit, in a repeated and a longer draw."""
  a, b = (
    synthetic.dataset(
      3, split="train", n=n, image_size=24, load_size=30, batch=100
    )
    for n in (150, 30)
  )
  whole = small_dataset("train")
  for part, n in ((a, 150), (b, 30)):
    jax.tree.map(
      lambda x, y, n=n: np.testing.assert_array_equal(x, y[:n]), part, whole
    )
    assert part["images"].shape == (n, 30, 30, 3)
  assert whole["images"].dtype == np.uint8
  assert whole["points"].dtype == np.float32
  assert whole["pose"].shift.shape == (700, 2)


def test_splits_and_seeds_share_no_face():
  """No pose of one stream occurs in another split or under another seed."""
  streams = [small_dataset(s)["points"] for s in ("train", "fit", "test")]
  other = synthetic.dataset(
    4, split="train", n=100, image_size=24, load_size=30, batch=100
  )
  rows = np.concatenate([*streams, other["points"]]).reshape(-1, 10)
  assert len(np.unique(rows, axis=0)) == len(rows)


def test_landmarks_agree_with_rotation_matrices():
  """Eyes and nose are where SciPy rotates points of the solid to."""
  for i in range(5):
    pose = one(poses(5), i)
    # No expression moves the eyes and the nose.
    u, v = np.array(head.LANDMARKS_UV)[:3].T
    t = v / head.HALF_HEIGHT
    r = head.HALF_WIDTH * np.sqrt(1 - t**2) * (1 - head.EGG * t)
    solid = np.stack([r * np.sin(u), v, r * np.cos(u)], -1)
    turn = Rotation.from_euler("yz", [float(pose.yaw), float(pose.roll)])
    expected = float(pose.scale) * turn.apply(solid)[:, :2] + pose.shift
    np.testing.assert_allclose(landmarks(pose)[:3], expected, atol=1e-5)


def test_landmarks_lie_on_what_is_drawn():
  """Eyes, mouth corners and nose are where their colours are, to a pixel."""
  appearance = flat_appearance(
    skin=[1.0, 1.0, 1.0],
    eyes=[0.0, 1.0, 0.0],
    lips=[0.0, 0.0, 1.0],
    hair=[1.0, 1.0, 1.0],
    shirt=[1.0, 1.0, 1.0],
    background=[[1.0, 1.0, 1.0]] * 2,
  )
  centres = np.asarray(grid(SIZE, SIZE))
  for i in range(6):
    pose = one(poses(6, seed=2), i)
    image = np.asarray(draw(pose, appearance, size=SIZE))
    points = np.asarray(landmarks(pose))

    def near(point):
      return np.linalg.norm(centres - point, axis=-1) < 0.25

    green = image @ [-0.5, 1, -0.5] > 0.5
    for eye in points[:2]:
      found = centres[green & near(eye)].mean(0)
      assert np.linalg.norm(found - eye) < 2 / SIZE
    # A corner of the mouth touches the lips, and little around it is lips.
    blue = image @ [-0.5, -0.5, 1] > 0.3
    for corner in points[3:]:
      distance = np.linalg.norm(centres - corner, axis=-1)
      assert distance[blue].min() < 1.5 * 2 / SIZE
      assert blue[distance < 6 * 2 / SIZE].mean() < 0.4
    # The nose is the reddish, not too dark patch between eyes and mouth.
    red = (image[..., 0] - image[..., 1] > 0.1) & (image[..., 1] > 0.45)
    nose = centres[red & (np.linalg.norm(centres - points[2], axis=-1) < 0.12)]
    assert np.linalg.norm(nose.mean(0) - points[2]) < 2 * 2 / SIZE


def test_appearance_leaves_the_geometry():
  """Faces of one pose differ in most pixels, but not in their outline."""
  pose = one(poses(1), 0)
  looks = [
    look(jax.random.key(i)).replace(
      hairline=jnp.array(-0.9),
      hair_sides=jnp.array(-0.9),
      hair_volume=jnp.array(-0.2),
      light_strength=jnp.array(0.0),
      background=jnp.zeros((2, 3)),
      shirt=jnp.zeros(3),
    )
    for i in range(2)
  ]
  a, b = (np.asarray(draw(pose, look, size=SIZE)) for look in looks)
  assert np.abs(a - b).max(-1)[(a > 0).any(-1)].mean() > 0.05
  outlines = (a > 0).any(-1), (b > 0).any(-1)
  assert (outlines[0] == outlines[1]).mean() > 0.995


def test_background_does_not_tell_the_pose():
  """Colours of the image's upper corners are uncorrelated with the pose."""
  data = small_dataset("train")
  corners = data["images"][:, 0, [0, -1]].reshape(700, 6)
  numbers = np.stack(
    [x.reshape(700, -1)[:, -1] for x in jax.tree.leaves(data["pose"])], 1
  )
  joint = np.corrcoef(corners.T, numbers.T)[:6, 6:]
  assert np.abs(joint).max() < 4 / np.sqrt(700)


def test_picture_goes_on_beyond_the_frame():
  """The centre of a larger image is the image of the frame alone."""
  pose = one(poses(1, seed=5), 0).replace(shift=jnp.array([0.6, 0.0]))
  appearance = look(jax.random.key(5))
  frame = draw(pose, appearance, size=64, extent=1.0)
  wide = draw(pose, appearance, size=96, extent=1.5)
  np.testing.assert_allclose(wide[16:-16, 16:-16], frame, atol=5e-3)
  # The head is in the margin, which is not the last column repeated.
  assert np.abs(np.asarray(wide[:, -16:] - wide[:, -17:-16])).max() > 0.1


def test_correspondence_there_and_back():
  """from -> to -> from is the identity on all points valid both ways."""
  xy = grid(40, 40).reshape(-1, 2)

  @jax.jit
  @jax.vmap
  def there_and_back(a, b):
    there, valid = head.correspondence(a, b, xy)
    back, again = head.correspondence(b, a, there)
    return there, back, valid & again

  there, back, valid = there_and_back(poses(50), poses(50, seed=9))
  assert 0.15 < valid.mean() < 0.5
  assert np.abs(np.asarray(there - xy))[valid].mean() > 0.1
  assert np.abs(np.asarray(back - xy))[valid].max() < 1e-3


def test_landmarks_correspond():
  """Landmarks of one face are matched to those of another, all visible."""
  a, b = poses(500), poses(500, seed=9)
  points, expected = (jax.vmap(landmarks)(p) for p in (a, b))
  found, valid = jax.vmap(correspondence)(a, b, points)
  assert valid.all()
  np.testing.assert_allclose(found, expected, atol=1e-3)


def test_corresponding_points_have_the_same_colour():
  """Without shading, most matched points have equal colours in both."""
  appearance = look(jax.random.key(7)).replace(light_strength=jnp.array(0.0))
  xy = grid(SIZE, SIZE).reshape(-1, 2)
  for i in range(3):
    a, b = one(poses(3), i), one(poses(3, seed=9), i)
    to, valid = correspondence(a, b, xy)
    valid &= (jnp.abs(to) < 0.98).all(-1)
    first, second = (np.asarray(draw(p, appearance, size=SIZE)) for p in (a, b))

    def difference(points, first=first, second=second, valid=valid):
      x, y = np.rint(coords_to_pixels(np.asarray(points)[valid], SIZE)).T
      there = second[y.astype(int), x.astype(int)]
      return np.abs(there - first.reshape(-1, 3)[valid]).max(-1)

    assert (difference(to) < 0.1).mean() > 0.85
    assert np.median(difference(to)) < 0.02
    assert (difference(xy) < 0.1).mean() < 0.75


def test_smile_moves_the_mouth_alone():
  """A smile lifts and parts the corners of the mouth, and no other landmark."""
  pose = one(poses(1), 0).replace(
    yaw=jnp.array(0.0), roll=jnp.array(0.0), smile=jnp.array(0.0)
  )
  calm = np.asarray(landmarks(pose))
  glad = np.asarray(landmarks(pose.replace(smile=jnp.array(1.0))))
  np.testing.assert_allclose(glad[:3], calm[:3], atol=1e-6)
  assert (glad[3:, 1] < calm[3:, 1] - 0.03).all()
  assert np.ptp(glad[3:, 0]) > np.ptp(calm[3:, 0]) + 0.02


def test_pictures_are_finite_and_in_range():
  """Every image of extreme poses and looks is finite and in [0, 1]."""
  n = 32
  keys = jax.random.split(jax.random.key(11), n)
  looks = jax.jit(jax.vmap(faces.sample_appearance))(keys)
  looks = looks.replace(light_strength=jnp.ones(n))
  pose = poses(n).replace(
    scale=jnp.linspace(0.2, 3, n), yaw=jnp.linspace(-1.2, 1.2, n)
  )
  images = jax.vmap(lambda p, a: draw(p, a, size=24))(pose, looks)
  assert np.isfinite(images).all()
  assert images.min() >= 0
  assert images.max() <= 1
  assert np.asarray(images).std() > 0.1


def test_pose_varies_enough_and_stays_in_the_frame():
  """The mean shape misses by 33 to 40 %; all landmarks are in the frame."""
  points = np.asarray(jax.vmap(landmarks)(poses(4000)))
  assert 33 < error_percent(points.mean(0), points) < 40
  assert np.abs(points).max() < 0.95


@pytest.mark.slow
def test_untrained_network_does_not_tell_the_pose():
  """Soft-argmaxes of random convolutions explain under 20 % of the error.

  Learning has to do the work: what a network sees before it learns must not.
  """

  @jax.jit
  def points_of_random_network(images, seed):
    x = images[:, 3:-3, 3:-3] / 255 - 0.5
    keys = jax.random.split(jax.random.key(seed), 3)
    for key, width, stride in zip(keys, (16, 32, 10), (2, 2, 1), strict=True):
      kernel = jax.random.normal(key, (3, 3, x.shape[-1], width))
      kernel *= np.sqrt(2 / (9 * x.shape[-1]))
      x = jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
      )
      x = jax.nn.relu(x) if stride == 2 else x
    points, _ = soft_argmax(x)
    return points.reshape(len(x), -1)

  def features(data, seed):
    points = points_of_random_network(data["images"], seed)
    points = (points - points.mean(0)) / points.std(0)
    return np.c_[points, np.ones(len(points))]

  train, test = small_dataset("fit"), small_dataset("test")
  mean_shape = error_percent(train["points"].mean(0), test["points"])
  ratios = []
  for seed in range(3):
    inputs, targets = features(train, seed), train["points"].reshape(-1, 10)
    weights = np.linalg.lstsq(inputs, targets, rcond=None)[0]
    predicted = (features(test, seed) @ weights).reshape(-1, 5, 2)
    ratios.append(error_percent(predicted, test["points"]) / mean_shape)
  assert 0.8 < np.mean(ratios) < 1, ratios


@pytest.mark.parametrize(
  ("change", "word"),
  [
    ({"split": "validation"}, "validation"),
    ({"load_size": 20}, "load_size"),
    ({"n": 0}, "at least 1"),
  ],
)
def test_mistakes_are_named(change, word):
  """A wrong argument raises a UserError that names it."""
  arguments = {"split": "train", "n": 1, "image_size": 24, "load_size": 24}
  with pytest.raises(UserError, match=word):
    synthetic.dataset(0, **{**arguments, **change})


def test_points_are_those_of_the_pictures():
  """The pupils, which are black, lie where `points` has the eyes."""
  images = np.asarray(
    synthetic.Faces(4, split="test", n=30, image_size=64, load_size=64)
  )
  eyes = synthetic.posed(4, split="test", n=30)[1][:, :2]
  x, y = np.moveaxis(np.rint(((eyes + 1) * 64 - 1) / 2).astype(int), -1, 0)
  rows = np.arange(30)[:, None]
  assert images[rows, y, x].max() < 100
  # Where another face has them there is skin.
  assert images[rows[::-1], y, x].mean() > 120


def test_pictures_do_not_depend_on_when_they_are_drawn(monkeypatch):
  """Any order gives the same bytes; what is not asked for is not drawn."""
  expected, drawn = small_dataset("train")["images"], []
  draw = faces._draw

  def counted(key, indices, **options):
    drawn.extend(np.unique(indices))
    return draw(key, indices, **options)

  monkeypatch.setattr(faces, "_draw", counted)
  images = synthetic.Faces(
    3, split="train", n=700, image_size=24, load_size=30, batch=100
  )
  assert (images.shape, len(images)) == (expected.shape, 700)
  assert images.dtype == np.uint8
  assert not drawn
  order = np.random.default_rng(0).permutation(700)[:130]
  corner = np.s_[2:4, :5, 1]
  for index in (order[:7], order, slice(3, 9), 5, -1, [0, 0], corner):
    np.testing.assert_array_equal(images[index], expected[index])
  assert len(drawn) == len({*order, *range(2, 9), 699, 0})
  np.testing.assert_array_equal(np.asarray(images), expected)
  assert len(drawn) == 700
