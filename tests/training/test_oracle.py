"""The whole model and its losses against a compact C3 in PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import traverse_util

from c3_jax.models import initial, porting
from c3_jax.training import objectives
from c3_jax.training import setup as setup_lib
from c3_jax.training.state import state_at_0
from c3_jax.training.terms import loss_terms
from configs import folder
from tests.reference import oracles, torch_c3

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
  config.weights.update({"resnet50": str(weights), "vgg": str(weights)})
  return config


def port(state, network, module, table, weights):
  """Ports a state into a folder, as the command does with a file."""
  variables = porting.port(state, module, table, origin="test", title=network)
  porting.save(variables, {"network": network}, weights, network)


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
  t_ij, t_ji = rng.uniform(-1.1, 1.1, (2, BATCH // 2, CELLS, CELLS, 2))
  given = {
    "images": images,
    "t_ij": t_ij.astype("f4"),
    "t_ji": t_ji.astype("f4"),
    "running": dict(zip(setup.vgg.taps, np.geomspace(0.3, 9, 6).tolist())),
  }
  ours = jax_results(config, setup, model, **given)
  return ours, torch_results(model, vgg, **given)


def torch_results(model, vgg, *, images, t_ij, t_ji, running):
  """Runs the PyTorch oracle: dict name -> array."""
  raw, inv, equiv = torch_c3.losses(
    model,
    vgg,
    torch.tensor(images).permute(0, 3, 1, 2),
    running,
    (torch.tensor(t_ij), torch.tensor(t_ji)),
  )
  cycle = torch_c3.cycle(raw, running)
  named = {"cycle": cycle, "inv": inv, "equiv": equiv}
  sum(weight * named[name] for name, weight in WEIGHTS.items()).backward()
  kernel = model.pose[4].weight.grad.permute(2, 3, 1, 0)
  result = {f"raw {tap}": x for tap, x in raw.items()} | named
  return {k: x.detach().numpy() for k, x in result.items()} | {
    "gradient": kernel.numpy()
  }


def jax_results(config, setup, model, *, images, t_ij, t_ji, running):
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

  with pytest.MonkeyPatch.context() as patch:
    # The same T for both; what makes it has tests of its own.
    patch.setattr(
      "c3_jax.training.terms.correspondences",
      lambda *args, **kwargs: (t_ij, t_ji),
    )
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
