"""The model as a whole."""

import jax
import numpy as np
import pytest

from c3_jax import settings
from c3_jax.models import initial
from configs import synthetic


@pytest.fixture(scope="module")
def small():
  """(config, model, variables, images)."""
  config = synthetic.get_config("test")
  model, _ = initial.networks(config)
  images = jax.random.uniform(jax.random.key(1), (2, 16, 16, 3))
  return config, model, model.init(jax.random.key(0), images), images


def test_decode_of_encode_is_an_image(small):
  """D(E_a(N(I)), E_p(N(I))) has the shape of I."""
  _, model, variables, images = small
  encoding = model.apply(variables, images, method="encode")
  assert encoding.pose.points.shape == (2, 10, 2)
  out = model.apply(
    variables, encoding.appearance, encoding.pose.maps, method="decode"
  )
  assert out.shape == images.shape


def test_swap_features_exchanges_the_maps(small):
  """f' is layer3 and f layer4, or the other way round."""
  _, model, variables, images = small
  layer3, layer4 = model.apply(variables, images, method="features")
  swapped = model.clone(swap_features=True)
  f_flow, f = swapped.apply(variables, images, method="features")
  np.testing.assert_array_equal(f_flow, layer4)
  np.testing.assert_array_equal(f, layer3)
  assert layer3.shape != layer4.shape


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
