"""Random warps: IMM's table, the composition of views, the border mask."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from c3_jax import geometry
from c3_jax.training import augment

KEY = jax.random.key(0)
NONE = dict.fromkeys(
  ["rotation", "scale", "shift", "warp_all", "warp_half"], 0.0
)
AFFINE = NONE | {"rotation": 5.0, "scale": 0.1, "shift": 0.1}
POINTS = {"control_points": 4}
SIZE, LOADED = 16, 24


# The tables are traced, so that all tests share one compilation.
@jax.jit
def jitted_draw(keys, table):
  """One `sample_warp` a key."""
  return jax.vmap(lambda key: augment.sample_warp(key, **table, **POINTS))(keys)


@jax.jit
def jitted_pairs(keys, images, target, source, margin):
  """`warped_pairs` in the frame of this file."""
  return augment.warped_pairs(
    keys,
    images,
    SIZE,
    target=target | POINTS,
    source=source | POINTS,
    margin=margin,
  )


@jax.jit
def jitted_imm(keys, images, target):
  """`warped_pairs` under IMM's mask."""
  tables = {"target": target | POINTS, "source": NONE | POINTS}
  return augment.warped_pairs(
    keys, images, SIZE, **tables, margin=0.15, mask="imm"
  )


@jax.jit
def jitted_images(keys, images, table):
  """`warp_images` in the frame of this file."""
  return augment.warp_images(keys, images, SIZE, table | POINTS)


def draw(**table):
  """4000 warps of the table NONE | table: (matrices, weights)."""
  warps = jitted_draw(jax.random.split(KEY, 4000), NONE | table)
  return np.asarray(warps.matrix, float), np.asarray(warps.weights, float)


def ramp(size=LOADED):
  """Four images whose channels are the coordinates in the model frame."""
  image = geometry.grid(size, size) * (size / SIZE)
  return jnp.broadcast_to(image, (4, size, size, 2))


def pairs(images, target, source, margin=0.15, order=slice(None)):
  """Both views and the mask of four images; the same keys at each call."""
  keys = jax.random.split(KEY, 4)[order]
  views = jitted_pairs(keys, images, NONE | target, NONE | source, margin)
  return [np.asarray(view) for view in views[:3]]


def fit_affine(view):
  """The matrix [2, 3] that a warped ramp [s, s, 2] shows, and its residual.

  Only of pixels that the border did not clip.
  """
  edge = LOADED / SIZE - 1.5 / SIZE
  inside = (np.abs(view) < edge).all(-1)
  assert inside.mean() > 0.1
  points = np.asarray(geometry.grid(SIZE, SIZE))[inside]
  design = np.concatenate([points, np.ones((len(points), 1))], 1)
  matrix, *_ = np.linalg.lstsq(design, view[inside], rcond=None)
  return matrix.T, np.abs(design @ matrix - view[inside]).max()


def test_random_warp_agrees_with_loops():
  """A warp is A (x, y, 1) + sum w U, U = r^2 log r^2, controls edge to edge."""
  rng = np.random.default_rng(0)
  matrix, weights = rng.normal(size=(2, 3)), rng.normal(0, 0.1, (16, 2))
  one = augment.RandomWarp(*(jnp.array(x, "f4") for x in (matrix, weights)))
  coords = rng.uniform(-1.3, 1.3, (2, 3, 2))
  coords[0, 0] = [1 / 3, -1.0]  # A control point.
  got = jax.jit(lambda x: one(x))(coords.astype("f4"))
  for i in np.ndindex(2, 3):
    x, y = coords[i]
    want = [m[0] * x + m[1] * y + m[2] for m in matrix]
    for row in range(4):
      for column in range(4):
        dx, dy = x - (2 * column / 3 - 1), y - (2 * row / 3 - 1)
        r2 = dx * dx + dy * dy
        kernel = r2 * math.log(r2) if r2 > 1e-12 else 0.0
        for axis in range(2):
          want[axis] += weights[4 * row + column, axis] * kernel
    np.testing.assert_allclose(got[i], want, atol=1e-5)


def test_number_of_control_points_is_the_side_of_their_grid():
  """IMM's 10 x 10 control points are the default."""
  shapes = [
    jax.eval_shape(lambda table=table: augment.sample_warp(KEY, **table))
    for table in (NONE, NONE | POINTS)
  ]
  assert [shape.weights.shape for shape in shapes] == [(100, 2), (16, 2)]


def test_affine_part_respects_the_table():
  """Rotation (degrees), scale and shifts are independent and normal."""
  matrix, _ = draw(rotation=5.0, scale=0.1, shift=0.2)
  angle = np.rad2deg(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
  scale = np.sqrt(np.linalg.det(matrix[:, :, :2]))
  # A scaled rotation, nothing else.
  np.testing.assert_allclose(matrix[:, 0, 0], matrix[:, 1, 1], atol=1e-6)
  np.testing.assert_allclose(matrix[:, 0, 1], -matrix[:, 1, 0], atol=1e-6)
  values = np.stack([angle, scale, matrix[:, 0, 2], matrix[:, 1, 2]])
  sd = np.array([5, 0.1, 0.2, 0.2])
  # 4000 draws: a mean is known to sd / 63, an sd to 1.1 %; 4 of these.
  assert (np.abs(values.mean(1) - [0, 1, 0, 0]) < 4 * sd / 63).all()
  np.testing.assert_allclose(values.std(1), sd, rtol=0.045)
  assert np.abs(np.corrcoef(values) - np.eye(4)).max() < 4 / 63
  normalised = (values - values.mean(1, keepdims=True)) / sd[:, None]
  np.testing.assert_allclose((normalised**4).mean(1), 3, atol=0.7)


def test_second_level_moves_a_random_half_of_the_weights():
  """Half of the second-level weights are 0, x and y apart; the rest normal."""
  _, weights = draw(warp_half=0.01)
  moved = weights != 0
  count = moved.size
  assert abs(moved.mean() - 0.5) < 4 * 0.5 / count**0.5
  np.testing.assert_allclose(weights[moved].std(), 0.01, rtol=0.02)
  assert abs(weights[moved].mean()) < 4 * 0.01 / moved.sum() ** 0.5
  # One axis says nothing about the other, nor one warp about the next.
  both = moved.all(-1).mean()
  assert abs(both - 0.25) < 4 * (0.25 * 0.75 / (count / 2)) ** 0.5
  assert abs(moved.mean(0) - 0.5).max() < 4.5 * 0.5 / 4000**0.5


def test_first_level_moves_all_weights_and_adds_to_the_second():
  """Both levels together have variance all^2 + half^2 / 2."""
  _, weights = draw(warp_all=0.003)
  assert (weights != 0).mean() > 0.9999
  np.testing.assert_allclose(weights.std(), 0.003, rtol=0.02)
  _, weights = draw(warp_all=0.003, warp_half=0.01)
  want = (0.003**2 + 0.01**2 / 2) ** 0.5
  np.testing.assert_allclose(weights.std(), want, rtol=0.02)


def test_warp_of_zero_deviations_is_the_identity():
  """A table of zeros moves nothing."""
  matrix, weights = draw()
  np.testing.assert_array_equal(matrix, np.tile(np.eye(2, 3), (4000, 1, 1)))
  np.testing.assert_array_equal(weights, 0)


def test_affine_views_compose_exactly_on_a_ramp():
  """Target = image o T and source = image o T o S: S acts on the target."""
  images = ramp()
  target_alone = pairs(images, AFFINE, {})[0]
  source_alone = pairs(images, {}, AFFINE)[1]
  targets, sources, _ = pairs(images, AFFINE, AFFINE)
  np.testing.assert_allclose(targets, target_alone, atol=1e-6)
  for target, source, alone in zip(targets, sources, source_alone):
    (t, *_), (s, *_), (got, *_) = fits = [
      fit_affine(view) for view in (target, alone, source)
    ]
    assert max(residual for _, residual in fits) < 1e-5
    # The matrix [2, 3] of "first `inner`, then `outer`".
    compose = lambda outer, inner: outer @ np.vstack([inner, [0, 0, 1]])  # noqa: E731
    np.testing.assert_allclose(got, compose(t, s), atol=1e-5)
    # The two do not commute, or the order would not show,
    assert np.abs(compose(t, s) - compose(s, t)).max() > 1e-3
    # and are two different draws, though the tables are the same.
    assert np.abs(t - s).max() > 1e-2


def test_source_is_the_warped_target_on_a_smooth_picture():
  """With splines too, the source view is the target view read at S."""
  table = AFFINE | {"warp_all": 0.001, "warp_half": 0.02}
  at = ramp()
  smooth = lambda x: np.stack(  # noqa: E731
    [np.sin(x[..., 0] + 1) * np.cos(1.5 * x[..., 1] - 1), x[..., 1] ** 2], -1
  )
  targets, sources, _ = pairs(jnp.array(smooth(at)), table, table)
  _, at_source, _ = pairs(at, table, table)
  _, at_s, _ = pairs(at, {}, table)
  for i in range(4):
    inside = np.abs(at_source[i]).max(-1) < 1.4
    np.testing.assert_allclose(
      sources[i][inside], smooth(at_source[i])[inside], atol=0.01
    )
    pixels = (at_s[i] + 1) * SIZE / 2 - 0.5
    inside &= (np.abs(at_s[i]) < 1 - 1 / SIZE).all(-1)
    assert inside.mean() > 0.5
    read = [
      map_coordinates(channel, pixels.transpose(2, 0, 1)[::-1], order=1)
      for channel in targets[i].transpose(2, 0, 1)
    ]
    np.testing.assert_allclose(
      np.stack(read, -1)[inside], sources[i][inside], atol=0.02
    )
    assert np.abs(targets[i] - sources[i])[inside].max() > 0.05


def test_source_warp_says_which_point_of_the_target_the_source_shows():
  """A ramp seen by the identity target shows where the source warp goes."""
  table = AFFINE | {"warp_half": 0.02}
  keys = jax.random.split(KEY, 4)
  *_, warps = jitted_pairs(keys, ramp(), NONE, NONE | table, 0.15)
  _, shown, _ = pairs(ramp(), {}, table)
  grid = geometry.grid(SIZE, SIZE)
  told = np.asarray(jax.vmap(lambda warp: warp(grid))(warps))
  inside = np.abs(told) < LOADED / SIZE - 1.5 / SIZE
  assert inside.mean() > 0.8
  np.testing.assert_allclose(told[inside], shown[inside], atol=1e-5)
  assert np.abs(told - grid).max() > 0.1


def test_mask_follows_the_border_of_the_picture_through_the_target_warp():
  """The mask is the clipped distance of T(x) to the image's border."""
  far, margin = NONE | {"shift": 0.6, "rotation": 20.0}, 0.3
  targets, _, masks = pairs(ramp(), far, AFFINE, margin)
  assert masks.shape == (4, SIZE, SIZE, 1)
  assert masks.min() == 0 and masks.max() == 1
  grid = np.asarray(geometry.grid(SIZE, SIZE))
  for target, mask in zip(targets, masks[..., 0]):
    matrix, _ = fit_affine(target)
    for i in np.ndindex(SIZE, SIZE):
      x, y = matrix @ [*grid[i], 1]
      depth = LOADED / SIZE - max(abs(x), abs(y))
      want = min(max(depth / margin, 0), 1)
      np.testing.assert_allclose(mask[i], want, atol=1e-4)


def test_border_mask_is_zero_outside_and_one_deep_inside():
  """Half a margin inside the border weighs a half, the outside nothing."""
  coords = [[0, 0], [1.1, 0], [1.15, -0.2], [0.3, 1.2], [-1.3, 0], [9, 9]]
  got = augment.border_mask(jnp.array(coords), extent=1.2, margin=0.1)
  np.testing.assert_allclose(got, [1, 1, 0.5, 0, 0, 0], atol=1e-5)


@pytest.mark.parametrize("size", [128, 64])
def test_mask_of_imm_equals_its_formula(size):
  """Nothing in the outer 10 px of 128, tanh over 20, both axes multiplied."""
  step = 0.5 + 0.5 * np.tanh(np.linspace(-1, 1, 20) / 0.4)
  start = np.concatenate([np.zeros(10), step])
  strip = np.concatenate([start, np.ones(128 - 60), start[::-1]])
  want = strip[:, None] * strip
  # A cell of a smaller map lies between two of IMM's.
  n = 128 // size
  want = want.reshape(size, n, size, n).mean((1, 3))
  got = augment.imm_mask(geometry.grid(size, size))
  np.testing.assert_allclose(got, want, atol=1e-6)
  assert abs(got.mean() - 0.47) < 0.01


def test_mask_of_imm_is_of_the_frame_and_moves_with_the_target_warp():
  """It weighs where the target shows the frame, whatever was loaded."""
  images, keys = ramp(), jax.random.split(KEY, 4)
  far = NONE | {"shift": 0.3, "rotation": 20.0}
  for table in (NONE, far):
    targets, _, masks, _ = jitted_imm(keys, images, table)
    assert masks.shape == (4, SIZE, SIZE, 1)
    for target, mask in zip(np.asarray(targets), masks[..., 0]):
      matrix, _ = fit_affine(target)
      at = np.asarray(geometry.grid(SIZE, SIZE)) @ matrix[:, :2].T
      pixels = (at + matrix[:, 2] + 1) * 64 - 0.5
      strips = np.interp(pixels, np.arange(128), augment.IMM_STRIP, 0, 0)
      np.testing.assert_allclose(mask, strips.prod(-1), atol=1e-4)
      outside = (np.abs(target) > 1 - 19 / 128).any(-1)
      assert not mask[outside].any() and mask.max() > 0.9


def test_example_keys_do_not_depend_on_the_split_over_devices():
  """Four devices of two examples draw the keys of one device of eight."""
  step = jnp.array(7)
  whole = augment.example_keys(KEY, step, 8, 0)
  parts = [augment.example_keys(KEY, step, 2, 2 * i) for i in range(4)]
  np.testing.assert_array_equal(
    jax.random.key_data(whole),
    np.concatenate([jax.random.key_data(part) for part in parts]),
  )


def test_example_keys_are_all_different():
  """No two examples, steps or seeds share a key."""
  keys = [
    jax.random.key_data(augment.example_keys(jax.random.key(seed), step, 16, 0))
    for seed in range(3)
    for step in range(3)
  ]
  rows = np.concatenate(keys)
  assert len(np.unique(rows, axis=0)) == 3 * 3 * 16


def test_a_view_depends_on_its_own_key_and_picture_only():
  """An example's views are the same whatever else is in the batch."""
  rng = np.random.default_rng(1)
  images = jnp.array(rng.uniform(size=(4, LOADED, LOADED, 2)), "f4")
  table = AFFINE | {"warp_half": 0.01}
  order = np.array([2, 0, 0, 3])
  some = pairs(images[order], table, table, order=order)
  for all_views, some_views in zip(pairs(images, table, table), some):
    np.testing.assert_allclose(some_views, all_views[order], atol=1e-6)


def test_warp_images_shows_each_picture_through_its_own_warp():
  """A ramp shows another scaled rotation for every key."""
  views = jitted_images(jax.random.split(KEY, 4), ramp(), AFFINE)
  assert views.shape == (4, SIZE, SIZE, 2)
  matrices = []
  for view in np.asarray(views):
    matrix, residual = fit_affine(view)
    assert residual < 1e-5
    np.testing.assert_allclose(matrix[0, 0], matrix[1, 1], atol=1e-5)
    matrices.append(matrix)
  assert np.ptp(matrices, axis=0)[:, 2].min() > 1e-2


def test_centre_crop_is_the_view_of_no_warp():
  """The identity warp shows the pixels of the crop, in both views."""
  rng = np.random.default_rng(3)
  images = jnp.array(rng.uniform(size=(4, LOADED, LOADED, 2)), "f4")
  crop = geometry.centre_crop(images, SIZE)
  views = jitted_images(jax.random.split(KEY, 4), images, NONE)
  np.testing.assert_allclose(views, crop, atol=1e-5)
  target, source, mask = pairs(images, {}, {})
  np.testing.assert_allclose(target, crop, atol=1e-5)
  np.testing.assert_allclose(source, crop, atol=1e-5)
  np.testing.assert_array_equal(mask, 1)


def test_recolour_is_an_affine_map_of_the_colours():
  """Each image has its own map, near the identity for a small strength."""
  images = jax.random.uniform(jax.random.key(0), (3, 8, 8, 3))
  keys = jax.random.split(jax.random.key(1), 3)
  out = np.asarray(augment.recolour(keys, images, 0.3))
  fits = []
  for before, after in zip(np.asarray(images), out, strict=True):
    design = np.c_[before.reshape(-1, 3), np.ones(64)]
    fit, *_ = np.linalg.lstsq(design, after.reshape(-1, 3), rcond=None)
    np.testing.assert_allclose(design @ fit, after.reshape(-1, 3), atol=1e-5)
    fits.append(fit)
  assert np.abs(fits[0] - fits[1]).max() > 0.05
  same = augment.recolour(keys, images, 0.0)
  np.testing.assert_allclose(same, images, atol=1e-6)
