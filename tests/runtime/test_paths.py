"""What the text of a path means."""

import pytest

from c3_jax.errors import UserError
from c3_jax.runtime import paths
from configs import folder


@pytest.fixture
def home(tmp_path, monkeypatch):
  """A home folder."""
  monkeypatch.setenv("HOME", str(tmp_path))
  return str(tmp_path)


def test_the_home_folder_is_expanded_and_nothing_else(home):
  """~ in front alone; brackets, dollars, spaces and colons are literal."""
  assert paths.local("~", "--x") == home
  assert paths.local("~/runs/a b", "--x") == f"{home}/runs/a b"
  for text in (
    "",
    ".",
    "a/~",
    "./~",
    "[a]*",
    "$HOME/x",
    "c:d",
    "a//b",
    "é:x/y",
  ):
    assert paths.local(text, "--x") == text


@pytest.mark.parametrize(
  ("text", "match"),
  [
    ("gs://bucket/run", "--x=gs://bucket/run is not a local path"),
    ("https://host/a.npz", "is not a local path"),
    ("~nobody_of_that_name/a", "no such user"),
    ("a\0b", "zero byte"),
  ],
)
def test_what_is_no_local_path_is_refused(home, text, match):
  """Nothing of that name is made here."""
  with pytest.raises(UserError, match=match):
    paths.local(text, "--x")


def test_every_path_of_a_config_is_expanded(home):
  """Roots, packed files, weights and the run to begin with."""
  config = folder.get_config("cpu").unlock()
  config.data.root, config.init.workdir = "~/data", "~/run"
  config.data.packed.train, config.weights.vgg = "~/a.npz", "~/vgg"
  paths.expand(config.lock())
  assert config.data.root == f"{home}/data"
  assert config.init.workdir == f"{home}/run"
  assert config.data.packed.train == f"{home}/a.npz"
  assert config.weights.vgg == f"{home}/vgg"
  config = folder.get_config("cpu").unlock()
  config.data.extra_root = "s3://bucket"
  with pytest.raises(UserError, match="--config.data.extra_root=s3://"):
    paths.expand(config)
