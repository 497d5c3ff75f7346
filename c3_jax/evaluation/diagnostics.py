"""Landmarks that say nothing: merged, still, or glued to the border.

These are the usual failures of unsupervised training; the losses do not reveal
them. Counts are logged at every checkpoint; what went wrong since the last one
is a warning that says what to try.
"""

import logging

import numpy as np

logger = logging.getLogger(__name__)

ADVICE = {
  "merged": (
    "lie on one spot. Try L_apart (config.stages.pairs.weights.apart=0.5, and "
    "of cycle), fewer landmarks (config.model.k), L_pairs with L_cycle "
    "(config.stages.cycle.weights.pairs=1), or a longer stage pairs."
  ),
  "still": (
    "hardly move from image to image. Try stronger warps "
    "(config.augment.target, config.augment.source), or take the image out "
    "of the appearance map (config.model.appearance.pool=True)."
  ),
  "border": (
    "are glued to the border. Load larger images, so that warps do not show "
    "their border (config.data.load_size), or config.augment.mask=imm, or "
    "with mask=border a wider config.augment.mask_margin."
  ),
}


def faults(points, *, merged, still, border):
  """Finds landmarks that say nothing; thresholds are fractions of the side.

  Args:
    points: [n, k, 2] landmarks of n images, (x, y) in [-1, 1].
    merged: two landmarks are merged whose mean distance is less than this.
    still: a landmark is still whose deviation from its mean place (root mean
      square) is less than this.
    border: a landmark is glued to the border that is nearer to it than this in
      more than half of the images.

  Returns:
    dict merged, still, border -> sorted list of landmarks.
  """
  points = np.asarray(points, np.float64) / 2  # The side is 1 long.
  k = points.shape[1]
  distance = np.stack(
    [np.linalg.norm(points - points[:, [i]], axis=-1).mean(0) for i in range(k)]
  )
  distance[np.diag_indices(k)] = np.inf
  variance = ((points - points.mean(0)) ** 2).sum(-1).mean(0)
  near = 0.5 - np.abs(points).max(-1) < border
  found = {
    "merged": (distance < merged).any(1),
    "still": np.sqrt(variance) < still,
    "border": near.mean(0) > 0.5,
  }
  return {name: np.flatnonzero(where).tolist() for name, where in found.items()}


def faulty(found):
  """Gathers the landmarks that have any of the `faults`: a set."""
  return {i for where in found.values() for i in where}


class Diagnostics:
  """Counts the faults on the first training images, and warns of new ones."""

  def __init__(self, config, evaluator, dataset, stages):
    """Reads `config.eval.diagnostics`; `dataset` has the training images.

    Without a stage that trains the landmarks there is nothing to count.
    """
    self._thresholds = config.eval.diagnostics.to_dict()
    n = min(self._thresholds.pop("images"), len(dataset))
    self._count = n if any("pose" in stage.train for stage in stages) else 0
    self._evaluator, self._dataset = evaluator, dataset
    self._before = {name: [] for name in ADVICE}

  def __call__(self, variables):
    """Counts landmarks_merged, landmarks_still and landmarks_border: a dict."""
    if not self._count:
      return {}
    images = self._dataset.first(self._count)
    points = self._evaluator.landmarks(variables, images)
    found = faults(points, **self._thresholds)
    for name, landmarks in found.items():
      if set(landmarks) - set(self._before[name]):
        # Counted from 1, as in the columns of c3_jax.predict.
        named = ", ".join(str(landmark + 1) for landmark in landmarks)
        logger.warning("Landmarks %s %s", named, ADVICE[name])
    self._before = found
    return {f"landmarks_{name}": len(found[name]) for name in found}
