"""The whole model and its losses against a compact C3 in PyTorch."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import traverse_util

from c3_jax.models import C3, initial, porting, weight_files
from c3_jax.training import objectives
from c3_jax.training import setup as setup_lib
from c3_jax.training.state import state_at_0
from c3_jax.training.terms import loss_terms
from configs import folder
from tests.reference import oracles, torch_c3

pytestmark = pytest.mark.slow

SIZE, BATCH, K, CELLS = 64, 4, 5, 8
WEIGHTS = {"cycle": 1.0, "inv": 0.5, "equiv": 2.0}
BLOCKS = (1, 1, 1, 1)


def get_config(weights):
  """The paper's network with few blocks and channels, on ported weights."""
  config = folder.get_config(f"k={K}").unlock()
  config.data.update({"image_size": SIZE, "load_size": SIZE})
  config.model.backbone.stage_sizes = BLOCKS
  config.model.appearance.features = config.model.pose.features = 16
  config.model.decoder.update({"channels": 32, "min_channels": 8})
  config.perceptual.decay = 1.0  # The running means stay what they are.
  # T between cells, so that maps are interpolated.
  config.objective.update({"hard_flow": False, "flow_temperature": 0.2})
  config.weights.update({"resnet50": str(weights), "vgg": str(weights)})
  return config


def port(state, network, module, table, weights):
  """Ports a state into a folder, as the command does with a file."""
  variables = porting.port(state, module, table, origin="test", title=network)
  weight_files.save(variables, {"network": network}, weights, network)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
  """Two dicts name -> array, ours and PyTorch's: terms, raw taps, gradient."""
  torch.manual_seed(0)
  weights = tmp_path_factory.mktemp("weights")
  model = torch_c3.C3(K, blocks=BLOCKS, features=16, channels=(32, 16, 8, 8))
  # The backbone has ImageNet's statistics, the decoder those of the batch.
  oracles.randomise(model).backbone.eval()
  vgg = oracles.vgg_features("vgg16")
  config = get_config(weights)
  setup = setup_lib.Setup.of(config)
  port(
    oracles.numpy_state(model.backbone),
    "resnet50",
    setup.model.backbone,
    porting.RESNET,
    weights,
  )
  port(
    oracles.numpy_state(vgg, "features."),
    "vgg16",
    *porting.NETWORKS["vgg16"],
    weights,
  )
  rng = np.random.default_rng(0)
  coarse = rng.integers(0, 256, (BATCH, 16, 16, 3))
  images = np.kron(coarse, np.ones((1, 4, 4, 1))).astype("f4") / 255
  # The flow head has tests of its own: both get the same scores C^.
  scores = rng.uniform(size=(BATCH // 2, *4 * (CELLS,))).astype("f4")
  running = dict(zip(setup.vgg.taps, np.geomspace(0.3, 9, 6).tolist()))
  given = {"images": images, "scores": scores, "running": running}
  ours = jax_results(config, setup, model, **given)
  return ours, torch_results(model, vgg, **given)


def expected_matches(scores):
  """T^{i->j} of C^ [b, y_i, x_i, y_j, x_j], (x, y): the mean cell of i."""
  weights = np.exp(scores.astype(float) / 0.2)
  weights /= weights.sum((1, 2), keepdims=True)
  centres = (2 * np.arange(CELLS) + 1) / CELLS - 1
  x = (weights.sum(1) * centres[:, None, None]).sum(1)
  y = (weights.sum(2) * centres[:, None, None]).sum(1)
  return torch.tensor(np.stack([x, y], -1), dtype=torch.float32)


def torch_results(model, vgg, *, images, scores, running):
  """Runs the PyTorch oracle: dict name -> array."""
  raw, inv, equiv = torch_c3.losses(
    model,
    vgg,
    torch.tensor(images).permute(0, 3, 1, 2),
    running,
    [expected_matches(c) for c in (scores, scores.transpose(0, 3, 4, 1, 2))],
  )
  cycle = torch_c3.cycle(raw, running)
  named = {"cycle": cycle, "inv": inv, "equiv": equiv}
  sum(weight * named[name] for name, weight in WEIGHTS.items()).backward()
  kernel = model.pose[4].weight.grad.permute(2, 3, 1, 0)
  result = {f"raw {tap}": x for tap, x in raw.items()} | named
  return {k: x.detach().numpy() for k, x in result.items()} | {
    "gradient": kernel.numpy()
  }


def with_scores(setup, scores):
  """Exchanges the model of a setup for one whose flow head gives `scores`."""

  class GivenScores(C3):
    def match(self, fi, fj):
      return scores

  model = setup.model
  parts = {
    field.name: getattr(model, field.name)
    for field in dataclasses.fields(model)
    if field.name not in ("parent", "name")
  }
  return dataclasses.replace(setup, model=GivenScores(**parts))


def jax_results(config, setup, model, *, images, scores, running):
  """Runs c3_jax's own `loss_terms`: dict name -> array."""
  shapes = jax.eval_shape(setup.model.init, jax.random.key(0), images)
  variables = traverse_util.flatten_dict(
    jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes), sep="/"
  )
  # The weights of the backbone come from the ported file.
  others = [path for path in variables if "/backbone/" not in path]
  variables |= torch_c3.variables(model, others)
  variables = traverse_util.unflatten_dict(variables, sep="/")
  state = state_at_0(config, initial.with_ported_backbone(config, variables))
  means = {tap: jnp.float32(mean) for tap, mean in running.items()}
  state = state.replace(running=state.running | {"cycle": means})
  frozen = initial.perceptual(config, setup.vgg)
  setup = with_scores(setup, jnp.asarray(scores))

  def loss(kernel, params, state, frozen, images):
    maps = params["pose"]["maps"] | {"kernel": kernel}
    pose = params["pose"] | {"maps": maps}
    found = loss_terms(
      setup,
      WEIGHTS,
      params | {"pose": pose},
      state,
      frozen,
      images,
      jax.random.split(jax.random.key(0), BATCH),
    )
    return objectives.total(found.terms, WEIGHTS), found

  # The axis of devices, of one.
  step = jax.vmap(
    jax.grad(loss, has_aux=True),
    in_axes=(None, None, None, None, 0),
    axis_name="batch",
  )
  out = jax.jit(step)(
    state.params["pose"]["maps"]["kernel"],
    state.params,
    state,
    frozen,
    images[None],
  )
  gradient, found = jax.tree.map(lambda x: np.asarray(x[0]), out)
  for tap, mean in running.items():
    np.testing.assert_allclose(found.running["cycle"][tap], mean, rtol=1e-6)
  raw = {f"raw {tap}": x for tap, x in found.raw["cycle"].items()}
  return raw | found.terms | {"gradient": gradient}


@pytest.mark.parametrize(
  "name",
  [
    "raw input",
    *(f"raw conv{block}_2" for block in range(1, 6)),
    *("cycle", "inv", "equiv"),
  ],
)
def test_terms_equal_pytorchs(results, name):
  """Raw taps, Eq. 1, Eq. 2 and Eq. 4 agree within 1e-3."""
  ours, theirs = results
  assert theirs[name] > 1e-3
  np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-3)


def test_gradient_equals_pytorchs(results):
  """d(total) / d(last kernel of E_p) agrees within 1e-2 of its norm."""
  ours, theirs = (result["gradient"] for result in results)
  assert ours.shape == (1, 1, 16, K)
  norm = np.linalg.norm(theirs)
  assert norm > 1e-3
  assert np.linalg.norm(ours - theirs) < 1e-2 * norm
