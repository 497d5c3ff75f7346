"""Tests of the configurations and of what is refused in them."""

import itertools
import json
import math
import re
import shutil

import ml_collections
import pytest

from c3_jax import figures, settings
from c3_jax.data import fake
from c3_jax.data.load import load_splits
from c3_jax.errors import UserError
from c3_jax.models import initial
from c3_jax.reporting import tables
from c3_jax.settings.stages import STAGES as STAGE_NAMES
from c3_jax.training import loop, validate
from c3_jax.training import setup as setup_lib
from c3_jax.training.terms import TERMS
from configs import celeba, folder, lsun, pf_pascal, synthetic
from tests.conftest import ROOT

VARIANTS = [
  (synthetic, ""),
  (synthetic, "test"),
  (synthetic, "test,stages=pairs"),
  (folder, ""),
  (folder, "cpu"),
  (folder, "cpu,stages=pairs+flow+cycle"),
  (folder, "cpu64"),
  (folder, "cpu64,vgg"),
  (folder, "vgg"),
  (folder, "test"),
  (celeba, ""),
  (celeba, "k=30,stages=12"),
  (celeba, "aflw"),
  (celeba, "test"),
  (celeba, "aflw,test"),
  (lsun, "car"),
  (lsun, "bedroom,test"),
  (pf_pascal, ""),
  (pf_pascal, "landmarks"),
  (pf_pascal, "kernel4d"),
  (pf_pascal, "landmarks,test"),
]
# Where not all three stages run.
STAGES = {
  (synthetic, ""): ["pairs"],
  (synthetic, "test,stages=pairs"): ["pairs"],
  (folder, "cpu"): ["pairs"],
  (folder, "cpu64"): ["pairs", "flow"],
  (folder, "cpu64,vgg"): ["pairs", "flow"],
  (celeba, "k=30,stages=12"): ["pairs", "flow"],
  (celeba, "aflw"): ["cycle"],
  (celeba, "aflw,test"): ["cycle"],
}
IDS = [f"{module.__name__}:{name}" for module, name in VARIANTS]
CELLS = list(itertools.product((0, 1), (0, 1)))


def flat(config):
  """dict "a.b.c" -> value of a config."""
  result = {}
  for key, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      result |= {f"{key}.{k}": v for k, v in flat(value).items()}
    else:
      result[key] = value
  return result


@pytest.mark.parametrize(("module", "name"), VARIANTS, ids=IDS)
def test_every_configuration_has_every_key(module, name):
  """A config has the keys of the paper's, all locked, and survives JSON."""
  config = module.get_config(name)
  assert config.is_locked
  with pytest.raises(AttributeError):
    config.data.imagesize = 3
  paper = flat(settings.paper(k=10, cycle=1, flow=1))
  assert flat(config).keys() == paper.keys()
  for key, value in flat(config).items():
    # Flags are parsed by the type of the default.
    assert type(value) is type(paper[key]), key
  again = ml_collections.ConfigDict(json.loads(config.to_json()))
  assert again.to_json() == config.to_json()


@pytest.mark.parametrize(("module", "name"), VARIANTS, ids=IDS)
def test_networks_and_stages_of_every_configuration(module, name):
  """Shapes fit, and the stages have their order and are laid end to end."""
  config = module.get_config(name)
  validate.validate(config)
  stages = setup_lib.stages(config, 5000)
  validate.check_shapes(config, setup_lib.Setup.of(config), stages)
  expected = STAGES.get((module, name), ["pairs", "flow", "cycle"])
  if module is pf_pascal and "landmarks" not in name:
    expected = ["flow", "cycle"]
  assert [stage.name for stage in stages] == expected
  assert stages[0].start == 0
  for before, after in itertools.pairwise(stages):
    assert before.steps > 0
    assert after.start == before.end
  for stage in stages:
    # What is frozen: the flow but where a term teaches it, or all but it.
    if stage.name == "flow" and not stage.weights["pairs"]:
      assert stage.train == ("flow",)
    elif module is not pf_pascal:
      taught = ("flow",) if stage.weights["match"] else ()
      moved = ("backbone", "appearance", "pose", "decoder", *taught)
      assert stage.train == moved


@pytest.mark.parametrize("name", ["cpu", "cpu64"])
def test_a_trained_vgg_sees_32_pixels(name):
  """`vgg` names the folder of docs/weights.md, and adds a tap at full width."""
  config, plain = (folder.get_config(f"{name}{end}") for end in (",vgg", ""))
  assert config.weights.vgg == "weights"
  _, vgg = initial.networks(config)
  assert (vgg.width, vgg.taps[-1]) == (1, "conv4_2")
  assert vgg.taps[:-1] == plain.perceptual.taps
  assert config.data.image_size // vgg.reduce == 32
  changed = {k for k, v in flat(config).items() if flat(plain)[k] != v}
  assert all(key.split(".")[0] in ("weights", "perceptual") for key in changed)


def test_the_papers_perceptual_distance_stays_with_a_trained_vgg():
  """`vgg` without a small network only names the folder."""
  plain, config = flat(folder.get_config("")), flat(folder.get_config("vgg"))
  assert {k for k in plain if plain[k] != config[k]} == {"weights.vgg"}


@pytest.mark.parametrize("module", [synthetic, folder, celeba, lsun])
def test_a_test_run_has_several_checkpoints_a_stage(module):
  """`:test` is short, and yet saves in the middle of each stage."""
  config = module.get_config("test")
  for stage in setup_lib.stages(config, 60):
    assert 2 * config.checkpoint_every <= stage.steps <= 20
  assert config.checkpoint_every % config.log_every == 0


@pytest.mark.parametrize("module", [celeba, folder])
def test_schedule_of_the_paper(module):
  """20, 5 and 200 epochs at 5e-4, divided by ten at epochs 100 and 150."""
  n = 161_962
  config = module.get_config()
  pairs, flow, cycle = setup_lib.stages(config, n)
  lengths = [math.ceil(epochs * n / 200) for epochs in (20, 5, 200)]
  assert [stage.steps for stage in (pairs, flow, cycle)] == lengths
  for epoch, rate in (
    (0, 5e-4),
    (99, 5e-4),
    (100, 5e-5),
    (149, 5e-5),
    (150, 5e-6),
    (199, 5e-6),
  ):
    first_step = math.ceil(epoch * n / 200)
    assert cycle.rate(first_step) == pytest.approx(rate), epoch
  # The last step before a drop.
  assert cycle.rate(100 * n // 200 - 1) == pytest.approx(5e-4)
  assert cycle.rate(150 * n // 200 - 1) == pytest.approx(5e-5)
  assert pairs.rate(pairs.steps - 1) == pytest.approx(5e-4)
  assert (config.batch_size, config.optimizer.weight_decay) == (200, 1e-4)
  for part in ("appearance", "pose", "decoder"):
    assert config.model[part].init_std == 0.01


def test_recipe_of_alignment():
  """5 epochs at 5e-4 on fixed features, 5 more at 1e-5 with all that moves."""
  flow, last = setup_lib.stages(pf_pascal.get_config(), 2 * 2940)
  assert flow.steps == last.steps == math.ceil(5 * 2940 / 16)
  assert flow.rate(0) == pytest.approx(5e-4)
  assert last.rate(0) == pytest.approx(1e-5)
  assert (flow.train, last.train) == (("flow",), ("backbone", "flow"))
  assert flow.weights == last.weights == dict.fromkeys(TERMS, 0) | {"flow": 1}
  config = pf_pascal.get_config("landmarks")
  pairs, flow, last = setup_lib.stages(config, 2 * 2940)
  # The features stay as they are before the last five epochs.
  assert set(pairs.train) == {"appearance", "pose", "decoder"}
  assert set(last.train) == {*pairs.train, "backbone", "flow"}
  assert last.weights == dict.fromkeys(TERMS, 0) | dict.fromkeys(
    ("cycle", "inv", "equiv", "flow"), 1
  )
  assert not config.objective.hard_flow
  assert not pf_pascal.get_config("kernel4d").model.flow.separable


def test_lsun_has_the_steps_of_faces():
  """Stages of LSUN are as long as CelebA's, whatever the number of images."""
  faces = setup_lib.stages(celeba.get_config(), 161_962)
  for n in (1000, 5_000_000):
    cars = setup_lib.stages(lsun.get_config("car"), n)
    assert [s.steps for s in cars] == [s.steps for s in faces]
    for step in (0, 80_980, 80_981, 121_471, 121_472, 161_961):
      assert cars[2].rate(step) == faces[2].rate(step)
  assert lsun.get_config("bedroom").data.category == "bedroom"


def test_stages_are_chosen_by_name_or_digit():
  """`stages=` leaves out those that it does not name; 4 is no stage."""
  names = lambda argument: [  # noqa: E731
    s.name for s in setup_lib.stages(celeba.get_config(argument), 1000)
  ]
  assert names("stages=1") == ["pairs"]
  assert names("stages=13") == ["pairs", "cycle"]
  assert names("stages=3,cycle=0") == ["cycle"]
  assert names("stages=flow") == ["flow"]
  assert names("stages=cycle+pairs,k=3") == ["pairs", "cycle"]
  for wrong in ("14", "warp", "pairs+", "pairs+warp"):
    with pytest.raises(ValueError, match=f"stages={re.escape(wrong)}'.*pairs"):
      celeba.get_config(f"stages={wrong}")


@pytest.mark.parametrize("module", [synthetic, folder, celeba, lsun])
@pytest.mark.parametrize("cell", CELLS)
def test_cells_of_table_2_differ_in_the_last_stage_alone(module, cell):
  """A cell is a set of weights of the last stage, and nothing else."""
  with_cycle, with_flow = cell
  config = flat(module.get_config(f"cycle={with_cycle},flow={with_flow}"))
  prefix = "stages.cycle.weights."
  weights = {
    key.removeprefix(prefix)
    for key, value in config.items()
    if key.startswith(prefix) and value
  }
  expected = {"cycle", "inv"} if with_cycle else {"pairs"}
  # What networks from scratch add is the same in all cells.
  added = {"warp", "apart"} if module in (synthetic, folder) else set()
  # The smallest network keeps L_pairs with L_cycle.
  added |= {"pairs", "match"} if module is synthetic else set()
  assert weights == expected | added | ({"equiv"} if with_flow else set())
  for key, value in flat(module.get_config()).items():
    assert config[key] == value or key.startswith(prefix)


@pytest.mark.slow
@pytest.mark.parametrize(
  ("module", "argument", "words"),
  [
    # The paper's own configs find the numbers of their protocol.
    (celeba, "test,stages=pairs", ["### celeba", "paper's Cond.", "| 3.19 |"]),
    (pf_pascal, "test", ["### pf_pascal", "flow, paper", "| 78.5 |"]),
    (lsun, "test,stages=pairs", ["Nothing annotated", "run/figures"]),
  ],
  ids=["celeba", "pf_pascal", "lsun"],
)
def test_a_config_passes_from_training_to_tables(
  module, argument, words, tmp_path, monkeypatch
):
  """One step a stage, the evaluation, and the row of its protocol."""
  monkeypatch.setattr(figures, "draw_run", lambda s, _: s.figures.mkdir())
  config = module.get_config(argument).unlock()
  # Example data stands on no protocol.
  config.data.root, n = str(tmp_path / "files"), config.data.example
  (tmp_path / "files").mkdir()
  write = getattr(fake, f"write_{config.data.name}")
  write(config.data.root, train=n, test=n // 2)
  for stage in STAGE_NAMES:
    config.stages[stage].steps = min(config.stages[stage].steps, 1)
  loop.train_and_evaluate(config.lock(), str(tmp_path / "run"))
  text = tables.collect([str(tmp_path / "run")])
  for word in words:
    assert word in text


def test_arguments_are_read_in_any_order():
  """Names and key=value pairs come in any order, each key once or more."""
  parse = settings.parse
  assert parse("", k=10) == (set(), {"k": 10})
  assert parse("k=5,test", variants=("test", "cpu"), k=10, flow=1) == (
    {"test"},
    {"k": 5, "flow": 1},
  )
  assert parse("flow=0,,k=7", k=10, flow=1)[1] == {"k": 7, "flow": 0}
  assert synthetic.get_config("k=7,test").model.k == 7


def test_arguments_have_the_types_of_their_defaults():
  """A bool is 0, 1, false or true, an int has digits, a text is not empty."""
  defaults = {"on": True, "n": 1, "name": "a"}
  _, values = settings.parse("on=false,n=01,name=1", **defaults)
  assert values == {"on": False, "n": 1, "name": "1"}
  assert [type(value) for value in values.values()] == [bool, int, str]
  for wrong in ("on=2", "on=", "n=true", "n=-1", "name="):
    with pytest.raises(ValueError, match="one of on=0|1, n=N, name=a$"):
      settings.parse(wrong, **defaults)


def test_a_config_is_a_name_or_a_file_anywhere(tmp_path, monkeypatch):
  """`synthetic:test` is configs/synthetic.py:test, and so is a copy of it."""
  monkeypatch.chdir(tmp_path)
  expected = synthetic.get_config("test").to_json()
  copy = shutil.copy(ROOT / "configs" / "synthetic.py", tmp_path / "mine.py")
  for name in ("synthetic", ROOT / "configs" / "synthetic.py", "mine.py", copy):
    config = settings.load(f"{name}:test")
    assert config.to_json() == expected
    assert config.is_locked
  # A folder of that name is no config.
  (tmp_path / "synthetic").mkdir()
  assert settings.load("synthetic:test").to_json() == expected


@pytest.mark.parametrize("name", ["none", "configs/synthetic.py", "notes.txt"])
def test_a_missing_config_is_named_with_those_there_are(
  name, tmp_path, monkeypatch
):
  """Outside a clone the message names the configs that come along."""
  monkeypatch.chdir(tmp_path)
  (tmp_path / "notes.txt").write_text("")
  with pytest.raises(UserError) as error:
    settings.load(f"{name}:test")
  for words in (name, "celeba, folder, lsun, pf_pascal", "--config=synthetic"):
    assert words in str(error.value)


@pytest.mark.parametrize(
  "argument", ["tset", "k", "k=", "k=x", "k=-1", "k=1.5", "test=1", "cycle=2"]
)
@pytest.mark.parametrize("module", [synthetic, folder, celeba, lsun, pf_pascal])
def test_wrong_arguments_are_named(module, argument):
  """The message names what is wrong and lists what there is."""
  with pytest.raises(ValueError, match="is not one of .*k=N") as error:
    module.get_config(f"test,{argument}")
  assert repr(argument) in str(error.value)


@pytest.mark.parametrize(
  ("changes", "named"),
  [
    # Four devices, and a pair must not be torn apart.
    ({"batch_size": 12}, "config.batch_size=12"),
    ({"batch_size": 0}, "config.batch_size=0"),
    (
      {"batch_size": 8, "objective.natural_positives": True},
      "config.batch_size=8",
    ),
    ({"data.load_size": 15}, "config.data.load_size=15"),
    ({"data.load_size": 19}, "config.data.load_size=19"),
    ({"accumulate": 3}, "config.batch_size=8"),
    ({"accumulate": 0}, "config.accumulate=0"),
    ({"log_every": 0}, "config.log_every=0"),
    ({"checkpoint_every": 0}, "config.checkpoint_every=0"),
    ({"eval.batch_size": 0}, "config.eval.batch_size=0"),
    ({"model.k": 0}, "config.model.k=0"),
    ({"augment.mask": "round"}, "config.augment.mask='round'"),
    ({"seed": -1}, "config.seed=-1"),
    ({"model.dtype": "bf16"}, "config.model.dtype='bf16'"),
    ({"stages.flow.epochs": 2.0}, "config.stages.flow has steps=10 and epochs"),
    ({"stages.pairs.steps": -1}, "config.stages.pairs.steps=-1"),
    ({"stages.flow.weights.flow": 0.0}, "config.stages.flow.weights"),
    ({"stages.pairs.weights.inv": 1.0}, "config.stages.pairs.weights.inv"),
    ({"stages.flow.weights.equiv": 1.0}, "config.stages.flow.weights.equiv"),
    (
      {f"stages.{name}.steps": 0 for name in ("pairs", "flow", "cycle")},
      "config.stages",
    ),
    ({"data.name": "celebrities"}, "celebrities"),
    ({"data.name": "folder"}, "config.data.root"),
    ({"data.image_size": 18, "data.load_size": 22}, "18"),
    ({"stages.pairs.train": ("backbones",)}, "backbones"),
    ({"perceptual.arch": "vgg17"}, "vgg17"),
    ({"perceptual.taps": ("input", "conv9_9")}, "conv9_9"),
    ({"model.backbone.stem": "large"}, "large"),
    ({"model.decoder.norm": "layer"}, "layer"),
  ],
)
def test_what_cannot_work_is_refused(changes, named):
  """Values that would fail later raise a line that names them."""
  config = synthetic.get_config("test").unlock()
  for key, value in changes.items():
    *path, last = key.split(".")
    part = config
    for name in path:
      part = part[name]
    part[last] = value
  config.data.update({"n_train": 2, "n_fit": 2, "n_test": 2})
  with pytest.raises(UserError) as error:
    validate.validate(config)
    if config.data.name != "synthetic":
      load_splits(config)
    stages = setup_lib.stages(config, 64)
    validate.check_shapes(config, setup_lib.Setup.of(config), stages)
  assert named in str(error.value)
  assert "\n" not in str(error.value)
