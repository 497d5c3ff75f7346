"""The train step: one function for every stage, pure but for the device axis.

A stage is data. Which terms count is read off its weights, which parameters
move off its prefixes; a term of weight 0 is not computed.
"""

import jax
import jax.numpy as jnp
import optax

from c3_jax.runtime import parallel
from c3_jax.training import augment, objectives, optim
from c3_jax.training.terms import loss_terms


def accumulated(gradient, moving, state, images, keys, *, parts):
  """Computes the gradient on a device's batch, in `parts` runs of its rows.

  Args:
    gradient: (moving, state, images, keys) -> (gradients, `Found`).
    moving: parameters, as `optim.partition` gives them.
    state: `TrainState`; the parts hand on its statistics and running means.
    images, keys: [b, ...], b a multiple of `parts`.
    parts: 1 is the whole batch at once.

  Returns:
    (state, gradients, terms, raw): the statistics after the last part, and
    means over the parts.
  """

  def part(state, rows):
    grads, found = gradient(moving, state, *rows)
    state = state.replace(batch_stats=found.batch_stats, running=found.running)
    return state, (grads, found.terms, found.raw)

  if parts == 1:
    state, means = part(state, (images, keys))
  else:
    rows = jax.tree.map(
      lambda x: x.reshape(parts, -1, *x.shape[1:]), (images, keys)
    )
    shapes = jax.eval_shape(lambda: part(state, (rows[0][0], rows[1][0]))[1])
    *own, raw = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    zeros = *parallel.own(own), raw  # As a part gives them.

    def add(carry, rows):
      state, sums = carry
      state, values = part(state, rows)
      return (state, jax.tree.map(jnp.add, sums, values)), None

    (state, sums), _ = jax.lax.scan(add, (state, zeros), rows)
    means = jax.tree.map(lambda x: x / parts, sums)
  return state, *means


def train_step(setup, stage, state, frozen, batch):
  """Takes one step on this device's batch; runs under `parallel.AXIS`.

  Args:
    setup, stage: `Setup` and `Stage`, static.
    state: `TrainState`, replicated.
    frozen: variables of the perceptual network, replicated.
    batch: dict with image, uint8 [b, s, s, 3], b even.

  Returns:
    (state, metrics): the next state and a dict of float32 scalars, both equal
    on all devices.
  """
  images, n = batch["image"], len(batch["image"])
  key = jax.random.key(setup.seed)
  keys = augment.example_keys(key, state.step, n, parallel.offset(n))
  moving, fixed = optim.partition(state.params, stage.train)

  def loss(moving, state, images, keys):
    params, images = optim.merge(moving, fixed), images.astype(float) / 255
    found = loss_terms(
      setup, stage.weights, params, state, frozen, images, keys
    )
    return objectives.total(found.terms, stage.weights), found

  gradient = jax.grad(loss, has_aux=True)
  after, grads, terms, raw = accumulated(
    gradient,
    parallel.own(moving),
    state,
    images,
    keys,
    parts=setup.accumulate,
  )
  grads, terms = parallel.mean((grads, terms))
  with jax.named_scope("optimiser"):
    updates, opt_state = stage.tx.update(grads, state.opt_state, moving)
    moving = optax.apply_updates(moving, updates)
  metrics = terms | {
    f"raw_{term}_{tap}": distance
    for term, distances in raw.items()
    for tap, distance in distances.items()
  }
  metrics["loss"] = objectives.total(terms, stage.weights)
  metrics["gradient_norm"] = optax.tree.norm(grads)
  metrics["learning_rate"] = stage.rate(state.step - stage.start)
  params = optim.merge(moving, fixed)
  after = after.replace(
    step=state.step + 1,
    params=params,
    opt_state=opt_state,
    average=optim.move_average(state, params, setup.average),
  )
  return after, metrics
