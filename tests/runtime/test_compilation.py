"""Compiled programs kept between runs."""

import os
import pathlib
import shutil
import subprocess
import sys
import time

import jax
import pytest

from c3_jax.runtime import compilation

# A program whose compilation takes longer than is worth a file.
_PROGRAM = """
import sys, jax, jax.numpy as jnp
from c3_jax.runtime import compilation
hits = []
jax.monitoring.register_event_listener(
  lambda event, **_: hits.append(event.endswith("/cache_hits")))
compilation.enable()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.jit(lambda x: jnp.sin(x) * 2)(jnp.ones(3)).block_until_ready()
print(sum(hits), flush=True)
if sys.argv[1:]:
  import os, signal
  os.kill(os.getpid(), signal.SIGKILL)
"""


def _run(folder, *arguments):
  """Cache hits of a run of the program that keeps its programs in `folder`."""
  environment = os.environ | {"C3_JAX_CACHE": str(folder)}
  environment.pop("JAX_COMPILATION_CACHE_DIR", None)
  out = subprocess.run(
    [sys.executable, "-c", _PROGRAM, *arguments],
    env=environment,
    capture_output=True,
    text=True,
    check=False,
  )
  return int(out.stdout), out.stderr


@pytest.mark.slow
def test_a_second_run_compiles_nothing(tmp_path):
  """All programs come from the cache, and nothing else is left behind."""
  assert _run(tmp_path)[0] == 0
  (folder,) = tmp_path.iterdir()
  made = sorted(path.name for path in folder.iterdir())
  assert made and all(name.endswith("-cache") for name in made)
  hits, errors = _run(tmp_path)
  assert hits == len(made) and not errors
  assert sorted(path.name for path in folder.iterdir()) == made


@pytest.mark.slow
def test_what_a_killed_run_was_writing_is_not_shared(tmp_path):
  """Its last entry stays in its own folder; those before it are shared."""
  _run(tmp_path, "kill")
  (folder,) = tmp_path.iterdir()
  (own,) = folder.glob("run-*")
  shared = {path.name for path in folder.glob("*-cache")}
  assert len({path.name for path in own.iterdir()} - shared) == 1
  assert _run(tmp_path)[0] == len(shared)


@pytest.fixture
def shared(tmp_path):
  """A shared folder with the entry `a`."""
  (tmp_path / "a-cache").write_bytes(b"a")
  return tmp_path


def test_an_entry_is_seen_by_the_runs_that_start_after_it(shared):
  """Runs begin with what is shared, and add to it once."""
  first, beside = compilation.Cache(shared), compilation.Cache(shared)
  assert (first.own / "a-cache").read_bytes() == b"a"
  (first.own / "b-cache").write_bytes(b"b")
  (beside.own / "b-cache").write_bytes(b"b")
  first.close()
  beside.close()
  later = compilation.Cache(shared)
  assert sorted(path.name for path in later.own.iterdir()) == [
    "a-cache",
    "b-cache",
  ]


def test_what_cannot_be_shared_is_no_reason_to_stop(shared, monkeypatch):
  """A disk that is full or has no links, or a folder that is gone."""
  cache = compilation.Cache(shared)
  (cache.own / "b-cache").write_bytes(b"b")
  with monkeypatch.context() as patch:
    patch.setattr(os, "link", lambda *_: os.stat("/no/links"))
    cache.publish()
  assert not (shared / "b-cache").exists()
  cache.publish()
  assert (shared / "b-cache").read_bytes() == b"b"
  shutil.rmtree(cache.own)
  cache.close()


def test_old_entries_and_what_killed_runs_left_are_removed(shared, monkeypatch):
  """The newest entries stay; a run's folder goes after a month."""
  monkeypatch.setattr(compilation, "KEEP", 2)
  for age, name in enumerate(("d", "c", "b")):
    (shared / f"{name}-cache").write_bytes(b"x")
    os.utime(shared / f"{name}-cache", (1e9 - age,) * 2)
  then = time.time() - compilation.STALE
  for name, made in (("run-old", then - 60), ("run-new", then + 60)):
    (shared / name).mkdir()
    os.utime(shared / name, (made, made))
  compilation.Cache(shared).close()
  left = sorted(path.name for path in shared.iterdir())
  assert left == ["a-cache", "d-cache", "run-new"]


def test_a_folder_that_cannot_be_had_is_no_reason_to_stop(
  tmp_path, monkeypatch
):
  """A home that is a file: the run goes on without a cache."""
  (tmp_path / "file").write_text("not a folder")
  monkeypatch.setenv("C3_JAX_CACHE", str(tmp_path / "file"))
  before = jax.config.jax_compilation_cache_dir
  jax.config.update("jax_compilation_cache_dir", None)
  try:
    assert compilation.enable() is None
    assert jax.config.jax_compilation_cache_dir is None
  finally:
    jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize("before", ["", "--xla_force_host_platform=1"])
def test_convolutions_are_chosen_beside_other_flags(monkeypatch, before):
  """What XLA_FLAGS says already stands; a second call changes nothing."""
  monkeypatch.setenv("XLA_FLAGS", before)
  compilation.choose_convolutions()
  flags = os.environ["XLA_FLAGS"]
  assert flags.startswith(before)
  if jax.__version__.startswith("0.10."):
    assert "ynn_fusion_type=-individual_convolution" in flags
  compilation.choose_convolutions()
  assert os.environ["XLA_FLAGS"] == flags
  given = "--xla_cpu_experimental_ynn_fusion_type=dot"
  monkeypatch.setenv("XLA_FLAGS", given)
  compilation.choose_convolutions()
  assert os.environ["XLA_FLAGS"] == given


def test_no_home_and_anothers_folder_cost_the_cache_alone(
  tmp_path, monkeypatch
):
  """In a container without an account, or a folder of somebody else."""

  def nobody():
    raise RuntimeError("Could not determine home directory.")

  for name in ("C3_JAX_CACHE", "XDG_CACHE_HOME"):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setattr(pathlib.Path, "home", nobody)
  before = jax.config.jax_compilation_cache_dir
  jax.config.update("jax_compilation_cache_dir", None)
  try:
    assert compilation.enable() is None
    monkeypatch.setenv("C3_JAX_CACHE", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert compilation.enable() is None
  finally:
    jax.config.update("jax_compilation_cache_dir", before)
