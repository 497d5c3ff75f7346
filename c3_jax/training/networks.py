"""The networks inside a traced step: statistics go in and come out."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from c3_jax.models.c3 import C3
from c3_jax.models.vgg import VGG
from c3_jax.runtime import parallel
from c3_jax.training import objectives


@dataclass(frozen=True)
class Networks:
  """The model with parameters; batch statistics are passed through."""

  model: C3
  params: Any
  remat: bool = False

  def __call__(self, batch_stats, method, *args, **kwargs):
    """Runs a method of `C3`, or a function of it: (output, batch_stats)."""

    def call(params, batch_stats, *args):
      return self.model.apply(
        {"params": params, "batch_stats": batch_stats},
        *args,
        method=method,
        mutable=["batch_stats"],
        **kwargs,
      )

    if self.remat:
      call = jax.checkpoint(call)
    out, updates = call(self.params, batch_stats, *args)
    return out, updates.get("batch_stats", batch_stats)


@dataclass(frozen=True)
class Perceptual:
  """P of Eq. 1: the frozen network, and the decay of the running means."""

  vgg: VGG
  variables: Any
  decay: float
  remat: bool = False

  def __call__(self, target, output, running, mask=None):
    """Measures P between images [b, s, s, 3].

    Args:
      target, output: the images; no gradient flows into the first.
      running: tap -> running mean of this term's distances.
      mask: [b, s, s, 1] weights, or None.

    Returns:
      (P, running, raw): a scalar, the means moved on, and the distances.
    """
    features = partial(self.vgg.apply, self.variables)
    if self.remat:
      features = jax.checkpoint(features)
    distances = objectives.tap_distances(
      jax.lax.stop_gradient(features(target)), features(output), mask
    )
    raw = parallel.mean(jax.lax.stop_gradient(distances))
    running = objectives.update_running(running, raw, decay=self.decay)
    return objectives.perceptual(distances, running), running, raw
