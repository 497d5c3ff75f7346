"""The train step: one function for every stage, pure but for the device axis.

A stage is data. Which terms count is read off its weights, which parameters
move off its prefixes; a term of weight 0 is not computed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from c3_jax import augment, objectives, optim, parallel
from c3_jax.models import flow
from c3_jax.models.c3 import C3
from c3_jax.models.vgg import VGG

TERMS = ("pairs", "warp", "apart", "cycle", "inv", "equiv", "flow")


@flax.struct.dataclass
class TrainState:
  """Everything that changes during training.

  Attributes:
    step: int32, steps done over all stages.
    params: nested dict of float32 arrays.
    batch_stats: running statistics of batch norms; {} without any.
    opt_state: of the parameters the current stage moves.
    running: dict tap -> running mean of the perceptual distance.
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any
  running: Mapping[str, jax.Array]


@dataclass(frozen=True)
class Stage:
  """One stage of training.

  Attributes:
    name: pairs, flow or cycle.
    start, steps: the stage covers steps start + 1 .. start + steps.
    weights: term -> lambda; a term of weight 0 is left out.
    train: prefixes of the parameters that move.
    tx: optax transformation.
    rate: schedule over the stage's own steps, for the log.
  """

  name: str
  start: int
  steps: int
  weights: Mapping[str, float]
  train: Sequence[str]
  tx: optax.GradientTransformation
  rate: optax.Schedule

  @property
  def end(self):
    return self.start + self.steps


@dataclass(frozen=True)
class Setup:
  """What the step needs beside its arguments; the same in all stages.

  Attributes:
    model, vgg: the networks.
    image_size: side of the model frame in pixels.
    seed: of augmentation.
    augment: tables `target`, `source` and `natural` of `augment.sample_warp`
      (natural None: the natural pairs are not warped), `mask_margin`, and
      `recolour`, the strength of `augment.recolour` on what E_p sees of a
      synthetic pair.
    decay: of the perceptual running means.
    stop_gradient: on the first swapped images (appendix).
    hard_flow: T by argmax (True) or by expectation.
    flow_temperature: divides C^ before the softmax of that expectation.
    natural_positives: the weak flow loss takes natural pairs as positives
      and their neighbours as negatives, not an image and its own view.
    apart: distance in coordinates over which L_apart falls off.
    accumulate: parts that a device cuts its batch into, to be done one after
      another. The gradient is their mean; batch norms see one part at a time.
    remat: what a network computes inside is not kept for the backward pass,
      but computed again there.
  """

  model: C3
  vgg: VGG
  image_size: int
  seed: int
  augment: Mapping
  decay: float = 0.99
  stop_gradient: bool = True
  hard_flow: bool = True
  flow_temperature: float = 0.02
  natural_positives: bool = False
  apart: float = 0.15
  accumulate: int = 1
  remat: bool = False


class Networks:
  """The model bound to parameters for one trace; keeps batch statistics."""

  def __init__(self, model, params, batch_stats, remat=False):
    self._model, self._params, self._remat = model, params, remat
    self.batch_stats = batch_stats

  def __call__(self, method, *args, **kwargs):
    """Runs a method of `C3` by name, or a function of (module, *args)."""

    def call(params, batch_stats, *args):
      return self._model.apply(
        {"params": params, "batch_stats": batch_stats},
        *args,
        method=method,
        mutable=["batch_stats"],
        **kwargs,
      )

    if self._remat:
      call = jax.checkpoint(call)
    out, updates = call(self._params, self.batch_stats, *args)
    self.batch_stats = updates.get("batch_stats", self.batch_stats)
    return out


class Perceptual:
  """P of Eq. 1 for one trace; moves the running means, keeps raw distances."""

  def __init__(self, vgg, params, running, decay, remat=False):
    self._vgg, self._params, self._decay = vgg, params, decay
    self._remat = remat
    self.running, self.raw = running, {}

  def __call__(self, target, output, mask=None):
    features = lambda x: self._vgg.apply(self._params, x)  # noqa: E731
    if self._remat:
      features = jax.checkpoint(features)
    distances = objectives.tap_distances(
      jax.lax.stop_gradient(features(target)), features(output), mask
    )
    self.raw = parallel.mean(jax.lax.stop_gradient(distances))
    self.running = objectives.update_running(
      self.running, self.raw, decay=self._decay
    )
    return objectives.perceptual(distances, self.running)


def correspondences(net, fi, fj, *, hard, temperature):
  """(T^{i->j}, T^{j->i}) of two batches of f' (section 3.2)."""
  c = net("match", fi, fj)
  match = flow.hard_correspondence
  if not hard:
    match = partial(flow.soft_correspondence, temperature=temperature)
  return match(c), match(flow.swap_images(c))


def views_terms(setup, weights, net, perceptual, images, keys, colour_keys):
  """Terms of synthetic pairs.

  L_pairs, what ties the landmarks of the two views (L_equiv by the flow, L_warp
  by the warp itself), and L_apart, without which L_warp could put all landmarks
  on the one spot that is easiest to follow.
  """
  target, source, mask, source_warp = synthetic_views(setup, images, keys)
  n = len(images)
  posed = target
  if setup.augment["recolour"]:
    posed = augment.recolour(colour_keys, target, setup.augment["recolour"])
  f_flow, f = net("features", jnp.concatenate([posed, source]), train=True)
  terms = {}
  tied = weights["equiv"] and not weights["cycle"]
  # E_p sees the source view only where a term compares its landmarks.
  seen = f if tied or weights["warp"] else f[:n]
  pose = net(lambda model, x: model.pose(x), seen)
  if weights["warp"]:
    moved = jax.vmap(lambda warp, x: warp(x))(source_warp, pose.points[n:])
    terms["warp"] = objectives.point_difference(pose.points[:n], moved)
  if weights["apart"]:
    terms["apart"] = objectives.crowding(pose.points[:n], setup.apart)
  if tied:
    t_ij, t_ji = correspondences(
      net,
      jax.lax.stop_gradient(f_flow[:n]),
      jax.lax.stop_gradient(f_flow[n:]),
      hard=setup.hard_flow,
      temperature=setup.flow_temperature,
    )
    terms["equiv"] = objectives.equivariance(
      pose.maps[:n], pose.maps[n:], t_ij, t_ji
    )
  if weights["pairs"]:
    appearance = net(lambda model, x: model.appearance(x, train=True), f[n:])
    output = net("decode", appearance, pose.maps[:n], train=True)
    # Twice: a pair is (target, source) here, and Eq. 1 counts both images.
    terms["pairs"] = 2 * perceptual(target, output, mask)
  return terms


def natural_terms(setup, weights, net, perceptual, images):
  """Terms of natural pairs (2m, 2m + 1): L_cycle, L_inv, L_equiv."""
  first = net("encode", images, train=True)
  maps = first.pose.maps
  swapped = net(
    "decode", first.appearance, objectives.partner(maps), train=True
  )
  if setup.stop_gradient:
    swapped = jax.lax.stop_gradient(swapped)
  # The statistics that evaluation uses are those of photographs.
  statistics = net.batch_stats
  second = net("encode", swapped, train=True)
  net.batch_stats = statistics
  # E_p reads the partner's pose off a swapped image: swap back.
  maps_again = objectives.partner(second.pose.maps)
  terms = {}
  if weights["inv"]:
    terms["inv"] = objectives.invariance(maps, maps_again)
  if weights["equiv"]:
    f_flow = first.features
    if setup.hard_flow:
      f_flow = jax.lax.stop_gradient(f_flow)
    t_ij, t_ji = correspondences(
      net,
      f_flow[0::2],
      f_flow[1::2],
      hard=setup.hard_flow,
      temperature=setup.flow_temperature,
    )
    terms["equiv"] = objectives.equivariance(maps[0::2], maps[1::2], t_ij, t_ji)
  output = net("decode", second.appearance, maps_again, train=True)
  terms["cycle"] = 2 * perceptual(images, output)
  return terms


def flow_terms(setup, net, images, keys):
  """L_flow: positive pairs against negative ones.

  An image and its own view, against the view of its partner; or, with
  `natural_positives`, images 2m and 2m + 1 against the targets of the
  neighbouring pair.
  """
  if setup.natural_positives:
    f_flow, _ = net("features", natural_views(setup, images, keys))
    fi, fj = f_flow[0::2], f_flow[1::2]
  else:
    target, source, *_ = synthetic_views(setup, images, keys)
    f_flow, _ = net("features", jnp.concatenate([target, source]))
    fi, fj = jnp.split(f_flow, 2)
  c = net(
    "match",
    jnp.concatenate([fi, fi]),
    jnp.concatenate([fj, objectives.partner(fj)]),
  )
  positive, negative = jnp.split(c, 2)
  return {"flow": objectives.weak_flow(positive, negative)}


def loss_terms(setup, stage, params, state, frozen, images, keys):
  """All unweighted terms of a stage.

  Args:
    setup, stage: what to compute.
    params: nested dict.
    state: `TrainState`; its batch statistics and running means are used.
    frozen: dict with the VGG's variables under "vgg".
    images: [b, s, s, 3] loaded pictures in [0, 1], b even.
    keys: [b] PRNG keys, one an example.

  Returns:
    (terms, (batch_stats, running, raw)): dict name -> scalar; the updated
    statistics; raw tap distances.
  """
  weights = {name: stage.weights.get(name, 0) for name in TERMS}
  net = Networks(setup.model, params, state.batch_stats, setup.remat)
  perceptual = Perceptual(
    setup.vgg,
    frozen["vgg"],
    state.running,
    # All parts of a step together forget as much as one whole.
    setup.decay ** (1 / setup.accumulate),
    setup.remat,
  )
  view_keys, colour_keys, natural_keys = jnp.moveaxis(
    jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0
  )
  terms = {}
  if any(weights[name] for name in ("pairs", "warp", "apart")):
    terms |= views_terms(
      setup, weights, net, perceptual, images, view_keys, colour_keys
    )
  if weights["cycle"]:
    natural = natural_views(setup, images, natural_keys)
    terms |= natural_terms(setup, weights, net, perceptual, natural)
  if weights["flow"]:
    terms |= flow_terms(setup, net, images, view_keys)
  return terms, (net.batch_stats, perceptual.running, perceptual.raw)


def synthetic_views(setup, images, keys):
  """What `augment.warped_pairs` makes of loaded pictures."""
  return augment.warped_pairs(
    keys,
    images,
    setup.image_size,
    target=setup.augment["target"],
    source=setup.augment["source"],
    margin=setup.augment["mask_margin"],
  )


def natural_views(setup, images, keys):
  """The pictures as they are, or each under its own warp if so configured."""
  table = setup.augment["natural"]
  if table is None:
    return augment.centre_crop(images, setup.image_size)
  return augment.warp_images(keys, images, setup.image_size, table)


def accumulated(gradient, moving, state, images, keys, *, parts):
  """The gradient on a device's batch, in `parts` runs of its rows.

  Args:
    gradient: (moving, state, images, keys) -> (gradients, (terms,
      (batch_stats, running, raw))).
    moving: parameters, as `optim.partition` gives them.
    state: `TrainState`; the parts hand on its statistics and running means.
    images, keys: [b, ...], b a multiple of `parts`.
    parts: int; 1 is the whole batch at once.

  Returns:
    (gradients, terms, batch_stats, running, raw): means over the parts, and
    the statistics after the last.
  """

  def part(state, rows):
    grads, (terms, (batch_stats, running, raw)) = gradient(moving, state, *rows)
    state = state.replace(batch_stats=batch_stats, running=running)
    return state, (grads, terms, raw)

  if parts == 1:
    state, means = part(state, (images, keys))
  else:
    rows = jax.tree.map(
      lambda x: x.reshape(parts, -1, *x.shape[1:]), (images, keys)
    )
    shapes = jax.eval_shape(lambda: part(state, (rows[0][0], rows[1][0]))[1])
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)

    def add(carry, rows):
      state, sums = carry
      state, values = part(state, rows)
      return (state, jax.tree.map(jnp.add, sums, values)), None

    (state, sums), _ = jax.lax.scan(add, (state, zeros), rows)
    means = jax.tree.map(lambda x: x / parts, sums)
  grads, terms, raw = means
  return grads, terms, state.batch_stats, state.running, raw


def train_step(setup, stage, state, frozen, batch):
  """One step on this device's part of the batch; runs under `parallel.AXIS`.

  Args:
    setup, stage: static.
    state: `TrainState`, replicated.
    frozen: see `loss_terms`, replicated.
    batch: dict with image, uint8 [b, s, s, 3], b even.

  Returns:
    (state, metrics): the next state and a dict of float32 scalars, both equal
    on all devices.
  """
  images = batch["image"]
  keys = augment.example_keys(
    jax.random.key(setup.seed),
    state.step,
    len(images),
    parallel.offset(len(images)),
  )
  moving, fixed = optim.partition(state.params, stage.train)

  def loss(moving, state, images, keys):
    terms, rest = loss_terms(
      setup,
      stage,
      optim.merge(moving, fixed),
      state,
      frozen,
      images.astype(jnp.float32) / 255,
      keys,
    )
    return objectives.total(terms, stage.weights), (terms, rest)

  grads, terms, batch_stats, running, raw = accumulated(
    jax.grad(loss, has_aux=True),
    moving,
    state,
    images,
    keys,
    parts=setup.accumulate,
  )
  grads, terms = parallel.mean((grads, terms))
  with jax.named_scope("optimiser"):
    updates, opt_state = stage.tx.update(grads, state.opt_state, moving)
    moving = optax.apply_updates(moving, updates)
  metrics = terms | {f"raw_{tap}": value for tap, value in raw.items()}
  metrics["loss"] = objectives.total(terms, stage.weights)
  metrics["gradient_norm"] = optax.tree.norm(grads)
  metrics["learning_rate"] = stage.rate(state.step - stage.start)
  state = TrainState(
    step=state.step + 1,
    params=optim.merge(moving, fixed),
    batch_stats=batch_stats,
    opt_state=opt_state,
    running=running,
  )
  return state, metrics
