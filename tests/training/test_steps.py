"""Tests of the train step: devices, gradients, terms, what a stage moves.

Everything runs in float64. In float32 the four passes of stage `cycle` through
rectifiers turn rounding into per cents of the largest gradient, and nothing
could tell that from a missing average; in float64 rounding stays under 1e-11.
"""

import dataclasses
import functools
import types
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

from c3_jax.models import flow, initial, resnet
from c3_jax.models.c3 import Encoding
from c3_jax.models.extractors import Pose
from c3_jax.runtime import parallel
from c3_jax.training import augment, objectives, optim, steps
from c3_jax.training import setup as setup_lib
from c3_jax.training.state import enter, initial_state
from c3_jax.training.terms import (
  PERCEPTUAL,
  TERMS,
  flow_terms,
  natural_terms,
  views_terms,
)
from configs import folder, synthetic
from tests.reference import float64

# Compiling is most of the work; stage flow is the smallest.
STAGES = (
  pytest.param("pairs", marks=pytest.mark.slow),
  "flow",
  pytest.param("cycle", marks=pytest.mark.slow),
)
WEIGHTS = {
  "pairs": {
    "pairs": 1.0,
    "warp": 1.0,
    "apart": 0.5,
    "match": 0.5,
    "chain": 0.5,
  },
  "flow": {"flow": 1.0},
  "cycle": {
    "pairs": 1.0,
    "warp": 1.0,
    "apart": 0.5,
    "cycle": 1.0,
    "inv": 0.5,
    "equiv": 2.0,
  },
}
STEPS = 3
BATCH = 8
# A constant added to the logits of a softmax over space.
NO_GRADIENT = {"pose/maps/bias"}


@pytest.fixture(scope="module", autouse=True)
def in_float64():
  """Everything here is in float64."""
  with float64.program():
    yield


def recording(tx):
  """The transformation `tx` with the last gradient as a part of its state."""

  def update(gradients, state, params=None):
    updates, inner = tx.update(gradients, state[1], params)
    return updates, (gradients, inner)

  return optax.GradientTransformation(
    lambda params: (jax.tree.map(jnp.zeros_like, params), tx.init(params)),
    update,
  )


@functools.cache
def experiment():
  """(setup, stages by name, untrained state, frozen, batches)."""
  # Of all configurations, this has the most switches on.
  config = folder.get_config("test").unlock()
  config.model.dtype = float64.DTYPE
  # Compiling is most of the work: fewer layers.
  config.data.update({"image_size": 8, "load_size": 10})
  config.model.backbone.stage_sizes = (0, 0, 1, 1)
  config.model.backbone.output_stride = 2
  config.perceptual.taps = ("input", "conv1_2")
  setup = setup_lib.Setup.of(config)
  stages = {
    stage.name: dataclasses.replace(
      stage, tx=recording(stage.tx), weights=WEIGHTS[stage.name]
    )
    for stage in setup_lib.stages(config, 64)
  }
  rng = np.random.default_rng(0)
  noise = rng.integers(0, 256, (STEPS, BATCH, 5, 5, 3), np.uint8)
  side = (config.data.load_size,) * 2
  batches = [
    np.stack([Image.fromarray(x).resize(side, Image.BICUBIC) for x in batch])
    for batch in noise
  ]
  return (
    setup,
    stages,
    initial_state(config, setup.model),
    initial.perceptual(config, setup.vgg),
    batches,
  )


@dataclasses.dataclass
class Run:
  """What `STEPS` steps of a stage gave, one entry a step, as NumPy.

  Attributes:
    states: before the first step and after each.
    gradients: dict path -> array.
    metrics: dict name -> scalar.
  """

  states: list
  gradients: list
  metrics: list


def train(name, devices, count=STEPS, *, kind="pmap", **changes):
  """`count` steps of a stage, with changes, on the first `devices` devices."""
  setup, stages, state, frozen, batches = experiment()
  stage = dataclasses.replace(stages[name], **changes)
  devices = jax.local_devices()[:devices]
  state = enter(state.replace(step=np.int32(stage.start)), stage)
  state = jax.device_get(state)
  run = Run([state], [], [])
  state = parallel.replicate(state, devices=devices)
  frozen = parallel.replicate(frozen, devices=devices)
  step = parallel.parallel_step(
    functools.partial(steps.train_step, setup, stage),
    kind=kind,
    devices=devices,
  )
  for images in batches[:count]:
    batch = parallel.shard({"image": images}, devices=devices)
    state, metrics = step(state, frozen, batch)
    run.states.append(jax.device_get(state))
    run.gradients.append(run.states[-1].opt_state[0])
    run.metrics.append(jax.device_get(metrics))
  return run


@functools.cache
def on_one_device(name):
  """`train` of a stage on one device."""
  return train(name, 1)


def assert_same(a, b):
  """Two runs agree in gradients, metrics and all of the state."""
  for x, y in zip(a.gradients, b.gradients, strict=True):
    assert x.keys() == y.keys()
    largest = max(np.abs(gradient).max() for gradient in x.values())
    for path in x:
      np.testing.assert_allclose(
        x[path], y[path], rtol=0, atol=1e-9 * largest, err_msg=path
      )
  for x, y in zip(a.metrics, b.metrics, strict=True):
    assert x.keys() == y.keys()
    for key in x:
      np.testing.assert_allclose(x[key], y[key], rtol=1e-7, err_msg=key)
  for x, y in zip(a.states, b.states, strict=True):
    # Adam divides by the size of the gradient: 1e-3 of the learning rate for
    # the smallest of them.
    x, y = x.replace(opt_state=None), y.replace(opt_state=None)
    jax.tree.map(
      functools.partial(np.testing.assert_allclose, rtol=1e-6, atol=1e-6), x, y
    )


@pytest.mark.parametrize("name", STAGES)
def test_one_device_equals_four(name):
  """Gradients, metrics and all of the state do not depend on the devices."""
  assert_same(on_one_device(name), train(name, 4))


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_shard_map_is_pmap(name):
  """A step on four devices by shard_map is the one on one by pmap."""
  four = train(name, 4, count=1, kind="shard_map")
  one = on_one_device(name)
  one = Run(one.states[:2], one.gradients[:1], one.metrics[:1])
  assert_same(one, four)


@pytest.mark.slow
@pytest.mark.parametrize("name", STAGES)
def test_missing_mean_is_refused(name, monkeypatch):
  """Without the average over devices no stage passes shard_map's check."""
  monkeypatch.setattr(parallel, "mean", lambda tree: tree)
  with pytest.raises(ValueError, match="replicat"):
    train(name, 4, count=1, kind="shard_map")


@pytest.mark.slow
def test_missing_mean_shows(monkeypatch):
  """Nor does the comparison, where nothing checks: stage flow by pmap."""
  monkeypatch.setattr(parallel, "mean", lambda tree: tree)
  four = train("flow", 4, count=1)
  one = on_one_device("flow")
  one = Run(one.states[:2], one.gradients[:1], one.metrics[:1])
  with pytest.raises(AssertionError):
    assert_same(one, four)


@pytest.mark.slow
def test_missing_mean_in_batch_norm_shows(monkeypatch):
  """With batch norms that see their own device only, the comparison fails."""
  monkeypatch.setattr(
    resnet.nn,
    "BatchNorm",
    lambda axis_name, _layer=resnet.nn.BatchNorm, **options: _layer(**options),
  )
  four = train("pairs", 4, count=1)
  one = on_one_device("pairs")
  one = Run(one.states[:2], one.gradients[:1], one.metrics[:1])
  with pytest.raises(AssertionError):
    assert_same(one, four)


@pytest.mark.parametrize("name", STAGES)
def test_gradients_are_finite_and_reach_every_parameter(name):
  """No gradient is NaN, and only those that must be zero are zero."""
  _, stages, state, _, _ = experiment()
  moving, _ = optim.partition(state.params, stages[name].train)
  first = on_one_device(name).gradients[0]
  assert first.keys() == moving.keys()
  largest = max(np.abs(gradient).max() for gradient in first.values())
  for path, gradient in first.items():
    assert np.isfinite(gradient).all(), path
    dead = np.abs(gradient).max() < 1e-10 * largest
    assert dead == (path in NO_GRADIENT), path


@pytest.mark.parametrize("name", STAGES)
def test_stage_moves_its_own_parameters_only(name):
  """Frozen parameters stay bit by bit; all others move; so do statistics."""
  _, stages, _, _, _ = experiment()
  run = on_one_device(name)
  first, last = run.states[0], run.states[-1]
  prefixes = stages[name].train
  moved, fixed = optim.partition(last.params, prefixes)
  before, fixed_before = optim.partition(first.params, prefixes)
  assert fixed.keys() == fixed_before.keys() and fixed
  for path in fixed:
    np.testing.assert_array_equal(fixed[path], fixed_before[path], path)
  for path in moved.keys() - NO_GRADIENT:
    assert np.any(moved[path] != before[path]), path
  assert last.step == first.step + STEPS
  measured = [term for term in PERCEPTUAL if term in WEIGHTS[name]]
  same = [
    np.array_equal(x, y)
    for x, y in zip(
      *(
        jax.tree.leaves(
          (state.batch_stats, [state.running[term] for term in measured])
        )
        for state in (first, last)
      ),
      strict=True,
    )
  ]
  for term in set(PERCEPTUAL) - set(measured):
    assert first.running[term] == last.running[term]
  # The flow learns on the network as evaluation sees it.
  assert all(same) if name == "flow" else not any(same)


@pytest.mark.slow
def test_statistics_of_cycle_are_those_of_photographs():
  """Views, for L_warp and L_apart, do not count in stage cycle's statistics."""
  with_views = on_one_device("cycle").states[1].batch_stats
  alone = train("cycle", 1, count=1, weights={"cycle": 1.0})
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-7),
    with_views,
    alone.states[1].batch_stats,
  )


@pytest.mark.parametrize("name", STAGES)
def test_metrics_of_a_stage(name):
  """Metrics are the terms, their weighted sum, and what helps to read it."""
  setup, stages, _, _, _ = experiment()
  stage, run = stages[name], on_one_device(name)
  weights = WEIGHTS[name]
  expected = {"loss", "gradient_norm", "learning_rate", *weights}
  expected |= {
    f"raw_{term}_{tap}"
    for term in PERCEPTUAL
    if term in weights
    for tap in setup.vgg.taps
  }
  for i, metrics in enumerate(run.metrics):
    assert metrics.keys() == expected
    assert np.isfinite(list(metrics.values())).all()
    total = sum(weight * metrics[term] for term, weight in weights.items())
    np.testing.assert_allclose(metrics["loss"], total)
    square = sum(np.sum(g**2) for g in run.gradients[i].values())
    np.testing.assert_allclose(metrics["gradient_norm"], np.sqrt(square))
    np.testing.assert_allclose(metrics["learning_rate"], stage.rate(i))


@pytest.mark.slow
@pytest.mark.parametrize(
  "name, term", [("pairs", "pairs"), ("cycle", "pairs"), ("cycle", "cycle")]
)
def test_perceptual_distance_is_divided_by_its_running_mean(name, term):
  """P is the mean over taps of distance / running mean, started by step 1.

  Each term has running means of its own, also where a stage has both terms.
  """
  setup, _, _, _, _ = experiment()
  run, running = on_one_device(name), None
  for state, metrics in zip(run.states[1:], run.metrics, strict=True):
    raw = np.array([metrics[f"raw_{term}_{tap}"] for tap in setup.vgg.taps])
    running = raw if running is None else 0.99 * running + 0.01 * raw
    np.testing.assert_allclose(
      [state.running[term][tap] for tap in setup.vgg.taps], running
    )
    # Twice: a pair has two images.
    np.testing.assert_allclose(metrics[term], 2 * np.mean(raw / running))


def traced_terms(stage):
  """Names of the terms that a step of a stage computes; nothing runs."""
  setup, _, state, frozen, batches = experiment()
  step = parallel.pmap_step(
    functools.partial(steps.train_step, setup, stage),
    devices=jax.local_devices()[:1],
  )
  batch = {"image": batches[0][None]}
  _, metrics = jax.eval_shape(step, enter(state, stage), frozen, batch)
  return metrics.keys() & set(TERMS)


# The small configurations add these to stages pairs and cycle.
ADDED = {"warp", "apart"}


@pytest.mark.slow
@pytest.mark.parametrize("with_cycle", [0, 1])
@pytest.mark.parametrize("with_flow", [0, 1])
def test_terms_of_table_2(with_cycle, with_flow):
  """Each cell has its own terms in the third stage.

  That all cells share the other stages is in tests/commands/test_configs.py.
  """
  config = synthetic.get_config(f"test,cycle={with_cycle},flow={with_flow}")
  last = setup_lib.stages(config, 64)[-1]
  assert last.name == "cycle"
  # The smallest network keeps L_pairs beside L_cycle.
  third = {"pairs", "cycle", "inv"} if with_cycle else {"pairs"}
  expected = third | ADDED | ({"equiv"} if with_flow else set())
  assert traced_terms(last) == expected


@pytest.mark.slow
def test_terms_before_the_third_stage():
  """Stage pairs has L_pairs and what is added to it, stage flow L_flow."""
  pairs, flow_, _ = setup_lib.stages(synthetic.get_config("test"), 64)
  assert traced_terms(pairs) == {"pairs"} | ADDED
  assert traced_terms(flow_) == {"flow"}


# How the terms are put together, on linear networks of 4 x 4 images and
# 2 x 2 maps. Every call of a network has matrices of its own.

CHANNELS, K = 3, 4


def matrices(seed=0):
  """dict network -> list of the matrices of its calls."""
  rng = np.random.default_rng(seed)
  inside = 4 * (CHANNELS + K)
  return {
    "encode": [rng.normal(size=(48, inside)) for _ in range(2)],
    "decode": [rng.normal(size=(inside, 48)) for _ in range(2)],
  }


def points_of(maps):
  """Landmarks [n, K, 2] of maps [n, 2, 2, K]: any function of them will do."""
  return maps[:, 0].swapaxes(1, 2)


def split(x):
  """(appearance, maps) of [n, inside]."""
  x = x.reshape(len(x), 2, 2, CHANNELS + K)
  return x[..., :CHANNELS], x[..., CHANNELS:]


class LinearNetworks:
  """Stands for `networks.Networks`."""

  def __init__(self, params):
    self.params, self.calls = params, Counter()

  def __call__(self, batch_stats, method, *args, train=False):
    if callable(method):
      model = types.SimpleNamespace(
        appearance=lambda f, train: split(f)[0],
        pose=lambda f: Pose(points_of(split(f)[1]), split(f)[1], None),
      )
      return method(model, *args), batch_stats
    return getattr(self, method)(*args), batch_stats

  def _apply(self, name, x):
    call = self.calls[name]
    self.calls[name] += 1
    return x.reshape(len(x), -1) @ self.params[name][call]

  def features(self, images):
    f = self._apply("encode", images)
    return split(f)[0], f

  def encode(self, images):
    features, f = self.features(images)
    a, maps = split(f)
    return Encoding(a, Pose(None, maps, None), features)

  def decode(self, a, p):
    x = jnp.concatenate([a, p], -1)
    return self._apply("decode", x).reshape(-1, 4, 4, 3)

  def match(self, fi, fj):
    return flow.correlation(fi, fj)


def plain_setup(**options):
  """A `Setup` without networks: images of 4 px, seen as they are."""
  augmentation = augment.Augmentation(target={}, source={})
  return setup_lib.Setup(None, None, 4, 0, augmentation, **options)


# A state has nothing that linear networks need.
STATE = types.SimpleNamespace(
  batch_stats={}, running={"pairs": {}, "cycle": {}}
)


def mean_square(target, output, running, mask=1.0):
  """Stands for `networks.Perceptual`: the mean of mask * difference squared."""
  return jnp.mean(mask * (target - output) ** 2), running, {}


def weights_of(*names):
  """Weights of all terms, 1 for those named."""
  return {name: float(name in names) for name in TERMS}


def square(x, y):
  """A distance of images."""
  return np.mean((np.asarray(x) - np.asarray(y)) ** 2)


def pose_square(p, q):
  """Squared error of [2, 2, K] maps: mean over space, sum over K."""
  return sum(square(p[..., k], q[..., k]) for k in range(K))


def correlation(fi, fj):
  """C[cell of i, cell of j] of two [2, 2, c] maps, in loops."""
  unit = [
    [cell / np.linalg.norm(cell) for cell in np.asarray(f).reshape(4, -1)]
    for f in (fi, fj)
  ]
  return np.array([[x @ y for y in unit[1]] for x in unit[0]])


def carried(maps, matches):
  """Reads [2, 2, K] maps at the cell that each cell of the other matches."""
  return np.asarray(maps).reshape(4, K)[matches].reshape(2, 2, K)


def equivariance(p_i, p_j, f_i, f_j):
  """Eq. 4 of one pair."""
  c = correlation(f_i, f_j)
  to_i = pose_square(p_i, carried(p_j, c.argmax(1)))
  to_j = pose_square(p_j, carried(p_i, c.argmax(0)))
  return to_i + to_j


def test_natural_terms_are_the_equations():
  """L_cycle, L_inv, L_equiv equal Eq. 1, 2, 4 written out for each pair."""
  images = np.random.default_rng(1).uniform(size=(6, 4, 4, 3))
  params = matrices()

  def encode(call, image):
    (a,), (p,) = split((image.ravel() @ params["encode"][call])[None])
    return a, p

  def decode(call, a, p):
    x = np.concatenate([a, p], -1).ravel()
    return (x @ params["decode"][call]).reshape(4, 4, 3)

  expected = np.zeros(3)
  for i, j in ((0, 1), (2, 3), (4, 5)):
    a_i, p_i = encode(0, images[i])
    a_j, p_j = encode(0, images[j])
    a_ij, p_ij = encode(1, decode(0, a_i, p_j))
    a_ji, p_ji = encode(1, decode(0, a_j, p_i))
    expected += [
      square(images[i], decode(1, a_ij, p_ji))
      + square(images[j], decode(1, a_ji, p_ij)),
      pose_square(p_ji, p_i) + pose_square(p_ij, p_j),
      equivariance(p_i, p_j, a_i, a_j),
    ]
  terms = natural_terms(
    plain_setup(),
    weights_of("cycle", "inv", "equiv"),
    LinearNetworks(params),
    mean_square,
    STATE,
    images,
  ).terms
  found = [terms[name] for name in ("cycle", "inv", "equiv")]
  np.testing.assert_allclose(found, expected / 3, rtol=1e-5)


def gradients_of(term, **options):
  """Gradient of a natural term in the matrices of every call."""
  images = np.random.default_rng(1).uniform(size=(4, 4, 4, 3))

  def loss(params):
    return natural_terms(
      plain_setup(**options),
      weights_of("cycle", "inv"),
      LinearNetworks(params),
      mean_square,
      STATE,
      images,
    ).terms[term]

  return jax.device_get(jax.jit(jax.grad(loss))(matrices()))


def test_no_gradient_through_the_first_swap():
  """L_cycle sees the swapped images as constants, unless it is told not to."""
  stopped = gradients_of("cycle")
  assert not np.any(stopped["encode"][0]) and not np.any(stopped["decode"][0])
  assert np.any(stopped["encode"][1]) and np.any(stopped["decode"][1])
  through = gradients_of("cycle", stop_gradient=False)
  assert np.any(through["encode"][0]) and np.any(through["decode"][0])
  # The second pass has the same gradient either way.
  for name in stopped:
    np.testing.assert_allclose(stopped[name][1], through[name][1])
  # L_inv reaches E_p of the images, but not the first decoder.
  inv = gradients_of("inv")
  assert np.any(inv["encode"][0]) and not np.any(inv["decode"][0])


def test_views_terms_are_the_equations(monkeypatch):
  """L_pairs draws the target from the source's a; L_equiv is Eq. 4.

  L_warp compares the target's landmarks with the source's under the warp.
  """
  rng = np.random.default_rng(2)
  target, source = rng.uniform(size=(2, 4, 4, 4, 3))
  mask = rng.uniform(size=(4, 4, 4, 1))
  matrix = rng.normal(size=(4, 2, 3))
  warps = augment.RandomWarp(matrix, np.zeros((4, 16, 2)))
  monkeypatch.setattr(
    "c3_jax.training.terms.synthetic_views",
    lambda *_: (target, source, mask, warps),
  )
  params = matrices()
  pairs, equiv, warp = 0.0, 0.0, 0.0
  for i, (view, other, weight) in enumerate(
    zip(target, source, mask, strict=True)
  ):
    a_view, p_view = split((view.ravel() @ params["encode"][0])[None])
    a_other, p_other = split((other.ravel() @ params["encode"][0])[None])
    x = np.concatenate([a_other, p_view], -1).ravel()
    drawn = (x @ params["decode"][0]).reshape(4, 4, 3)
    pairs += 2 * np.mean(weight * (view - drawn) ** 2) / 4
    equiv += equivariance(p_view[0], p_other[0], a_view[0], a_other[0]) / 4
    for x, y in zip(points_of(p_view)[0], points_of(p_other)[0], strict=True):
      moved = matrix[i, :, :2] @ y + matrix[i, :, 2]
      warp += 2 * np.sum((x - moved) ** 2) / 4
  terms = views_terms(
    plain_setup(),
    weights_of("pairs", "equiv", "warp"),
    LinearNetworks(params),
    mean_square,
    STATE,
    target,
    (None, None),
  ).terms
  np.testing.assert_allclose(terms["pairs"], pairs)
  np.testing.assert_allclose(terms["equiv"], equiv, rtol=1e-5)
  np.testing.assert_allclose(terms["warp"], warp, rtol=1e-5)


def match_score(c):
  """Mean probability of the best match over the cells of i and of j."""
  e = np.exp(c)
  to_j = (e / e.sum(0)).max(0).mean()
  to_i = (e / e.sum(1, keepdims=True)).max(1).mean()
  return (to_i + to_j) / 2


@pytest.mark.parametrize("natural", [False, True])
def test_flow_terms_are_the_equations(natural, monkeypatch):
  """Positives and negatives of L_flow are those the docstring names."""
  rng = np.random.default_rng(3)
  images, source = rng.uniform(size=(2, 8, 4, 4, 3))
  monkeypatch.setattr(
    "c3_jax.training.terms.synthetic_views",
    lambda *_: (images, source, None, None),
  )
  net = LinearNetworks(matrices())
  f, g = (
    split(x.reshape(8, -1) @ net.params["encode"][0])[0]
    for x in (images, source)
  )
  if natural:
    positive = [(f[i], f[i + 1]) for i in (0, 2, 4, 6)]
    negative = [(f[i], f[j]) for i, j in ((0, 3), (2, 1), (4, 7), (6, 5))]
  else:
    partners = (1, 0, 3, 2, 5, 4, 7, 6)
    positive = [(f[i], g[i]) for i in range(8)]
    negative = [(f[i], g[j]) for i, j in enumerate(partners)]
  score = lambda pairs: np.mean(  # noqa: E731
    [match_score(correlation(x, y)) for x, y in pairs]
  )
  setup = plain_setup(natural_positives=natural)
  terms = flow_terms(setup, net, {}, images, None)
  np.testing.assert_allclose(
    terms["flow"], score(negative) - score(positive), rtol=1e-5
  )


def test_equivariance_without_gradient_through_hard_flow():
  """f' gets a gradient from L_equiv with soft T only, the maps always."""
  images = np.random.default_rng(4).uniform(size=(4, 4, 4, 3))

  def gradient(hard_flow):
    def loss(params):
      return natural_terms(
        plain_setup(hard_flow=hard_flow),
        weights_of("equiv"),
        LinearNetworks(params),
        lambda target, output, running: (0.0, running, {}),
        STATE,
        images,
      ).terms["equiv"]

    encode = jax.jit(jax.grad(loss))(matrices())["encode"][0]
    # The columns of f' (here: of a) and of the maps.
    return split(np.asarray(encode))

  f_hard, maps_hard = gradient(True)
  f_soft, maps_soft = gradient(False)
  assert not np.any(f_hard) and np.any(f_soft)
  assert np.any(maps_hard) and np.any(maps_soft)


def test_weights_of_zero_are_left_out_of_the_sum():
  """`total` is the weighted sum of the terms there are."""
  terms = {"cycle": 2.0, "inv": 3.0}
  assert objectives.total(terms, {"cycle": 0.5, "inv": 2.0, "flow": 9.0}) == 7.0
