"""Tests of the checkpoints on a tiny state; Orbax is not tested again."""

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3_jax.checkpoints import Checkpoints
from c3_jax.errors import UserError


@flax.struct.dataclass
class State:
  """A state as small as can be."""

  step: int
  params: dict
  count: jax.Array


def state(step, *, width=3, extra=()):
  """A state whose numbers tell the step it is of."""
  kernel = jnp.arange(2.0 * width).reshape(2, width) / 3 + step
  params = {"layer": {"kernel": kernel}, "bias": jnp.full(width, -step / 7)}
  params |= {name: jnp.zeros(1) for name in extra}
  return State(jnp.int32(step), params, jnp.uint8(step % 7))


def kept(workdir):
  """Steps of the checkpoints in a folder."""
  folder = workdir / "checkpoints"
  return sorted(int(path.name) for path in folder.iterdir())


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
  """A folder after saving steps 1 to 7 with these errors."""
  workdir = tmp_path_factory.mktemp("filled")
  with Checkpoints(workdir) as checkpoints:
    for step, error in enumerate([9, 5, None, 3.5, 4, None, 8], 1):
      checkpoints.save(state(step), error=error)
  return workdir


def test_empty_folder_has_no_checkpoint(tmp_path):
  """Before the first save there is nothing to go on from."""
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.latest is None
    assert checkpoints.best is None
    assert checkpoints.pending == []


def test_newest_two_and_the_best_are_kept(filled):
  """Of seven, the last two stay and the one with the lowest error."""
  assert kept(filled) == [4, 6, 7]
  with Checkpoints(filled) as checkpoints:
    assert (checkpoints.latest, checkpoints.best) == (7, 4)


def test_best_moves_on(tmp_path):
  """A lower error later takes the place of the best, and the old one goes."""
  with Checkpoints(tmp_path) as checkpoints:
    for step, error in enumerate([5, 6, 6, 2, 6, 6], 1):
      checkpoints.save(state(step), error=error)
      assert checkpoints.best == (1 if step < 4 else 4)
  assert kept(tmp_path) == [4, 5, 6]


def test_without_errors_the_newest_is_best(tmp_path):
  """A dataset without annotations keeps two checkpoints, not all."""
  with Checkpoints(tmp_path) as checkpoints:
    for step in (2, 4, 6, 8):
      checkpoints.save(state(step))
    assert (checkpoints.latest, checkpoints.best) == (8, 8)
  assert kept(tmp_path) == [6, 8]


def test_a_state_comes_back_bit_by_bit(filled):
  """Values, dtypes and structure are those saved, whatever the template's."""
  template = jax.tree.map(jnp.zeros_like, state(0))
  with Checkpoints(filled) as checkpoints:
    for step in (4, 7):
      found = checkpoints.restore(template, step)
      assert isinstance(found, State)
      for x, y in zip(
        jax.tree.leaves(found), jax.tree.leaves(state(step)), strict=True
      ):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(
  "template",
  [
    state(0, width=4),
    state(0, extra=("more",)),
    state(0).replace(params={"bias": jnp.zeros(3)}),
    state(0).replace(params={"other": jnp.zeros(3)}),
    state(0).replace(params=None),
  ],
  ids=["shape", "more", "less", "names", "none"],
)
def test_another_model_is_refused(filled, template):
  """A template that does not fit names the checkpoint and the mend."""
  with (
    Checkpoints(filled) as checkpoints,
    pytest.raises(UserError, match=r"checkpoints/7 .*config") as error,
  ):
    checkpoints.restore(template, 7)
  assert "\n" not in str(error.value)


def test_a_step_that_is_not_there_is_refused(filled):
  """Steps that were never saved, or are gone, are named."""
  with Checkpoints(filled) as checkpoints:
    for step in (1, 99):
      with pytest.raises(UserError, match=f"checkpoints/{step} "):
        checkpoints.restore(state(0), step)


def test_pending_metrics_belong_to_the_newest(tmp_path):
  """What had not been written comes back exactly; the next save clears it."""
  rows = [{"loss": 0.1 + 0.2, "pairs": 1e-30}, {"loss": 3.0, "pairs": 2.5}]
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(state(1), error=4.0)
    checkpoints.save(state(2), pending=rows)
  with Checkpoints(tmp_path) as checkpoints:
    assert checkpoints.pending == rows
    checkpoints.save(state(3), error=5.0)
    assert checkpoints.pending == []


def test_half_written_checkpoint_does_not_count(filled, tmp_path):
  """A folder that a kill left unfinished is passed over."""
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(state(1), error=4.0)
    checkpoints.save(state(2), error=5.0)
  whole = tmp_path / "checkpoints" / "2"
  # As Orbax names what it has not finished.
  whole.rename(whole.with_name("2.orbax-checkpoint-tmp"))
  with Checkpoints(tmp_path) as checkpoints:
    assert (checkpoints.latest, checkpoints.best) == (1, 1)
    checkpoints.save(state(2), error=3.0)
    assert checkpoints.best == 2
