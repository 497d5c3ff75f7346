"""Checkpoints of a run: a thin layer over Orbax.

Kept are the newest two, the best one by the metric "error" (percent, lower is
better), where a checkpoint has one, and that of step 0 where there is one. What
is stored is host NumPy, so any number of devices or processes can read it.
"""

import pathlib

import jax
from orbax.checkpoint import v1 as ocp

from c3_jax.errors import UserError

METRIC = "error"


def _error(metrics):
  return (metrics or {}).get(METRIC, float("inf"))


class Checkpoints:
  """The folder `workdir/checkpoints`; use it as a context manager."""

  def __init__(self, workdir):
    policies = ocp.training.preservation_policies
    self._path = pathlib.Path(workdir).resolve() / "checkpoints"
    self._checkpointer = ocp.training.Checkpointer(
      self._path,
      preservation_policy=policies.AnyPreservationPolicy(
        [
          policies.LatestN(2),
          policies.CustomSteps([0]),
          policies.BestN(
            get_metric_fn=_error,
            reverse=True,
            n=1,
            keep_checkpoints_without_metrics=False,
          ),
        ]
      ),
    )

  def __enter__(self):
    return self

  def __exit__(self, *args):
    self._checkpointer.close()

  @property
  def latest(self):
    """Step of the newest checkpoint, or None."""
    newest = self._checkpointer.latest
    return None if newest is None else newest.step

  @property
  def best(self):
    """Step of the best checkpoint; the newest where none has an error."""
    found = [
      (_error(each.metrics), -each.step)
      for each in self._checkpointer.checkpoints
    ]
    if not found:
      return None
    return -min(found)[1]

  @property
  def pending(self):
    """What was `pending` when the newest checkpoint was saved; [] if none."""
    if self.latest is None:
      return []
    metadata = self._checkpointer.metadata(self.latest).custom_metadata
    return (metadata or {}).get("pending", [])

  def save(self, state, *, error=None, pending=()):
    """Writes the state under its step; whole, or not at all.

    Args:
      state: tree of arrays with a scalar `step`.
      error: percent on held-out training images, or None.
      pending: list of dicts name -> float: metrics that are not written yet,
        of a run that stops between two lines of its log.
    """
    state = jax.device_get(state)
    self._checkpointer.save(
      int(state.step),
      state,
      metrics=None if error is None else {METRIC: float(error)},
      custom_metadata={"pending": list(pending)},
    )

  def restore(self, template, step):
    """Reads the checkpoint of a step into the shape of `template`.

    Args:
      template: tree of arrays; only shapes and dtypes matter.
      step: int.

    Returns:
      The tree, NumPy arrays.

    Raises:
      UserError: no such checkpoint, or it holds another model.
    """
    template = jax.device_get(template)
    try:
      tree = self._checkpointer.load(step, template)
      # Orbax itself does not compare the shapes of NumPy arrays.
      jax.tree.map(_same_shape, tree, template)
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
      raise UserError(
        f"{self._path}/{step} does not hold the model of this config: pass "
        "the config it was trained with, or another --workdir."
      ) from error
    return tree


def _same_shape(x, y):
  if x.shape != y.shape:
    raise ValueError(f"the shape is {x.shape}, not {y.shape}")
