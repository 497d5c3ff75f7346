"""Names, layouts and types of ported weights, and what is refused."""

import json

import ml_dtypes
import numpy as np
import pytest

from c3_jax.errors import UserError
from c3_jax.models import porting, weight_files
from c3_jax.models.resnet import ResNet
from c3_jax.models.vgg import VGG

SMALL = ResNet(stage_sizes=(1, 2, 1, 1), width=8)
SHAPES = porting.shapes(SMALL)
TORCHVISION, TRANSFORMERS = porting.namings(SHAPES, porting.RESNET)


def state_of(naming=TORCHVISION, prefix="", dtype=np.float32):
  """A state dict of `SMALL` as PyTorch saves it, with a classifier."""
  rng = np.random.default_rng(0)
  state = {}
  for path in sorted(SHAPES):
    shape = SHAPES[path]
    if len(shape) == 4:
      shape = (shape[3], shape[2], shape[0], shape[1])
    (name,) = (name for name, ours in naming.items() if ours == path)
    state[prefix + name] = rng.uniform(0.5, 1.5, shape).astype(dtype)
  classifier = "fc" if naming is TORCHVISION else "classifier.1"
  return state | {
    f"{prefix}{classifier}.weight": np.ones((7, 256), dtype),
    f"{prefix}bn1.num_batches_tracked": np.int64(3),
  }


def port(state):
  """The state as variables of `SMALL`."""
  return porting.port(
    state, SMALL, porting.RESNET, origin="file.pth", title="resnet50"
  )


@pytest.mark.parametrize(
  "naming, name, ours",
  [
    (TORCHVISION, "conv1.weight", "params/conv1/kernel"),
    (TORCHVISION, "bn1.running_var", "batch_stats/bn1/var"),
    (TORCHVISION, "layer2.1.conv3.weight", "params/layer2_1/conv3/kernel"),
    (
      TORCHVISION,
      "layer1.0.downsample.1.running_mean",
      "batch_stats/layer1_0/downsample_bn/mean",
    ),
    (
      TRANSFORMERS,
      "embedder.embedder.normalization.weight",
      "params/bn1/scale",
    ),
    (
      TRANSFORMERS,
      "encoder.stages.1.layers.1.layer.2.convolution.weight",
      "params/layer2_1/conv3/kernel",
    ),
    (
      TRANSFORMERS,
      "encoder.stages.3.layers.0.shortcut.normalization.bias",
      "params/layer4_0/downsample_bn/bias",
    ),
  ],
)
def test_names(naming, name, ours):
  """Each library's name of a tensor leads to the layer that it is."""
  assert naming[name] == ours
  assert len(naming) == len(SHAPES)


def test_layouts():
  """[out, in, h, w] of PyTorch becomes Flax's [h, w, in, out]; no copy else."""
  state = state_of()
  got = port(state)
  assert {path: x.shape for path, x in got.items()} == SHAPES
  kernel = got["params/layer3_0/conv2/kernel"]
  weight = state["layer3.0.conv2.weight"]
  for out, into, row, column in ((0, 1, 2, 0), (5, 3, 0, 1)):
    assert kernel[row, column, into, out] == weight[out, into, row, column]
  np.testing.assert_array_equal(
    got["batch_stats/bn1/mean"], state["bn1.running_mean"]
  )


@pytest.mark.parametrize(
  "naming, prefix",
  [
    (TORCHVISION, "module."),
    (TORCHVISION, "module.model."),
    (TORCHVISION, "timm_model."),
    (TRANSFORMERS, ""),
    (TRANSFORMERS, "resnet."),
  ],
)
def test_wrapped_and_renamed_weights_are_the_same(naming, prefix):
  """Other libraries' names, and a name before all, change no number."""
  got, want = port(state_of(naming, prefix)), port(state_of())
  assert got.keys() == want.keys()
  for path, value in want.items():
    np.testing.assert_array_equal(got[path], value)


@pytest.mark.parametrize("dtype", ["float16", "float64", ml_dtypes.bfloat16])
def test_types(dtype):
  """Weights of any float type become float32, rounded only where they were."""
  state = state_of(dtype=dtype)
  got = port(state)
  assert {x.dtype.name for x in got.values()} == {"float32"}
  np.testing.assert_array_equal(
    got["params/bn1/scale"], state["bn1.weight"].astype(np.float32)
  )


def test_all_faults_are_in_one_line():
  """Missing, superfluous, misshapen, mistyped, infinite: all in one error."""
  state = state_of()
  gone = ["conv1.weight", "layer4.0.bn3.running_var"]
  for name in gone:
    del state[name]
  state |= {
    "layer2.7.conv1.weight": np.ones((4, 4, 1, 1), "f4"),
    "two\nlines": np.ones(1, "f4"),
    "bn1.bias": np.ones(9, "f4"),
    "bn1.weight": np.ones(8, "int8"),
    "layer1.0.bn1.bias": np.array([np.nan] * 8, "f4"),
  }
  with pytest.raises(UserError) as error:
    port(state)
  line = str(error.value)
  assert "\n" not in line and line.startswith("file.pth does not fit resnet50")
  missing, superfluous, wrong, infinite = line.split(": ", 1)[1].split("; ")
  assert all(name in missing for name in gone)
  assert "layer2.7.conv1.weight" in superfluous and "two\\n" in superfluous
  assert "bn1.bias (9,) in place of (8,)" in wrong
  assert "bn1.weight of type int8" in wrong
  assert "layer1.0.bn1.bias" in infinite
  assert "num_batches_tracked" not in line and "fc" not in line


def test_damage_shows_in_the_classifier_too():
  """What is not used must be finite as well: the file is one."""
  state = state_of() | {"fc.bias": np.array([np.inf], "f4")}
  with pytest.raises(UserError, match="not finite: 'fc.bias'"):
    port(state)


@pytest.mark.parametrize(
  "network, given",
  [("resnet50", "vgg16"), ("vgg19", "vgg16"), ("vgg16", "resnet50")],
)
def test_another_network_is_recognised(network, given):
  """A file of another network is named by what it is, with the option."""
  module, table = porting.NETWORKS[given]
  shapes = porting.shapes(module)
  state = {}
  for name, path in porting.namings(shapes, table)[0].items():
    shape = shapes[path]
    shape = (*shape[:1:-1], *shape[:2]) if len(shape) == 4 else shape
    # One number for all of a tensor: no memory is needed.
    state[name] = np.broadcast_to(np.float32(1), shape)
  with pytest.raises(UserError, match=f"It is a {given}: .*--{given}") as error:
    porting.port(
      state, *porting.NETWORKS[network], origin="file", title=network
    )
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("state", [{}, {"weights": np.ones(1, "f4")}])
def test_a_file_of_nothing_we_know(state):
  """The error says that no name fits, and what to give."""
  with pytest.raises(UserError, match="holds no resnet50.*torchvision"):
    port(state)


def test_two_networks_in_a_file():
  """Names that differ only in the wrapper are not mixed up."""
  with pytest.raises(UserError, match="several networks"):
    port(state_of() | state_of(prefix="module."))


def test_files(tmp_path):
  """What is saved comes back with where it is from; JSON says so, too."""
  variables = port(state_of())
  about = {"network": "resnet50", "source_sha256": "ab", "date": "2026-01-01"}
  folder = tmp_path / "new" / "folder"
  weight_files.save(variables, about, folder, "resnet50")
  got = weight_files.load(folder, "resnet50", key="weights.resnet50")
  assert got.keys() == variables.keys()
  for path, value in variables.items():
    np.testing.assert_array_equal(got[path], value)
  assert weight_files.about(folder, "resnet50", key="x") == about
  assert json.loads((folder / "resnet50.json").read_text()) == about
  assert len(list(folder.iterdir())) == 2


def test_wrong_files_are_named(tmp_path):
  """Missing, cut off, or not made by us: the key, the file and what to do."""
  place = tmp_path / "resnet50.safetensors"
  variables = port(state_of())
  for content, message in (
    (None, r"config\.weights\.resnet50=.*has no resnet50\.safetensors"),
    (b"", "resnet50.safetensors cannot be read"),
    ("half", "resnet50.safetensors cannot be read"),
    ("foreign", "was not made by port_weights"),
  ):
    if content in ("half", "foreign"):
      network = {"half": "resnet50", "foreign": "vgg16"}[content]
      weight_files.save(variables, {"network": network}, tmp_path, "resnet50")
    if content == "half":
      place.write_bytes(place.read_bytes()[:-100])
    elif content == b"":
      place.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
      weight_files.load(tmp_path, "resnet50", key="weights.resnet50")
    assert "python -m c3_jax.port_weights --resnet50=FILE" in str(error.value)


def test_fit_names_the_first_difference():
  """A network of other shapes is refused; a VGG may leave layers unused."""
  module, _ = porting.NETWORKS["vgg16"]
  variables = {
    path: np.broadcast_to(np.float32(1), shape)
    for path, shape in porting.shapes(module).items()
  }
  wanted = porting.shapes(VGG("vgg16", taps=("conv2_2",)))
  fitted = weight_files.fit(variables, wanted, exactly=False)
  assert set(fitted["params"]) == {"conv1_1", "conv1_2", "conv2_1", "conv2_2"}
  with pytest.raises(ValueError, match="conv3_1.* there and absent in the"):
    weight_files.fit(variables, wanted)
  thin = porting.shapes(VGG("vgg16", taps=("conv1_1",), width=0.5))
  with pytest.raises(
    ValueError, match=r"conv1_1/bias is \(64,\) there and \(32,\)"
  ):
    weight_files.fit(variables, thin, exactly=False)
