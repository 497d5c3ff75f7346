"""Pairs of images, run through the network.

Everything measured between two images goes from TARGET to SOURCE: a place in
the target is looked up in the source, as NC-Net does and as T^{source->target}
is defined (a pull map). Batches of pairs are those of `data.PairedDataset`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from c3_jax import geometry
from c3_jax.runtime import parallel


@dataclasses.dataclass(frozen=True)
class Neighbours:
  """Pairs of images 2m (target) and 2m + 1 (source) of a dataset.

  A last image without a neighbour is left out.

  Attributes:
    dataset: with `eval_batches`; without points, pairs have none either.
    image_size: side of the model frame, which counts as the file.
  """

  dataset: Any
  image_size: int

  def __len__(self):
    return len(self.dataset) // 2

  def eval_batches(self, n_pairs):
    """Yields batches of n_pairs pairs, in order."""
    for batch in self.dataset.eval_batches(2 * n_pairs):
      index = batch["index"][0::2] // 2
      points = batch.get("points")
      if points is None:
        points = np.zeros((2 * n_pairs, 0, 2), np.float32)
      size = np.full((n_pairs, 2), self.image_size, np.int32)
      yield {
        "image_target": batch["image"][0::2],
        "image_source": batch["image"][1::2],
        "points_target": points[0::2],
        "points_source": points[1::2],
        "visible": np.ones((n_pairs, points.shape[1]), bool),
        "size_target": size,
        "size_source": size,
        "category": np.zeros(n_pairs, np.int32),
        "index": index,
        "mask": batch["mask"][0::2] * batch["mask"][1::2],
      }


def match_function(model, image_size):
  """Makes the pmapped matcher of pairs: (variables, batch) -> dict.

  The batch has image_source and image_target, uint8 [n, s, s, 3]. The result
  has landmarks_source and landmarks_target, float32 [n, k, 2] in [-1, 1], and
  scores, float32 [n, h, w, h, w]: C^ of Eq. 3, the source's cells first.
  """

  def run(model, images):
    f_flow, f = model.features(images)
    points = model.pose(f).points
    (points_s, points_t), (f_s, f_t) = (
      jnp.split(x, 2) for x in (points, f_flow)
    )
    return {
      "landmarks_source": points_s,
      "landmarks_target": points_t,
      "scores": model.match(f_s, f_t),
    }

  def match(variables, batch):
    images = jnp.concatenate([batch["image_source"], batch["image_target"]])
    images = geometry.network_input(images, image_size)
    return model.apply(variables, images, method=run)

  return parallel.pmap_eval(match)


def matched(function, variables, pairs, batch_size):
  """Runs `match_function` over a pair dataset.

  Args:
    function: from `match_function`.
    variables: params and batch_stats.
    pairs: a pair dataset.
    batch_size: pairs at a time, a multiple of the local devices.

  Yields:
    One dict a batch: the dataset's arrays except the images, and the
    function's. Every pair appears once, padding not at all.
  """
  for batch in pairs.eval_batches(batch_size):
    images = {
      name: batch.pop(name) for name in ("image_source", "image_target")
    }
    found = function(variables, images)
    real = batch["mask"] > 0
    yield jax.tree.map(lambda x: x[real], {**batch, **found})  # noqa: B023


def collect(batches, functions):
  """Applies functions to every batch and joins the results.

  Scores are large: those of a batch are dropped before the next is made.

  Args:
    batches: from `matched`.
    functions: name -> function of a batch that gives arrays [n, ..] or a tree
      of them.

  Returns:
    {name: tree of arrays [pairs, ..]}.
  """
  parts = [
    {name: function(batch) for name, function in functions.items()}
    for batch in batches
  ]
  return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)
