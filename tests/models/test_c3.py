"""The model as a whole."""

import jax
import numpy as np
import pytest

from c3_jax import settings
from c3_jax.models import initial
from configs import synthetic

IMAGES = np.random.default_rng(0).uniform(size=(2, 16, 16, 3)).astype("f4")


@pytest.fixture(scope="module")
def small():
  """(model, variables drawn by NumPy: no compilation)."""
  model, _ = initial.networks(synthetic.get_config("test"))
  rng = np.random.default_rng(1)
  shapes = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
  draw = lambda x: rng.uniform(0.1, 0.5, x.shape).astype("f4")  # noqa: E731
  return model, jax.tree.map(draw, dict(shapes))


def test_decode_of_encode_is_an_image(small):
  """D(E_a(N(I)), E_p(N(I))) has the shape of I."""
  model, variables = small

  def there_and_back(images):
    encoding = model.apply(variables, images, method="encode")
    assert encoding.pose.points.shape == (2, 10, 2)
    return model.apply(
      variables, encoding.appearance, encoding.pose.maps, method="decode"
    )

  assert jax.eval_shape(there_and_back, IMAGES).shape == IMAGES.shape


def test_swap_features_exchanges_the_maps(small):
  """f' is layer3 and f layer4, or the other way round."""
  model, variables = small
  (layer3, layer4), (f_flow, f) = jax.jit(
    lambda images: [
      network.apply(variables, images, method="features")
      for network in (model, model.clone(swap_features=True))
    ]
  )(IMAGES)
  np.testing.assert_array_equal(f_flow, layer4)
  np.testing.assert_array_equal(f, layer3)
  assert layer3.shape != layer4.shape


def test_flow_pool_averages_the_features_of_the_flow(small):
  """f' is the mean of each square of cells; f stays."""
  model, variables = small
  (plain, f), (pooled, same) = jax.jit(
    lambda images: [
      network.apply(variables, images, method="features")
      for network in (model, model.clone(flow_pool=2))
    ]
  )(IMAGES)
  b, h, w, c = plain.shape
  squares = np.asarray(plain)[:, : h // 2 * 2, : w // 2 * 2]
  squares = squares.reshape(b, h // 2, 2, w // 2, 2, c)
  np.testing.assert_allclose(pooled, squares.mean((2, 4)), rtol=1e-6, atol=1e-7)
  np.testing.assert_array_equal(same, f)
  with pytest.raises(ValueError, match="flow_pool=99 is above"):
    model.clone(flow_pool=99).apply(variables, IMAGES, method="features")


def test_the_papers_network():
  """ResNet-50 at stride 8: 16 x 16 maps at 128 px, a decoder of four blocks."""
  config = settings.paper(k=30, cycle=1, flow=1)
  model, _ = initial.networks(config)
  images = jax.ShapeDtypeStruct((2, 128, 128, 3), np.float32)
  variables = jax.eval_shape(model.init, jax.random.key(0), images)
  encoding = jax.eval_shape(
    lambda v, x: model.apply(v, x, method="encode"), variables, images
  )
  assert encoding.pose.maps.shape == (2, 16, 16, 30)
  assert encoding.appearance.shape == (2, 16, 16, 256)
  assert encoding.features.shape == (2, 16, 16, 1024)
  decoder = variables["params"]["decoder"]
  widths = [decoder[f"block{i}_conv1"]["kernel"].shape[-1] for i in range(4)]
  assert widths == [256, 128, 64, 32]
  backbone = sum(
    x.size for x in jax.tree.leaves(variables["params"]["backbone"])
  )
  assert backbone == 23_508_032  # torchvision's resnet50 without fc.
