"""The extractors against torch's convolutions and properties of their maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from c3_jax.geometry import landmarks
from c3_jax.models import extractors

F = np.random.default_rng(0).normal(size=(2, 4, 6, 5)).astype("f4")


def run(module, f=F):
  """Runs a module with parameters that NumPy draws: (params, output)."""
  rng = np.random.default_rng(1)

  def draw(path, x):
    # He's deviation for kernels; biases too are not zero.
    fan_in = np.prod(x.shape[:-1])
    std = (2 / fan_in) ** 0.5 if path[-1].key == "kernel" else 0.3
    return rng.normal(0, std, x.shape).astype("f4")

  shapes = jax.eval_shape(module.init, jax.random.key(0), f)
  assert set(shapes) == {"params"}
  variables = jax.tree_util.tree_map_with_path(draw, shapes)
  return variables["params"], jax.jit(module.apply)(variables, f)


def torch_conv(x, params):
  """A padded convolution of x [b, c, h, w] by torch, with Flax's parameters."""
  kernel = torch.tensor(np.asarray(params["kernel"])).permute(3, 2, 0, 1)
  bias = torch.tensor(np.asarray(params["bias"]))
  return torch.nn.functional.conv2d(x, kernel, bias, padding="same")


def torch_trunk(f, params):
  """The two convolutions with ReLU that both extractors start with."""
  x = torch.tensor(f).permute(0, 3, 1, 2)
  for name in ("conv1", "conv2"):
    x = torch.relu(torch_conv(x, params[name]))
  return x


def test_appearance_equals_torch():
  """E_a is two padded 3x3 convolutions with ReLU, no more."""
  module = extractors.AppearanceExtractor(features=7)
  params, out = run(module)
  assert out.shape == (2, 4, 6, 7) and out.dtype == jnp.float32
  assert {k: v["kernel"].shape for k, v in params.items()} == {
    "conv1": (3, 3, 5, 7),
    "conv2": (3, 3, 7, 7),
  }
  want = torch_trunk(F, params).permute(0, 2, 3, 1)
  np.testing.assert_allclose(out, want, atol=1e-4)


def test_pooled_appearance_is_the_mean_over_space():
  """A pooled map keeps its shape, is constant over space, and is the mean."""
  params, whole = run(extractors.AppearanceExtractor(features=7))
  module = extractors.AppearanceExtractor(features=7, pool=True)
  pooled = jax.jit(module.apply)({"params": params}, F)
  assert pooled.shape == whole.shape
  mean = np.asarray(whole).mean((1, 2), keepdims=True)
  np.testing.assert_allclose(pooled, np.tile(mean, (1, 4, 6, 1)), atol=1e-5)


def test_norm_of_the_pooled_appearance_standardises_over_the_batch():
  """Each channel of the pooled vector has mean 0, deviation 1 in the batch."""
  module = extractors.AppearanceExtractor(features=7, pool=True)
  params, pooled = run(module)
  module = extractors.AppearanceExtractor(features=7, pool=True, norm="batch")
  ones, zeros = np.ones(7, "f4"), np.zeros(7, "f4")
  variables = {
    "params": params | {"norm": {"scale": 0.5 * ones, "bias": ones}},
    "batch_stats": {"norm": {"mean": zeros, "var": ones}},
  }

  def train(f):
    return module.apply(variables, f, train=True, mutable=["batch_stats"])

  # One image a device: the batch is that of all devices.
  out, updates = jax.jit(jax.vmap(train, axis_name="batch"))(F[:, None])
  vectors = np.asarray(pooled)[:, 0, 0]
  mean, var = vectors.mean(0), vectors.var(0)
  want = 0.5 * (vectors - mean) / np.sqrt(var + 1e-5) + 1
  want = np.tile(want[:, None, None], (1, 4, 6, 1))
  np.testing.assert_allclose(out[:, 0], want, atol=1e-3)
  stored = updates["batch_stats"]["norm"]["mean"]
  np.testing.assert_allclose(stored, np.tile(0.1 * mean, (2, 1)), atol=1e-5)


@pytest.mark.parametrize("marginal", [False, True])
def test_pose_equals_torch_and_the_two_step_process(marginal):
  """E_p is convolutions, 1x1 to k maps, soft-argmax, gaussians."""
  module = extractors.PoseExtractor(
    k=3, features=7, temperature=0.5, marginal=marginal
  )
  params, pose = run(module)
  assert params["maps"]["kernel"].shape == (1, 1, 7, 3)
  assert pose.points.shape == (2, 3, 2)
  assert pose.maps.shape == pose.probability.shape == (2, 4, 6, 3)
  logits = torch_conv(torch_trunk(F, params), params["maps"])
  points, probability = landmarks.soft_argmax(
    logits.permute(0, 2, 3, 1).numpy(), temperature=0.5, marginal=marginal
  )
  np.testing.assert_allclose(pose.points, points, atol=1e-4)
  np.testing.assert_allclose(pose.probability, probability, atol=1e-4)
  # 0.75 of a cell of the longer side, whose cells are 2 / 6 wide.
  maps = landmarks.gaussian_maps(points, 4, 6, sigma=0.75 * 2 / 6)
  np.testing.assert_allclose(pose.maps, maps, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-2, 1e3])
def test_gain_standardises_every_map(scale):
  """With a gain, logits have that deviation whatever the features' scale."""
  module = extractors.PoseExtractor(k=3, features=7, gain=4.0)
  _, pose = run(module, F * scale)
  # The log of a softmax is the logits up to a constant.
  logits = np.log(np.asarray(pose.probability, float))
  np.testing.assert_allclose(logits.std((1, 2)), 4.0, rtol=0.05)


@pytest.mark.parametrize("init_std", [0.01, 0.0])
def test_initial_kernels_have_the_asked_deviation(init_std):
  """0.01 is the paper's deviation; 0 stands for He's sqrt(2 / fan-in)."""
  module = extractors.PoseExtractor(k=64, features=64, init_std=init_std)
  # Random numbers of this kind compile in a sixth of the time.
  key = jax.random.key(0, impl="rbg")
  params = jax.jit(module.init)(key, F)["params"]
  for name, fan_in in (("conv1", 9 * 5), ("conv2", 9 * 64), ("maps", 64)):
    kernel = np.asarray(params[name]["kernel"])
    want = init_std or (2 / fan_in) ** 0.5
    np.testing.assert_allclose(kernel.std(), want, rtol=0.06)
    np.testing.assert_array_equal(params[name]["bias"], 0)


@pytest.mark.parametrize(
  "module, read",
  [
    (extractors.AppearanceExtractor(features=7), lambda out: out),
    (extractors.AppearanceExtractor(features=7, pool=True), lambda out: out),
    (extractors.PoseExtractor(k=3, features=7), lambda out: out.points),
    (extractors.PoseExtractor(k=3, features=7), lambda out: out.maps),
    (extractors.PoseExtractor(k=3, features=7, gain=4.0), lambda out: out.maps),
    (
      extractors.PoseExtractor(k=3, features=7, marginal=True),
      lambda out: out.maps,
    ),
  ],
)
def test_gradient_reaches_every_parameter(module, read):
  """All parameters move, but for the bias that a softmax cannot see."""
  params, out = run(module)
  target = np.random.default_rng(2).normal(size=read(out).shape).astype("f4")

  def loss(params):
    return jnp.sum(read(module.apply({"params": params}, F)) * target)

  grads = jax.jit(jax.grad(loss))(params)
  if "maps" in grads:
    np.testing.assert_allclose(grads["maps"].pop("bias"), 0, atol=1e-5)
  for path, gradient in jax.tree_util.tree_leaves_with_path(grads):
    assert np.isfinite(gradient).all(), path
    assert np.abs(gradient).max() > 1e-5, path


def test_half_precision_heads_keep_float32_landmarks():
  """In bfloat16 poses stay float32 and near the exact ones."""
  exact = extractors.PoseExtractor(k=3, features=7)
  params, want = run(exact)
  half = extractors.PoseExtractor(k=3, features=7, dtype=jnp.bfloat16)
  pose = jax.jit(half.apply)({"params": params}, F)
  assert {x.dtype for x in jax.tree.leaves(pose)} == {jnp.dtype("float32")}
  np.testing.assert_allclose(pose.points, want.points, atol=0.05)
  half = extractors.AppearanceExtractor(features=7, dtype=jnp.bfloat16)
  _, out = run(half)
  assert out.dtype == jnp.bfloat16
