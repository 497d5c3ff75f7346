"""The terms of a stage's loss, from pictures and parameters.

Pure but for the device axis (the perceptual means are those of all devices).
Which terms are computed is read off the weights: one of weight 0 is not.
"""

from functools import partial

import jax
import jax.numpy as jnp

from c3_jax import geometry
from c3_jax.models import flow
from c3_jax.runtime import parallel
from c3_jax.training import augment, objectives

TERMS = ("pairs", "warp", "apart", "cycle", "inv", "equiv", "flow")


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
  # Nor do the swapped ones count in the batch statistics.
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
    # The statistics that evaluation uses are those of photographs.
    net.batch_stats = state.batch_stats
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
    return geometry.centre_crop(images, setup.image_size)
  return augment.warp_images(keys, images, setup.image_size, table)
