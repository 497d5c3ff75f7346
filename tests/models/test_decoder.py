"""The decoder: its shapes, and its values against torch's layers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from c3_jax.models.decoder import Decoder, upsample

# Random numbers of this kind compile in a sixth of the time.
KEY = jax.random.key(0, impl="rbg")


def inputs(side, a=6, k=3):
  """Random appearance [2, side, side, a] and pose [2, side, side, k]."""
  rng = np.random.default_rng(0)
  return [
    rng.normal(size=(2, side, side, channels)).astype("f4")
    for channels in (a, k)
  ]


def shapes(module, side):
  """(output, variables) as shapes: nothing is computed."""
  return jax.eval_shape(module.init_with_output, KEY, *inputs(side))


@pytest.mark.parametrize(
  "side, size, channels",
  [
    (4, 32, (256, 128, 64, 32)),
    (16, 128, (256, 128, 64, 32)),
    (4, 128, (256, 128, 64, 32, 32, 32)),
    (25, 400, (256, 128, 64, 32, 32)),
    (8, 8, (256,)),
  ],
)
def test_blocks_halve_their_channels_and_double_the_side(side, size, channels):
  """An h-sided map becomes the image by blocks of the appendix's widths."""
  out, variables = shapes(Decoder(size=size), side)
  assert out.shape == (2, size, size, 3) and out.dtype == jnp.float32
  kernels = {
    name: value["kernel"].shape
    for name, value in variables["params"].items()
    if "norm" not in name
  }
  before, want = 9, {}
  for block, width in enumerate(channels):
    want[f"block{block}_conv0"] = (3, 3, before, width)
    want[f"block{block}_conv1"] = (3, 3, width, width)
    before = width
  assert kernels == want | {"image": (3, 3, before, 3)}


@pytest.mark.parametrize("side, size", [(4, 48), (4, 30), (3, 16), (8, 4)])
def test_image_that_no_doubling_reaches_is_an_error(side, size):
  """A size that is not the map's side times 2^n is refused by name."""
  with pytest.raises(ValueError, match=f"image size {size} is not {side}"):
    shapes(Decoder(size=size), side)


def torch_conv(x, params):
  """A padded convolution by torch with Flax's parameters."""
  kernel = torch.tensor(np.asarray(params["kernel"])).permute(3, 2, 0, 1)
  bias = params.get("bias")
  if bias is not None:
    bias = torch.tensor(np.asarray(bias))
  return torch.nn.functional.conv2d(x, kernel, bias, padding=1)


def torch_decoder(a, p, params, stats, blocks):
  """The decoder of the appendix out of torch's functions: [b, h, w, 3]."""
  x = torch.tensor(np.concatenate([a, p], -1)).permute(0, 3, 1, 2)
  for block in range(blocks):
    if block:
      x = torch.nn.functional.interpolate(
        x, scale_factor=2, mode="bilinear", align_corners=False
      )
    for i in range(2):
      x = torch_conv(x, params[f"block{block}_conv{i}"])
      norm = f"block{block}_norm{i}"
      if norm in params:
        values = [stats[norm]["mean"], stats[norm]["var"]]
        values += [params[norm]["scale"], params[norm]["bias"]]
        values = [torch.tensor(np.asarray(value)) for value in values]
        x = torch.nn.functional.batch_norm(x, *values, eps=1e-5)
      x = torch.relu(x)
  return torch_conv(x, params["image"]).permute(0, 2, 3, 1).numpy() + 0.5


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_decoder_equals_torch(norm):
  """With and without norm layers the image is that of torch's layers."""
  module = Decoder(size=16, channels=8, min_channels=4, norm=norm)
  a, p = inputs(4)
  variables = jax.eval_shape(module.init, KEY, a, p)
  rng = np.random.default_rng(1)
  variables = jax.tree_util.tree_map_with_path(
    lambda path, x: (
      rng.uniform(0.5, 1.5, x.shape)
      if path[-1].key in ("var", "scale")
      else rng.normal(0, 0.3, x.shape)
    ).astype("f4"),
    variables,
  )
  params, stats = variables["params"], variables.get("batch_stats", {})
  assert ("bias" in params["block0_conv0"]) == (norm == "none")
  got = jax.jit(module.apply)(variables, a, p)
  want = torch_decoder(a, p, params, stats, blocks=3)
  np.testing.assert_allclose(got, want, atol=1e-3 * np.abs(want).max())


def test_untrained_decoder_draws_mid_grey():
  """At the paper's deviation of 0.01 an image starts at 0.5 everywhere."""
  module = Decoder(size=8, channels=8, norm="none", init_std=0.01)
  out, variables = jax.jit(module.init_with_output)(KEY, *inputs(4))
  np.testing.assert_allclose(out, 0.5, atol=1e-3)
  kernel = variables["params"]["block0_conv0"]["kernel"]
  np.testing.assert_allclose(kernel.std(), 0.01, rtol=0.1)


@pytest.mark.parametrize("shape", [(2, 1, 3, 2), (1, 4, 5, 3)])
def test_upsample_and_its_gradient_are_torchs(shape):
  """Bilinear x2 and its own backward pass equal torch's interpolation."""
  rng = np.random.default_rng(0)
  x = rng.normal(size=shape).astype("f4")
  ours, backward = jax.vjp(upsample, jnp.asarray(x))
  theirs = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
  out = torch.nn.functional.interpolate(
    theirs, scale_factor=2, mode="bilinear", align_corners=False
  )
  want = out.detach().numpy().transpose(0, 2, 3, 1)
  np.testing.assert_allclose(ours, want, rtol=1e-5, atol=1e-6)
  g = rng.normal(size=want.shape).astype("f4")
  out.backward(torch.tensor(g.transpose(0, 3, 1, 2)))
  np.testing.assert_allclose(
    backward(jnp.asarray(g))[0],
    theirs.grad.numpy().transpose(0, 2, 3, 1),
    rtol=1e-5,
    atol=1e-6,
  )
