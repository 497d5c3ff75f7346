"""Pairs of images, run through the network.

Everything measured between two images goes from TARGET to SOURCE: a place in
the target is looked up in the source, as NC-Net does and as T^{source->target}
is defined (a pull map). Batches of pairs are those of `data.PairedDataset`.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from c3_jax import geometry
from c3_jax.runtime import parallel


@dataclasses.dataclass(frozen=True)
class Neighbours:
  """Pairs of images 2m (target) and 2m + 1 (source) of a dataset.

  A last image without a neighbour is left out, and so are pairs without a point
  in common. Without points, pairs have none either; the model frame, of side
  image_size, counts as the file.
  """

  dataset: Any
  image_size: int

  def __len__(self):
    return len(self.dataset) // 2

  def eval_batches(self, n_pairs):
    """Yields batches of n_pairs pairs, in order."""
    size = np.full((n_pairs, 2), self.image_size, np.int32)
    for batch in self.dataset.eval_batches(2 * n_pairs):
      points = batch.get("points", np.zeros((2 * n_pairs, 0, 2), np.float32))
      here = np.isfinite(points).all(-1)
      visible, points = here[0::2] & here[1::2], np.nan_to_num(points)
      some = visible.any(1) | (points.shape[1] == 0)
      yield {
        "image_target": batch["image"][0::2],
        "image_source": batch["image"][1::2],
        "points_target": points[0::2],
        "points_source": points[1::2],
        "visible": visible,
        "size_target": size,
        "size_source": size,
        "category": np.zeros(n_pairs, np.int32),
        "index": batch["index"][0::2] // 2,
        "mask": batch["mask"][0::2] * batch["mask"][1::2] * some,
      }


def pair_function(model, image_size, run):
  """Makes a pmapped function of pairs: (variables, batch) -> dict.

  The batch has image_target and image_source, uint8 [n, s, s, 3]. run(model,
  images) gets both in one array [2 n, ..], the targets first, as the network
  sees them.
  """

  def apply(variables, batch):
    images = jnp.concatenate([batch["image_target"], batch["image_source"]])
    images = geometry.network_input(images, image_size)
    return model.apply(variables, images, method=run)

  return parallel.pmap_eval(apply)


def match_function(model, image_size):
  """Makes the matcher of pairs, a `pair_function`.

  The result has landmarks_source and landmarks_target, float32 [n, k, 2] in
  [-1, 1], and scores, float32 [n, h, w, h, w]: C^ of Eq. 3, the source's cells
  first.
  """

  def run(model, images):
    f_flow, f = model.features(images)
    target, source = jnp.split(model.pose(f).points, 2)
    f_target, f_source = jnp.split(f_flow, 2)
    return {
      "landmarks_source": source,
      "landmarks_target": target,
      "scores": model.match(f_source, f_target),
    }

  return pair_function(model, image_size, run)


def matched(function, variables, pairs, batch_size):
  """Runs a `match_function` over a pair dataset.

  `batch_size` counts pairs and is a multiple of the local devices.

  Yields:
    One dict a batch: the dataset's arrays except the images, and the
    function's. Every pair appears once, padding not at all.
  """
  for batch in pairs.eval_batches(batch_size):
    images = {x: batch.pop(x) for x in ("image_source", "image_target")}
    batch |= function(variables, images)
    real = batch["mask"] > 0
    yield {name: x[real] for name, x in batch.items()}
