"""The backbone against torchvision's networks with random weights."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from c3_jax.models import resnet

IMAGES = np.random.default_rng(0).uniform(size=(1, 64, 64, 3)).astype("f4")
SMALL = {"stage_sizes": (1, 1, 1, 1), "width": 8, "stem": "small"}


def randomise(model):
  """Gives batch norms statistics and weights that a test can see."""
  for module in model.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      torch.nn.init.uniform_(module.weight, 0.5, 1.5)
      torch.nn.init.normal_(module.bias, std=0.2)
      torch.nn.init.normal_(module.running_mean, std=0.2)
      torch.nn.init.uniform_(module.running_var, 0.5, 1.5)


def variables_of(model):
  """torchvision's state under our names: {params, batch_stats}, flat paths."""
  leaves = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
  }
  variables = {"params": {}, "batch_stats": {}}
  for name, value in model.state_dict().items():
    if name.startswith("fc.") or name.endswith("num_batches_tracked"):
      continue
    module, kind = name.rsplit(".", 1)
    module = re.sub(r"^(layer\d)\.(\d+)\.", r"\1_\2/", module)
    module = module.replace("downsample.0", "downsample_conv")
    module = module.replace("downsample.1", "downsample_bn")
    collection, leaf = leaves[kind]
    if value.ndim == 4:
      leaf, value = "kernel", value.permute(2, 3, 1, 0)
    node = variables[collection]
    for part in module.split("/"):
      node = node.setdefault(part, {})
    node[leaf] = value.numpy()
  return variables


def torch_maps(model, images):
  """Outputs of torchvision's layer3 and layer4: [b, h, w, c] each."""
  mean = np.array([0.485, 0.456, 0.406], "f4")
  std = np.array([0.229, 0.224, 0.225], "f4")
  x = torch.tensor((images - mean) / std).permute(0, 3, 1, 2)
  maps = []
  for layer in (model.layer3, model.layer4):
    layer.register_forward_hook(lambda module, args, out: maps.append(out))
  with torch.no_grad():
    model.eval()(x)
  return [m.permute(0, 2, 3, 1).numpy() for m in maps]


def assert_equal_maps(got, want):
  """Largest error below 1e-4 of the largest activation."""
  for g, w in zip(got, want, strict=True):
    assert g.shape == w.shape
    assert np.abs(w).max() > 0.1
    np.testing.assert_allclose(g, w, rtol=0, atol=1e-4 * np.abs(w).max())


@pytest.fixture(scope="module")
def resnet50(torchvision_models):
  """Output stride -> torchvision's ResNet-50 of it, one set of weights."""
  torch.manual_seed(0)
  state = None

  def make(output_stride=32):
    nonlocal state
    model = torchvision_models.resnet50(
      weights=None,
      replace_stride_with_dilation=[
        False,
        output_stride < 16,
        output_stride < 32,
      ],
    )
    if state is None:
      randomise(model)
      state = model.state_dict()
    model.load_state_dict(state)
    return model

  return make


@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_resnet50_equals_torchvision(resnet50, output_stride):
  """layer3 and layer4 are torchvision's at every output stride."""
  model = resnet50(output_stride)
  ours = resnet.ResNet(output_stride=output_stride, norm="frozen")
  got = jax.jit(ours.apply)(variables_of(model), IMAGES)
  assert got[1].shape == (1, 64 // output_stride, 64 // output_stride, 2048)
  assert_equal_maps(got, torch_maps(model, IMAGES))


def test_resnet18_equals_torchvision(torchvision_models):
  """Basic blocks give torchvision's ResNet-18."""
  torch.manual_seed(1)
  model = torchvision_models.resnet18(weights=None)
  randomise(model)
  ours = resnet.ResNet(stage_sizes=(2, 2, 2, 2), bottleneck=False)
  got = jax.jit(ours.apply)(variables_of(model), IMAGES)
  assert_equal_maps(got, torch_maps(model, IMAGES))


@pytest.mark.parametrize(
  "name, sizes, bottleneck",
  [("resnet50", (3, 4, 6, 3), True), ("resnet18", (2, 2, 2, 2), False)],
)
def test_parameters_are_torchvisions(
  torchvision_models, name, sizes, bottleneck
):
  """Names, shapes and number of variables are torchvision's without fc."""
  with torch.device("meta"):
    model = getattr(torchvision_models, name)(weights=None)
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
  assert_equal_maps((got[0][:, ::4, ::4], got[1][:, ::8, ::8]), want)


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
