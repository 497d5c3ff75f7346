"""Tests of the checkpoints on a tiny state; Orbax is not tested again."""

import json
import pathlib
import shutil

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3_jax.errors import UserError
from c3_jax.runs.checkpoints import Checkpoints, Damaged


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
    assert checkpoints.steps == []


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
  """A template that does not fit names the checkpoint and the remedy."""
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
      with pytest.raises(UserError, match=f"no checkpoint of step {step}:"):
        checkpoints.restore(state(0), step)


def test_notes_belong_to_their_checkpoint(tmp_path):
  """What is noted beside a state comes back exactly, for each step."""
  rows = [{"loss": 0.1 + 0.2, "pairs": 1e-30}, {"loss": 3.0, "pairs": 2.5}]
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(state(1), error=4.0, n_train=17)
    checkpoints.save(state(2), pending=rows)
  with Checkpoints(tmp_path) as checkpoints:
    first, second = checkpoints.notes(1), checkpoints.notes(2)
    assert (first["error"], first["n_train"], first["pending"]) == (4.0, 17, [])
    assert (second["error"], second["n_train"]) == (None, None)
    assert second["pending"] == rows


def test_step_0_stays(tmp_path):
  """The first checkpoint of a run that started from other networks is kept."""
  with Checkpoints(tmp_path) as checkpoints:
    for step in range(4):
      checkpoints.save(state(step))
  assert kept(tmp_path) == [0, 2, 3]


def test_a_part_can_be_read_alone(filled):
  """Without its optimiser, say; but not what the checkpoint does not hold."""
  template = {"params": state(0).params}
  with Checkpoints(filled) as checkpoints:
    found = checkpoints.restore(template, 7, partial=True)
    jax.tree.map(
      np.testing.assert_array_equal, found, {"params": state(7).params}
    )
    with pytest.raises(UserError, match="does not hold the model"):
      checkpoints.restore(template, 7)
    with pytest.raises(UserError, match="does not hold the model"):
      checkpoints.restore({"weights": template["params"]}, 7, partial=True)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
  """A folder with checkpoints 1 and 2."""
  workdir = tmp_path_factory.mktemp("pair")
  with Checkpoints(workdir) as checkpoints:
    checkpoints.save(state(1), error=4.0)
    checkpoints.save(state(2), error=3.0)
  return workdir


def cut(path):
  """Leaves half of a file."""
  data = path.read_bytes()
  path.write_bytes(data[: len(data) // 2])


def flip(path):
  """Changes one bit in the middle of a file."""
  data = bytearray(path.read_bytes())
  data[len(data) // 2] ^= 0x10
  path.write_bytes(data)


# Orbax leaves readers of broken files behind, which fail once more later.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("damage", [cut, flip, pathlib.Path.unlink])
def test_damage_is_noticed_and_the_one_before_is_used(pair, tmp_path, damage):
  """No damaged file gives another state; damaged checkpoints can be moved."""
  files = [
    path.relative_to(pair)
    for path in (pair / "checkpoints" / "2").rglob("*")
    if path.is_file() and path.stat().st_size
  ]
  noticed = 0
  for i, file in enumerate(files):
    workdir = shutil.copytree(pair, tmp_path / str(i))
    damage(workdir / file)
    with Checkpoints(workdir, repair=True) as checkpoints:
      if checkpoints.latest == 2:
        try:
          found = checkpoints.restore(state(0), 2)
        except Damaged as error:
          assert f"{workdir}/checkpoints/2 is damaged" in str(error)
          checkpoints.set_aside(2)
        else:
          jax.tree.map(np.testing.assert_array_equal, found, state(2))
          continue
      noticed += 1
      assert (checkpoints.latest, checkpoints.best) == (1, 1), file
      found = checkpoints.restore(state(0), 1)
      jax.tree.map(np.testing.assert_array_equal, found, state(1))
      if noticed == 1:  # The way is free for the step to be saved again.
        checkpoints.save(state(2), error=5.0)
        assert checkpoints.latest == 2
    assert [p.name for p in (workdir / "damaged").iterdir()] == ["0_step2"]
  assert noticed >= 3


def test_opening_to_read_moves_nothing(pair, tmp_path):
  """Who only reads gets an error, and the files stay where they are."""
  workdir = shutil.copytree(pair, tmp_path / "copy")
  (notes,) = (workdir / "checkpoints" / "2").glob("_CHECKPOINT_METADATA")
  cut(notes)
  with Checkpoints(workdir) as checkpoints:
    assert (checkpoints.latest, checkpoints.best) == (2, 1)
    with pytest.raises(Damaged, match="checkpoints/2 is damaged"):
      checkpoints.restore(state(0), 2)
    assert checkpoints.restore(state(0), 1).step == 1
  assert kept(workdir) == [1, 2]


def test_half_written_checkpoint_does_not_count(filled, tmp_path):
  """A folder that a kill left unfinished is passed over."""
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(state(1), error=4.0)
    checkpoints.save(state(2), error=5.0)
  whole = tmp_path / "checkpoints" / "2"
  # As Orbax names what it has not finished.
  part = whole.rename(whole.with_name("2.orbax-checkpoint-tmp"))
  with Checkpoints(tmp_path) as checkpoints:
    assert (checkpoints.latest, checkpoints.best) == (1, 1)
  assert part.exists()
  with Checkpoints(tmp_path, repair=True) as checkpoints:
    assert not part.exists()
    assert (checkpoints.latest, checkpoints.best) == (1, 1)
    checkpoints.save(state(2), error=3.0)
    assert checkpoints.best == 2


def test_what_else_lies_there_is_no_checkpoint(filled, tmp_path):
  """Leftovers of file managers, network drives and careful people."""
  workdir = shutil.copytree(filled, tmp_path / "run")
  folder = workdir / "checkpoints"
  for name in (".DS_Store", "._7", ".nfs0000001", "README.txt", "99", "²"):
    (folder / name).write_text("x")
  for name in ("@eaDir", "7 copy", "٣", "-8"):
    shutil.copytree(folder / "7", folder / name)
  (folder / "7" / ".DS_Store").write_text("x")
  with Checkpoints(workdir) as checkpoints:
    assert checkpoints.best == 4
    for step in (4, 7):
      assert checkpoints.restore(state(0), step).step == step


@pytest.mark.parametrize(
  "notes",
  [
    *({"error": x} for x in ("low", [1.0], {"a": 1})),
    *({"pending": x} for x in (None, 3, [1])),
    {"n_train": "17"},
    {"digest": None},
    {"data": {"names": 1, "sizes": None}},
  ],
  ids=str,
)
def test_notes_of_another_form_are_damage(filled, tmp_path, notes):
  """Whoever changed them, the newest and the best are found without them."""
  workdir = shutil.copytree(filled, tmp_path / "run")
  (path,) = (workdir / "checkpoints" / "4").glob("_CHECKPOINT_METADATA")
  content = json.loads(path.read_text())
  content["custom_metadata"] |= notes
  path.write_text(json.dumps(content))
  with Checkpoints(workdir) as checkpoints:
    assert (checkpoints.latest, checkpoints.best) == (7, 7)
    with pytest.raises(Damaged, match="checkpoints/4 is damaged"):
      checkpoints.restore(state(0), 4)
