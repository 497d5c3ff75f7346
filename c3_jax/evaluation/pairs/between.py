"""All that is measured between two pictures, for eval/DATASET.json."""

import jax

from c3_jax.data import pairs, synthetic
from c3_jax.evaluation.pairs import (
  alignment,
  consistency,
  disentanglement,
  matching,
  transfer,
)

MODULES = {
  "alignment": alignment,
  "consistency": consistency,
  "transfer": transfer,
}

CHOSEN = "scnet@0.1"  # The paper's Table 3.


def has_pairs(dataset):
  """Whether a dataset is one of listed pairs, as PF-Pascal is."""
  return hasattr(dataset, "pairs")


class Between:
  """Measures on the pairs of a dataset of test pictures.

  A dataset of single pictures is measured on neighbours in its order. What
  does not depend on the parameters is compiled once.
  """

  def __init__(self, config, model, dataset):
    self._config, self._dataset = config, dataset
    size = config.data.image_size
    self._listed = has_pairs(dataset)
    self._pairs = dataset
    if not self._listed:
      self._pairs = matching.Neighbours(dataset, size)
    self._match = matching.match_function(model, size)
    self._swap = disentanglement.swap_function(model, size)
    devices = jax.local_device_count()
    # Two pictures a pair.
    self._batch_size = -(-config.eval.batch_size // (2 * devices)) * devices

  def collect(self, variables, names):
    """{name: what the module of that name collects over all pairs}."""
    batches = matching.matched(
      self._match, variables, self._pairs, self._batch_size
    )
    return matching.collect(
      batches, {name: MODULES[name].collect for name in names}
    )

  def missed(self, variables):
    """What the flow's PCK lacks of 100 %, under the key `CHOSEN`."""
    values = self.collect(variables, ["alignment"])["alignment"]
    return 100 - alignment.summary(values)["readings"]["flow"][CHOSEN]

  def report(self, variables, untrained, *, normaliser):
    """The keys of eval/DATASET.json that docs/evaluation_figures.md describes.

    Args:
      variables: trained params and batch_stats.
      untrained: those of the same network before training.
      normaliser: as `regression.point_errors`.

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
      "consistency": consistency.report(values["consistency"], self._poses()),
      "disentanglement": disentanglement.report(
        self._swap, variables, self._pairs, self._batch_size
      ),
    }
    if annotated:
      found = alignment.report(values["alignment"], **self._groups())
      before = self.collect(untrained, ["alignment"])["alignment"]
      found["untrained"] = alignment.summary(before)["readings"]
      result |= {"pck": found["readings"]["flow"], "alignment": found}
    if "transfer" in values:
      result["transfer"] = transfer.report(
        values["transfer"],
        image_size=self._config.data.image_size,
        normaliser=normaliser,
      )
    return result

  def _groups(self):
    """What `alignment.report` needs to tell categories and lists apart."""
    if not self._listed:
      return {}
    return {"categories": pairs.CATEGORIES, "lists": self._dataset.subsets}

  def _poses(self):
    """(target, source) poses of all pairs of synthetic faces, else None."""
    data, n = self._config.data, 2 * len(self._pairs)
    if data.name != "synthetic":
      return None
    poses = synthetic.poses(data.seed, split="test", n=n)
    return tuple(jax.tree.map(lambda x: x[i::2], poses) for i in (0, 1))  # noqa: B023


def lines(report):
  """The numbers of `Between.report` as lines of text, a block a unit."""
  result = []
  if "transfer" in report:
    found = report["transfer"]
    result += block(
      "annotated points carried to another picture, distance / normaliser, %",
      [
        ("by flow", found["flow"]),
        ("by landmarks", found["landmarks"]),
        ("left in place", found["identity"]),
      ],
    )
  if "alignment" in report:
    found = report["alignment"]
    key = CHOSEN
    rows = [
      (name.replace("identity", "left in place"), values[key])
      for name, values in found["readings"].items()
    ]
    rows += [("flow, same network untrained", found["untrained"]["flow"][key])]
    rows += [
      (f"flow, list {name} ({part['pairs']})", part["readings"]["flow"][key])
      for name, part in found["lists"].items()
    ]
    result += block(f"PCK {key} of {found['pairs']} pairs, %", rows)
  if "consistency" in report:
    found = report["consistency"]
    rows = [
      ("landmarks carried by flow to those detected", found["flow"]),
      ("landmarks left in place", found["left_in_place"]),
      ("between landmarks of one picture", found["spread"]),
    ]
    if found.get("truth") is not None:
      name = "landmarks carried by the true correspondence"
      rows.insert(1, (name, found["truth"]))
    found = report["disentanglement"]["pose_error"]
    rows += [
      ("landmarks of a swap to those asked for", found["to_pose"]),
      ("landmarks of a swap to the other picture's", found["to_appearance"]),
    ]
    result += block("distance / image side, %", rows)
  return result


def block(title, rows):
  """Lines of a title and of (name, number) rows under it."""
  width = max(46, *(len(name) for name, _ in rows))
  return [f" {title}", *(f"  {n:{width}}{value:8.2f}" for n, value in rows)]
