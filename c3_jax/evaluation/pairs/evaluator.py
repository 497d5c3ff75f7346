"""The numbers of a model on pairs of images, for eval/DATASET.json."""

import jax
import numpy as np

from c3_jax.data import PairedDataset, pairs, synthetic
from c3_jax.evaluation.pairs import (
  alignment,
  consistency,
  disentanglement,
  matching,
  transfer,
)
from c3_jax.models import correspondence
from c3_jax.runs.reports import CHOSEN
from c3_jax.runtime import parallel

MODULES = {
  "alignment": alignment,
  "consistency": consistency,
  "transfer": transfer,
}


class PairEvaluator:
  """Measures on the pairs of a dataset, or on neighbours in its order."""

  def __init__(self, config, model, dataset):
    self._config, self._dataset = config, dataset
    size = config.data.image_size
    self._listed = isinstance(dataset, PairedDataset)
    self._pairs = dataset
    if not self._listed:
      self._pairs = matching.Neighbours(dataset, size)
    self._match = matching.match_function(model, size)
    self._reading = correspondence.Matcher.measured(config.objective)
    self._swap = disentanglement.swap_function(model, size)
    # Two images a pair.
    self._batch_size = parallel.whole_batch(-(-config.eval.batch_size // 2))

  def collect(self, variables, names):
    """Collects what some of `MODULES` need of all pairs: {name: values}.

    Scores are large: those of a batch are dropped before the next is made.
    """
    batches = matching.matched(
      self._match, variables, self._pairs, self._batch_size
    )
    parts = [
      {x: MODULES[x].collect(batch, self._reading) for x in names}
      for batch in batches
    ]
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)

  def missed(self, variables):
    """Measures 100 % less the flow's PCK, under the key `CHOSEN`."""
    values = self.collect(variables, ["alignment"])["alignment"]
    return 100 - alignment.summary(values)["readings"]["flow"][CHOSEN]

  def measure(self, variables, untrained, *, normaliser):
    """Measures everything between images; see docs/evaluation_figures.md.

    `variables` and `untrained` are params and batch_stats after and before
    training; normaliser is as in `regression.point_errors`.

    Returns:
      {"consistency", "disentanglement"}; with annotated points "pck" and
      "alignment" too, and "transfer" unless the pairs are listed ones. Empty
      where there is not one pair.
    """
    if not len(self._pairs):
      return {}
    annotated = self._listed or self._dataset.points is not None
    names = ["consistency"]
    if annotated:
      names += ["alignment"] if self._listed else ["alignment", "transfer"]
    values = self.collect(variables, names)
    result = {
      "consistency": consistency.measure(values["consistency"], self._poses()),
      "disentanglement": disentanglement.measure(
        self._swap, variables, self._pairs, self._batch_size
      ),
    }
    if annotated:
      found = alignment.measure(
        values["alignment"],
        categories=pairs.CATEGORIES if self._listed else (),
        lists=self._dataset.subsets if self._listed else None,
      )
      before = self.collect(untrained, ["alignment"])["alignment"]
      found["untrained"] = alignment.summary(before)["readings"]
      result |= {"pck": found["readings"]["flow"], "alignment": found}
    if "transfer" in values:
      result["transfer"] = transfer.measure(
        values["transfer"],
        image_size=self._config.data.image_size,
        normaliser=normaliser,
      )
    return result

  def _poses(self):
    """Gives the poses (target, source) of synthetic pairs, else None."""
    data, n = self._config.data, 2 * len(self._pairs)
    if data.name != "synthetic":
      return None
    poses, _ = synthetic.posed(data.seed, split="test", n=n)
    return tuple(jax.tree.map(lambda x: x[i::2], poses) for i in (0, 1))  # noqa: B023
