"""Disentanglement: does p hold the pose, and a the rest (Fig. 4)?

Images i and j of a pair are swapped, I_ij = D(a_i, p_j), and encoded again.
The pose of I_ij should be p_j, and all else should be as in image i. The
decoder without appearance, D(0, p_i), should draw one template face, whoever
is in the image.
"""

import collections

import jax.numpy as jnp
import numpy as np

from c3_jax.evaluation.pairs import matching
from c3_jax.evaluation.pairs.consistency import percent


def swap_function(model, image_size):
  """Makes the function that swaps pairs, a `matching.pair_function`.

  In the result, "pose" and "swap_pose" are landmarks [n, 2, k, 2] of the images
  (target, source) and of the two swapped ones, in the order of their
  APPEARANCE; "again_pose" those of the images decoded from their own a and p;
  "look", "swap_look" and "again_look" likewise their mean appearance features
  [n, 2, c]; "colour", "swap_colour" and "again_colour" mean colours [n, 2, 3];
  "template" and "again" are images [n, 2, s, s, 3].
  """

  def describe(encoding, images, prefix=""):
    return {
      f"{prefix}pose": encoding.pose.points,
      f"{prefix}look": encoding.appearance.astype(jnp.float32).mean((1, 2)),
      f"{prefix}colour": images.mean((1, 2)),
    }

  def run(model, images):
    own = model.encode(images)
    a, p = own.appearance, own.pose.maps
    # Clipped, as an image is before anybody looks at it.
    swap, again, template = (
      jnp.clip(model.decode(*parts), 0, 1)
      for parts in (
        (a, jnp.roll(p, len(p) // 2, 0)),
        (a, p),
        (jnp.zeros_like(a), p),
      )
    )
    result = {"again": again, "template": template} | describe(own, images)
    result |= describe(model.encode(swap), swap, "swap_")
    result |= describe(model.encode(again), again, "again_")
    # The targets are the first half of the rows, the sources the second.
    return {
      name: jnp.moveaxis(x.reshape(2, -1, *x.shape[1:]), 0, 1)
      for name, x in result.items()
    }

  return matching.pair_function(model, image_size, run)


def measure(function, variables, pairs, batch_size):
  """Measures disentanglement by a `swap_function` over a pair dataset.

  `batch_size` counts pairs and is a multiple of the local devices. What each
  key of the result means is in docs/evaluation_figures.md.
  """
  values, moments = [], collections.defaultdict(float)
  for batch in pairs.eval_batches(batch_size):
    inputs = {name: batch[name] for name in ("image_source", "image_target")}
    real = batch["mask"] > 0
    found = {k: v[real] for k, v in function(variables, inputs).items()}
    for name in ("template", "again"):
      images = np.concatenate(found.pop(name))
      moments[name, "pixels"] += _moments(images)
      moments[name, "colour"] += _moments(images.mean((1, 2)))
    values.append(found)
  found = {k: np.concatenate([v[k] for v in values]) for k in values[0]}
  pose, partner = found["pose"], found["pose"][:, ::-1]
  error = lambda name, truth: float(percent(found[name], truth).mean())  # noqa: E731
  return {
    "pairs": len(pose),
    "pose_error": {
      "to_pose": error("swap_pose", partner),
      "to_appearance": error("swap_pose", pose),
      "reconstruction": error("again_pose", pose),
      "between_pictures": float(percent(pose, partner).mean()),
    },
    "appearance_change": {
      "features": _change(found["swap_look"], found["again_look"]),
      "colour": _change(found["swap_colour"], found["again_colour"]),
    },
    "template_variance": {
      what: {
        "template": _variance(*moments["template", what]),
        "reconstruction": _variance(*moments["again", what]),
      }
      for what in ("pixels", "colour")
    },
  }


def _moments(x):
  """Sums 1, x and x^2 over the first axis: float64 [3, ..]."""
  x = np.asarray(x, np.float64)
  return np.stack([x**0, x, x**2]).sum(1)


def _variance(n, total, square):
  """Averages the variance over the entries of `_moments`."""
  return float(np.mean(square / n - (total / n) ** 2))


def _change(swap, own):
  """Measures how far swaps lie from the two images they are made of.

  Distances between descriptions, as a share of the distance between those of
  the two images decoded from their own a and p.
  """
  distance = lambda a, b: float(np.linalg.norm(a - b, axis=-1).mean())  # noqa: E731
  apart = distance(own, own[:, ::-1])
  # Images that are all alike are no scale to measure by.
  share = lambda x: x / apart if apart > 1e-6 else None  # noqa: E731
  return {
    "to_appearance": share(distance(swap, own)),
    "to_pose": share(distance(swap, own[:, ::-1])),
  }
