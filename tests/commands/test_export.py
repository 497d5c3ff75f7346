"""The command line of export: a mistake is one line that names a flag."""

import subprocess
import sys

import pytest
from absl import flags

from c3_jax import export
from c3_jax.errors import UserError
from tests.conftest import ROOT


@pytest.fixture
def command(monkeypatch):
  """Function that runs the command with flags, in this process."""

  def run(*given):
    values = flags.FlagValues()
    monkeypatch.setattr(flags, "FLAGS", values)
    for name in ("DEFINE", "DEFINE_bool", "DEFINE_enum", "DEFINE_integer"):
      define = getattr(flags, name)
      monkeypatch.setattr(
        flags,
        name,
        lambda *a, define=define, **k: define(*a, flag_values=values, **k),
      )
    export.define_flags()
    values(["export", *given])
    return export.program()

  return run


def test_a_bad_page_is_told_before_a_model_is_written(
  command, save_run, tmp_path
):
  """Both are asked for; the folder of the page is a file."""
  save_run(tmp_path / "run", {4: 20.0})
  (tmp_path / "page").write_text("")
  with pytest.raises(UserError, match="--page"):
    command(
      f"--workdir={tmp_path / 'run'}",
      f"--out={tmp_path / 'a.safetensors'}",
      f"--page={tmp_path / 'page'}",
    )
  assert {path.name for path in tmp_path.iterdir()} == {"run", "page"}


def test_nothing_to_write_is_a_mistake(command, tmp_path):
  """The message names both flags."""
  with pytest.raises(UserError, match="--out=FILE or --page=DIR"):
    command(f"--workdir={tmp_path}")


@pytest.mark.slow
def test_the_command_writes_a_model(save_run, tmp_path):
  """As `c3-jax export`, in a process of its own."""
  save_run(tmp_path / "run", {4: 20.0})
  out = tmp_path / "model.onnx"
  done = subprocess.run(
    [sys.executable, "-m", "c3_jax", "export", f"--workdir={tmp_path / 'run'}"]
    + [f"--out={out}"],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert (done.returncode, done.stdout) == (0, f"Wrote {out}.\n"), done.stderr
  assert out.stat().st_size > 1000
