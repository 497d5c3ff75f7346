"""The terms of a stage's loss, from images and parameters.

Pure but for the device axis (the perceptual means are those of all devices).
Which terms are computed is read off the weights: one of weight 0 is not.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from c3_jax import geometry
from c3_jax.models import correspondence
from c3_jax.settings.stages import TERMS
from c3_jax.training import augment, objectives
from c3_jax.training.networks import Networks, Perceptual

VIEWS = ("pairs", "warp", "apart", "match", "chain")  # Of synthetic pairs.
PERCEPTUAL = ("pairs", "cycle")  # Those that P measures.


class Found(NamedTuple):
  """What a forward pass found.

  Attributes:
    terms: name -> unweighted scalar.
    batch_stats: the batch norms' statistics after it.
    running: perceptual term -> tap -> running mean after it.
    raw: perceptual term -> tap -> distance, the mean over all devices.
  """

  terms: Mapping[str, jax.Array]
  batch_stats: Any
  running: Mapping[str, Mapping[str, jax.Array]]
  raw: Mapping[str, Mapping[str, jax.Array]]


def matches(setup, weights, net, batch_stats, features, warps):
  """Computes L_match and L_chain, the flow's losses under known warps.

  L_match asks for the cell of the target view that each cell of the source view
  shows; L_chain asks the same through the target view of the partner, another
  object (warp consistency, Truong et al. 2022).

  Args:
    setup, weights, net: as in `loss_terms`.
    batch_stats: of the batch norms.
    features: f' of (target, source) views.
    warps: from points of the source view to those of the target view.

  Returns:
    dict term -> scalar.
  """
  target, source = features
  places = jax.vmap(lambda warp: warp(geometry.grid(*source.shape[1:3])))(warps)

  def probability(fi, fj):
    c, _ = net(batch_stats, "match", fi, fj)
    return jax.nn.softmax(c / setup.match_temperature, (1, 2))

  terms = {}
  if weights["match"]:
    terms["match"] = objectives.matching(probability(target, source), places)
  if weights["chain"]:
    other = objectives.partner(target)
    chained = objectives.chained(
      probability(target, other), probability(other, source)
    )
    terms["chain"] = objectives.matching(chained, places)
  return terms


def equivariance(setup, net, batch_stats, maps, features):
  """Computes L_equiv of the (i, j) maps, along the flow of their f'."""
  c, _ = net(batch_stats, "match", *features)
  match = correspondence.Matcher(
    hard=setup.hard_flow,
    temperature=setup.flow_temperature,
    reach=setup.flow_reach,
    smooth=setup.flow_smooth,
  )
  return objectives.equivariance(*maps, *match.both(c), check=setup.flow_check)


def views_terms(setup, weights, net, perceptual, state, images, keys):
  """Computes the terms of synthetic pairs.

  L_pairs, what ties the landmarks of the two views (L_equiv by the flow, L_warp
  by the warp itself), L_apart, without which L_warp could put all landmarks on
  the one spot that is easiest to follow, and what teaches the flow.

  Args:
    setup, weights, net, perceptual: as in `loss_terms`.
    state: `TrainState`.
    images: [b, s, s, 3] loaded images in [0, 1].
    keys: (of the warps, of the colours), [b] each.
  """
  view_keys, colour_keys = keys
  target, source, mask, source_warp = synthetic_views(setup, images, view_keys)
  n = len(images)
  posed = target
  if setup.augment.recolour:
    posed = augment.recolour(colour_keys, target, setup.augment.recolour)
  both = jnp.concatenate([posed, source])
  (f_flow, f), stats = net(state.batch_stats, "features", both, train=True)
  terms, running, raw = {}, {}, {}
  tied = weights["equiv"] and not weights["cycle"]
  # E_p sees the source view only where a term compares its landmarks.
  seen = f if tied or weights["warp"] else f[:n]
  pose, stats = net(stats, lambda model, x: model.pose(x), seen)
  if weights["warp"]:
    moved = jax.vmap(lambda warp, x: warp(x))(source_warp, pose.points[n:])
    terms["warp"] = objectives.point_difference(pose.points[:n], moved)
  if weights["apart"]:
    terms["apart"] = objectives.crowding(pose.points[:n], setup.apart)
  if tied:
    maps = jnp.split(pose.maps, 2)
    features = jnp.split(jax.lax.stop_gradient(f_flow), 2)
    terms["equiv"] = equivariance(setup, net, stats, maps, features)
  if weights["match"] or weights["chain"]:
    features = jnp.split(f_flow, 2)
    terms |= matches(setup, weights, net, stats, features, source_warp)
  if weights["pairs"]:
    appearance, stats = net(
      stats, lambda model, x: model.appearance(x, train=True), f[n:]
    )
    output, stats = net(stats, "decode", appearance, pose.maps[:n], train=True)
    value, running["pairs"], raw["pairs"] = perceptual(
      target, output, state.running["pairs"], mask
    )
    # Twice: a pair is (target, source) here, and Eq. 1 counts both images.
    terms["pairs"] = 2 * value
  return Found(terms, stats, running, raw)


def natural_terms(setup, weights, net, perceptual, state, images):
  """Computes the terms of natural pairs (2m, 2m + 1): Eq. 1, 2 and 4.

  Args:
    setup, weights, net, perceptual: as in `loss_terms`.
    state: `TrainState`.
    images: [b, S, S, 3], the network's frame, in [0, 1].
  """
  first, stats = net(state.batch_stats, "encode", images, train=True)
  maps = first.pose.maps
  swapped, stats = net(
    stats, "decode", first.appearance, objectives.partner(maps), train=True
  )
  if setup.stop_gradient:
    swapped = jax.lax.stop_gradient(swapped)
  # Swapped images are kept out of the batch statistics.
  second, _ = net(stats, "encode", swapped, train=True)
  # E_p detects the partner's pose in a swapped image: swap back.
  maps_again = objectives.partner(second.pose.maps)
  terms = {}
  if weights["inv"]:
    terms["inv"] = objectives.invariance(maps, maps_again)
  if weights["equiv"]:
    f_flow = first.features
    if setup.hard_flow:
      f_flow = jax.lax.stop_gradient(f_flow)
    pairs, features = ((x[0::2], x[1::2]) for x in (maps, f_flow))
    terms["equiv"] = equivariance(setup, net, stats, pairs, features)
  output, stats = net(
    stats, "decode", second.appearance, maps_again, train=True
  )
  value, running, raw = perceptual(images, output, state.running["cycle"])
  terms["cycle"] = 2 * value
  return Found(terms, stats, {"cycle": running}, {"cycle": raw})


def flow_terms(setup, net, batch_stats, images, keys):
  """Computes L_flow: positive pairs against negative ones.

  An image and its own view, against the view of its partner; or, with
  `natural_positives`, images 2m and 2m + 1 against the targets of the
  neighbouring pair. The batch statistics stay where they are.
  """
  if setup.natural_positives:
    images = natural_views(setup, images, keys)
    (f_flow, _), _ = net(batch_stats, "features", images)
    fi, fj = f_flow[0::2], f_flow[1::2]
  else:
    target, source, *_ = synthetic_views(setup, images, keys)
    images = jnp.concatenate([target, source])
    (f_flow, _), _ = net(batch_stats, "features", images)
    fi, fj = jnp.split(f_flow, 2)
  fi = jnp.concatenate([fi, fi])
  fj = jnp.concatenate([fj, objectives.partner(fj)])
  c, _ = net(batch_stats, "match", fi, fj)
  positive, negative = jnp.split(c, 2)
  return {"flow": objectives.weak_flow(positive, negative)}


def loss_terms(setup, weights, params, state, frozen, images, keys):
  """Computes all unweighted terms of a stage.

  Args:
    setup: `Setup`.
    weights: term -> lambda; those of weight 0 are not computed.
    params: nested dict.
    state: `TrainState`; its batch statistics and running means are used.
    frozen: variables of the perceptual network.
    images: [b, s, s, 3] loaded images in [0, 1], b even.
    keys: [b] PRNG keys, one an example.
  """
  weights = {name: weights.get(name, 0) for name in TERMS}
  net = Networks(setup.model, params, setup.remat)
  decay = setup.decay
  if setup.early:
    decay = objectives.early_decay(decay, state.step)
  # All parts of a step together forget as much as one whole.
  decay = decay ** (1 / setup.accumulate)
  perceptual = Perceptual(setup.vgg, frozen, decay, setup.remat)
  view_keys, colour_keys, natural_keys = jnp.moveaxis(
    jax.vmap(lambda key: jax.random.split(key, 3))(keys), 1, 0
  )
  parts = []
  if any(weights[name] for name in VIEWS):
    pair = view_keys, colour_keys
    parts.append(
      views_terms(setup, weights, net, perceptual, state, images, pair)
    )
  if weights["cycle"]:
    natural = natural_views(setup, images, natural_keys)
    parts.append(natural_terms(setup, weights, net, perceptual, state, natural))
  # Where there are natural pairs, the statistics that evaluation uses are
  # theirs: each part begins with those of the state.
  stats = parts[-1].batch_stats if parts else state.batch_stats
  if weights["flow"]:
    terms = flow_terms(setup, net, stats, images, view_keys)
    parts.append(Found(terms, stats, {}, {}))
  terms, running, raw = {}, state.running, {}
  for part in parts:
    terms, raw = terms | part.terms, raw | part.raw
    running = running | part.running
  return Found(terms, stats, running, raw)


def synthetic_views(setup, images, keys):
  """Warps loaded images into synthetic pairs: see `augment.warped_pairs`."""
  return augment.warped_pairs(
    keys,
    images,
    setup.image_size,
    target=setup.augment.target,
    source=setup.augment.source,
    margin=setup.augment.mask_margin,
    mask=setup.augment.mask,
  )


def natural_views(setup, images, keys):
  """Cuts the frame of each image, or warps each by its own if so configured."""
  table = setup.augment.natural
  if table is None:
    return geometry.centre_crop(images, setup.image_size)
  return augment.warp_images(keys, images, setup.image_size, table)
