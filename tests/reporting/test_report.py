"""The command that writes reports."""

import pytest
from absl import flags

from c3_jax.errors import UserError
from c3_jax.reporting import report
from tests.reporting.conftest import quality


@pytest.fixture
def call(monkeypatch):
  """A function that calls the command with flags."""

  def call(**given):
    values = flags.FlagValues()
    flags.DEFINE_list("workdirs", None, "", flag_values=values)
    flags.DEFINE_string("out", "", "", flag_values=values)
    flags.DEFINE_bool("overwrite", False, "", flag_values=values)
    values(["report", *(f"--{name}={text}" for name, text in given.items())])
    monkeypatch.setattr(flags, "FLAGS", values)
    report.program()

  return call


def test_one_run_has_its_report_in_its_folder(call, make_run):
  """It replaces an older one."""
  run = make_run(found=quality())
  for _ in range(2):
    call(workdirs=run)
  assert "10 landmarks" in (run / "report.html").read_text()


def test_several_runs_have_theirs_here_or_in_a_file(
  call, make_run, tmp_path, monkeypatch
):
  """The folder in which the command is called, or --out."""
  runs = make_run("a", found=quality()), make_run("b", figures=False)
  monkeypatch.chdir(tmp_path)
  call(workdirs="a,b")
  call(workdirs=",".join(map(str, runs)), out=tmp_path / "c.html")
  for name in ("report.html", "c.html"):
    assert "2 runs side by side" in (tmp_path / name).read_text()
  assert not (runs[0] / "report.html").exists()


def test_files_of_others_stay(call, make_run, tmp_path):
  """Unless --overwrite is given; files of a run stay in any case."""
  run, out = make_run(found=quality()), tmp_path / "mine.html"
  out.write_text("<p>mine</p>")
  with pytest.raises(UserError, match="did not write it"):
    call(workdirs=run, out=out)
  assert out.read_text() == "<p>mine</p>"
  call(workdirs=run, out=out, overwrite=True)
  assert "10 landmarks" in out.read_text()
  with pytest.raises(UserError, match="file of the run"):
    (run / "checkpoints").mkdir()
    call(workdirs=run, out=run / "quality" / "x.html", overwrite=True)


@pytest.mark.parametrize("workdirs", ["", "missing"])
def test_no_run_is_one_line(call, tmp_path, monkeypatch, workdirs):
  """Nothing is written."""
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError):
    call(workdirs=workdirs)
  assert not list(tmp_path.iterdir())
