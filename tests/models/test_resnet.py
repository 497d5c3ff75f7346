"""The backbone against torchvision's networks with random weights."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from c3_jax.models import dilation, resnet
from tests.reference import oracles, ported

RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(size=(1, 64, 64, 3)).astype("f4")
SMALL = {"stage_sizes": (1, 1, 1, 1), "width": 8, "stem": "small"}


def assert_equal_maps(got, want):
  """Largest error below 1e-4 of the largest activation, in every map."""
  assert got.keys() == want.keys()
  for name, w in want.items():
    assert got[name].shape == w.shape
    assert np.abs(w).max() > 0.1
    np.testing.assert_allclose(
      got[name], w, rtol=0, atol=1e-4 * np.abs(w).max(), err_msg=name
    )


@pytest.fixture(scope="module")
def state50():
  """State dict of a random ResNet-50, the same for every output stride."""
  torch.manual_seed(0)
  return oracles.resnet50().state_dict()


@pytest.mark.slow
@pytest.mark.parametrize(
  "output_stride, size",
  # 400 px have odd maps; a strip shows that for less work. All combinations
  # are in benchmarks/parity.py.
  [(32, (128, 128)), (16, (128, 128)), (8, (128, 128)), (16, (400, 48))],
)
def test_resnet50_equals_torchvision(state50, output_stride, size):
  """layer1 .. layer4 are torchvision's at every output stride."""
  model = oracles.resnet50(output_stride, state50)
  ours = resnet.ResNet(output_stride=output_stride, norm="frozen")
  images = RNG.uniform(size=(1, *size, 3)).astype("f4")
  got = ported.resnet_layers(ours, ported.resnet(model, ours), images)
  cells = [math.ceil(side / output_stride) for side in size]
  assert got["layer4"].shape == (1, *cells, 2048)
  assert_equal_maps(got, oracles.resnet_layers(model, images))


@pytest.mark.slow
def test_resnet18_equals_torchvision():
  """Basic blocks give torchvision's ResNet-18."""
  torch.manual_seed(1)
  model = oracles.torchvision_models().resnet18(weights=None).eval()
  oracles.randomise(model)
  ours = resnet.ResNet(stage_sizes=(2, 2, 2, 2), bottleneck=False)
  got = ported.resnet_layers(ours, ported.resnet(model, ours), IMAGES)
  assert_equal_maps(got, oracles.resnet_layers(model, IMAGES))


def block_variables(block):
  """Ours of one torchvision block, in its own precision."""
  leaves = {"running_mean": "mean", "running_var": "var", "bias": "bias"}
  layers = {"downsample.0": "downsample_conv", "downsample.1": "downsample_bn"}
  variables = {"params": {}, "batch_stats": {}}
  for name, value in oracles.numpy_state(block).items():
    layer, leaf = name.rsplit(".", 1)
    layer = layers.get(layer, layer)
    kind = "batch_stats" if leaf.startswith("running") else "params"
    if value.ndim == 4:
      leaf, value = "kernel", value.transpose(2, 3, 1, 0)
    if leaf != "num_batches_tracked":
      leaf = leaves.get(leaf, "scale" if leaf == "weight" else leaf)
      variables[kind].setdefault(layer, {})[leaf] = jnp.asarray(value)
  return variables


@pytest.mark.parametrize(
  "stride, dilated, train",
  [(2, 1, False), (2, 1, True), (1, 2, True), (1, 4, True)],
)
def test_block_in_double_precision(stride, dilated, train):
  """One bottleneck in float64 is torchvision's but for rounding."""
  torch.manual_seed(2)
  library = oracles.torchvision_models().resnet
  downsample = torch.nn.Sequential(
    torch.nn.Conv2d(16, 32, 1, stride, bias=False), torch.nn.BatchNorm2d(32)
  )
  block = library.Bottleneck(16, 8, stride, downsample, dilation=dilated)
  block = oracles.randomise(block.double()).eval()
  x = RNG.normal(size=(2, 13, 10, 16))
  with torch.no_grad():
    want = oracles.to_numpy(block(torch.tensor(x).permute(0, 3, 1, 2)))
  with jax.enable_x64(True):
    norm = resnet.make_norm("frozen", train=False, dtype=jnp.float64)
    ours = resnet.Block(8, True, stride, norm, jnp.float64, train)
    inside = dilation.inside(x.shape[1:3], dilated)
    folded = dilation.fold(jnp.asarray(x)[:, None, None], dilated)
    got = jax.jit(ours.apply)(block_variables(block), folded, inside)
    got = dilation.unfold(got, want.shape[1:3])
    assert got.dtype == jnp.float64
  scale = np.abs(want).max()
  np.testing.assert_allclose(got, want, rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize(
  "name, sizes, bottleneck",
  [("resnet50", (3, 4, 6, 3), True), ("resnet18", (2, 2, 2, 2), False)],
)
def test_parameters_are_torchvisions(name, sizes, bottleneck):
  """Names, shapes and number of variables are torchvision's without fc."""
  with torch.device("meta"):
    model = getattr(oracles.torchvision_models(), name)(weights=None)
  count = sum(
    p.numel() for n, p in model.named_parameters() if not n.startswith("fc.")
  )
  ours = resnet.ResNet(stage_sizes=sizes, bottleneck=bottleneck)
  variables = jax.eval_shape(ours.init, jax.random.key(0), IMAGES)
  params = jax.tree.leaves(variables["params"])
  assert sum(math.prod(p.shape) for p in params) == count
  assert {p.dtype for p in params} == {jnp.dtype("float32")}
  statistics = sum(
    b.numel() for n, b in model.named_buffers() if "running" in n
  )
  leaves = jax.tree.leaves(variables["batch_stats"])
  assert sum(math.prod(b.shape) for b in leaves) == statistics


def random_variables(module, images):
  """Variables drawn by NumPy: He kernels, random norms; no compilation."""
  rng = np.random.default_rng(2)

  def draw(path, x):
    kind = path[-1].key
    if kind == "kernel":
      std = (2 / math.prod(x.shape[:-1])) ** 0.5
      return rng.normal(0, std, x.shape).astype("f4")
    if kind in ("scale", "var"):
      return rng.uniform(0.5, 1.5, x.shape).astype("f4")
    return rng.normal(0, 0.2, x.shape).astype("f4")

  shapes = jax.eval_shape(module.init, jax.random.key(0), images)
  return jax.tree_util.tree_map_with_path(draw, shapes)


def test_dilated_maps_hold_the_strided_maps():
  """Every eighth cell of stride 4 is the map of stride 32, same weights."""
  sizes = {"stage_sizes": (1, 1, 2, 2), "width": 8}
  strided = resnet.ResNet(**sizes)
  dilated = resnet.ResNet(**sizes, output_stride=4)
  variables = random_variables(strided, IMAGES)
  want = jax.jit(strided.apply)(variables, IMAGES)
  got = jax.jit(dilated.apply)(variables, IMAGES)
  assert got[1].shape[1:3] == (16, 16) and want[1].shape[1:3] == (2, 2)
  held = {"layer3": got[0][:, ::4, ::4], "layer4": got[1][:, ::8, ::8]}
  assert_equal_maps(held, dict(zip(held, want, strict=True)))


@pytest.mark.parametrize(
  "kwargs, shapes",
  [
    ({}, [(4, 4, 128), (2, 2, 256)]),
    ({"bottleneck": False}, [(4, 4, 32), (2, 2, 64)]),
    (
      {"bottleneck": False, "widths": (8, 24, 24, 40), "output_stride": 4},
      [(8, 8, 24), (8, 8, 40)],
    ),
    ({"output_stride": 8}, [(4, 4, 128), (4, 4, 256)]),
    ({"output_stride": 2, "norm": "group"}, [(16, 16, 128), (16, 16, 256)]),
  ],
)
def test_small_stem_shapes(kwargs, shapes):
  """With the small stem layer1 has stride 2 and later ones double it."""
  module = resnet.ResNet(**SMALL | kwargs)
  (f3, f4), variables = jax.eval_shape(
    module.init_with_output, jax.random.key(0), IMAGES[:, :32, :32]
  )
  assert [f3.shape[1:], f4.shape[1:]] == shapes
  assert ("batch_stats" in variables) == (kwargs.get("norm") != "group")


@pytest.mark.parametrize("kwargs", [{"norm": "layer"}, {"stem": "large"}])
def test_unknown_choice_is_an_error(kwargs):
  """An unknown norm or stem is refused by its name."""
  (value,) = kwargs.values()
  with pytest.raises(ValueError, match=value):
    jax.eval_shape(
      resnet.ResNet(**SMALL | kwargs).init, jax.random.key(0), IMAGES
    )


def test_batch_statistics_do_not_depend_on_the_split_over_devices():
  """Four devices of one image standardise by the statistics of all four."""
  x = np.random.default_rng(3).normal(2, 3, (4, 3, 5, 8)).astype("f4")
  norm = resnet.make_norm("batch", train=True, dtype=jnp.float32)()
  stored = np.full(8, 7.0, "f4")
  variables = {
    "params": {"scale": np.ones(8, "f4"), "bias": np.zeros(8, "f4")},
    "batch_stats": {"mean": stored, "var": stored},
  }
  y, updates = jax.vmap(
    lambda x: norm.apply(variables, x, mutable=["batch_stats"]),
    axis_name="batch",
  )(x[:, None])
  mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
  want = (x - mean) / np.sqrt(var + 1e-5)
  np.testing.assert_allclose(y[:, 0], want, atol=1e-4)
  # torch's momentum of 0.1 is Flax's 0.9; all devices store the same.
  for name, value in (("mean", mean), ("var", var)):
    want = np.tile(0.9 * stored + 0.1 * value, (4, 1))
    np.testing.assert_allclose(updates["batch_stats"][name], want, rtol=1e-4)


@pytest.mark.parametrize("norm", ["batch", "frozen"])
def test_training_moves_the_statistics_unless_they_are_frozen(norm):
  """In training every layer's statistics move, or with "frozen" none."""
  module = resnet.ResNet(**SMALL, bottleneck=False, norm=norm)
  images = np.random.default_rng(4).uniform(size=(2, 16, 16, 3)).astype("f4")
  variables = random_variables(module, images)

  def statistics(images):
    _, updates = module.apply(
      variables, images, train=True, mutable=["batch_stats"]
    )
    return updates["batch_stats"]

  moved = jax.tree.map(
    lambda before, after: np.abs(after - before).max(),
    variables["batch_stats"],
    jax.jit(jax.vmap(statistics, axis_name="batch"))(images[None]),
  )
  if norm == "frozen":
    assert max(jax.tree.leaves(moved)) == 0
  else:
    assert min(jax.tree.leaves(moved)) > 1e-4


def test_group_norm_standardises_eight_channels_of_one_image():
  """Each group of 8 channels of each image has mean 0 and deviation 1."""
  x = np.random.default_rng(5).normal(2, 3, (2, 3, 5, 16)).astype("f4")
  norm = resnet.make_norm("group", train=True, dtype=jnp.float32)()
  ones = {"scale": np.ones(16, "f4"), "bias": np.zeros(16, "f4")}
  got = jax.jit(norm.apply)({"params": ones}, x)
  groups = x.reshape(2, 15, 2, 8)
  mean = groups.mean((1, 3), keepdims=True)
  want = (groups - mean) / groups.std((1, 3), keepdims=True)
  np.testing.assert_allclose(got, want.reshape(x.shape), atol=1e-4)


def test_half_precision_keeps_float32_parameters():
  """bfloat16 is the type of the maps, not of what is stored."""
  module = resnet.ResNet(**SMALL, dtype=jnp.bfloat16)
  maps, variables = jax.eval_shape(
    module.init_with_output, jax.random.key(0), IMAGES
  )
  assert {m.dtype for m in maps} == {jnp.dtype("bfloat16")}
  stored = {x.dtype for x in jax.tree.leaves(variables)}
  assert stored == {jnp.dtype("float32")}
