"""The scripts in launch/, without what they would download or train."""

import re
import shlex
import subprocess
import sys
import tomllib

import pytest

from c3_jax.training import setup as setup_lib
from c3_jax.training.terms import TERMS
from configs import celeba
from tests.conftest import ROOT

SCRIPTS = sorted(
  path
  for path in (ROOT / "launch").iterdir()
  if path.suffix in (".sh", ".sbatch")
)

FAKE_PYTHON = """#!/usr/bin/env bash
case "$*" in
  *"pip install"*) echo "$@" >> pip.log; exit "$(cat pip.status)" ;;
esac
"""


def bash(folder, command):
  """Runs a bash command in `folder`; returns the finished process."""
  return subprocess.run(
    ["bash", "-euo", "pipefail", "-c", command],
    cwd=folder,
    capture_output=True,
    text=True,
  )


@pytest.fixture
def checkout(tmp_path):
  """A folder of requirement files, whose `.venv` has a pip that keeps a log."""
  (tmp_path / ".venv" / "bin").mkdir(parents=True)
  python = tmp_path / ".venv" / "bin" / "python"
  python.write_text(FAKE_PYTHON)
  python.chmod(0o755)
  (tmp_path / "pip.log").touch()
  (tmp_path / "pip.status").write_text("0")
  (tmp_path / "run.txt").write_text("jax==1\n")
  (tmp_path / "test.txt").write_text("pytest==1\n")
  return tmp_path


def install(checkout, *files):
  """Runs `install FILES`; returns its status and how often pip was called."""
  script = shlex.quote(str(ROOT / "launch" / "environment.sh"))
  done = bash(checkout, f"source {script}; install {shlex.join(files)}")
  return done.returncode, len((checkout / "pip.log").read_text().splitlines())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script):
  """Bash can parse every script."""
  done = subprocess.run(["bash", "-n", script], capture_output=True, text=True)
  assert (done.returncode, done.stderr) == (0, "")


def test_install_calls_pip_only_for_changed_files(checkout):
  """Pip runs once for each file, and again when one of them changes."""
  assert install(checkout, "run.txt") == (0, 1)
  assert install(checkout, "run.txt") == (0, 1)
  assert install(checkout, "run.txt", "test.txt") == (0, 3)
  assert install(checkout, "run.txt") == (0, 3)
  (checkout / "run.txt").write_text("jax==2\n")
  assert install(checkout, "run.txt") == (0, 4)
  # The new JAX may have moved what the tests had asked for.
  assert install(checkout, "run.txt", "test.txt") == (0, 6)
  assert install(checkout, "run.txt", "test.txt") == (0, 6)


def test_failed_install_is_tried_again(checkout):
  """An install that failed stops the script and does not count as done."""
  (checkout / "pip.status").write_text("1")
  assert install(checkout, "run.txt") == (1, 1)
  (checkout / "pip.status").write_text("0")
  assert install(checkout, "run.txt") == (0, 2)


def test_missing_python_is_one_clear_line(tmp_path):
  """Without a Python that will do, one line says what to install."""
  script = shlex.quote(str(ROOT / "launch" / "environment.sh"))
  done = bash(tmp_path, f"PYTHON=false; source {script}; install run.txt")
  assert done.returncode == 2
  assert done.stdout == ""
  assert re.fullmatch(r"error: no Python 3\.11 to 3\.13 .*\n", done.stderr)


@pytest.mark.slow
def test_local_asks_for_flags_and_a_gpu():
  """`local.sh` stops with one line when it has no flags or JAX no GPU."""
  script = shlex.quote(str(ROOT / "launch" / "local.sh"))
  done = bash(ROOT, f"bash {script}")
  assert (done.returncode, done.stdout) == (2, "")
  assert re.fullmatch(r"usage: .*\n", done.stderr)
  done = bash(ROOT, f"bash {script} --config=none.py")
  assert (done.returncode, done.stdout) == (2, "")
  assert re.fullmatch(r"error: .* no JAX that finds a GPU .*\n", done.stderr)


def test_lower_bounds_are_the_tested_versions():
  """Each lower bound in pyproject.toml is the pin in requirements.txt."""
  pins = dict(
    line.split(";")[0].strip().split("==")
    for line in (ROOT / "requirements.txt").read_text().splitlines()
    if "==" in line and not line.startswith("#")
  )
  project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
  needed = project["dependencies"] + project["optional-dependencies"]["tf"]
  bounds = dict(line.split(">=") for line in needed)
  assert bounds == {name: pins[name] for name in bounds}
  # With all that they bring along, the lock file has each with its hashes.
  text = (ROOT / "requirements.lock").read_text()
  entries = [x for x in re.split(r"\n(?=[\w#])", text) if x[0] != "#"]
  locked = dict(re.match(r"([\w.-]+)==([^\s;]+)", x).groups() for x in entries)
  same = lambda name: name.lower().replace("_", "-")  # noqa: E731
  assert {same(n): v for n, v in pins.items()}.items() <= locked.items()
  assert len(locked) > len(pins)
  assert all(re.search("--hash=sha256:[0-9a-f]{64}", x) for x in entries)
  # The rest is pinned for the versions alone.
  assert set(pins) - set(bounds) == {"jaxlib", "tensorflow-cpu", "tensorstore"}


def launched(folder, script, program, settings, mistake):
  """Runs a script where `program` prints how it was called.

  Returns:
    What it printed with the settings, --config=X.py and a workdir with a blank
    in its name; with the flags `mistake` alone it must end with its usage.
  """
  fake = folder / "bin" / program
  fake.parent.mkdir()
  fake.write_text('#!/usr/bin/env bash\necho "$JAX_LOCAL_DEVICE_IDS|$*"\n')
  fake.chmod(0o755)
  script = shlex.quote(str(ROOT / "launch" / script))
  start = f"export PATH={fake.parent}:$PATH {settings}; bash {script}"
  done = bash(folder, f"{start} --config=X.py '--workdir=a b'")
  assert done.returncode == 0, done.stderr
  wrong = bash(folder, f"bash {script} {mistake}")
  assert wrong.returncode == 2
  assert re.fullmatch(r"usage: .*\n", wrong.stderr)
  return done.stdout.strip()


def test_slurm_starts_one_process_a_machine_with_all_its_gpus(tmp_path):
  """`slurm.sbatch` hands on its flags; it says so when it has none."""
  settings = "SLURM_SUBMIT_DIR=. SLURM_GPUS_ON_NODE=4"
  printed = launched(tmp_path, "slurm.sbatch", "srun", settings, "")
  devices, _, command = printed.partition("|")
  assert devices == "0,1,2,3"
  assert command.endswith(
    "-m c3_jax.main --coordinator=auto --config=X.py --workdir=a b"
  )


def test_tpu_pod_runs_on_all_workers(tmp_path):
  """`tpu_pod.sh` keeps flags with blanks whole, asks for what is missing."""
  settings = "TPU=pod ZONE=here JAX_LOCAL_DEVICE_IDS="
  printed = launched(
    tmp_path, "tpu_pod.sh", "gcloud", settings, "--config=X.py"
  )
  assert "tpu-vm ssh pod --zone=here --worker=all" in printed
  assert "--coordinator=auto --config=X.py --workdir=a\\ b" in printed


def test_sweep_is_the_ablation():
  """One run of stages 1 and 2 a seed, then stage 3 of each cell from there."""
  done = subprocess.run(
    [
      *(sys.executable, ROOT / "launch" / "sweep.py", "--workdir=runs/a b"),
      *("--root=ROOT", "--k=30", "--seeds", "0", "7"),
      *("--", "--config.model.dtype=bfloat16"),
    ],
    capture_output=True,
    text=True,
  )
  assert done.returncode == 0, done.stderr
  lines = [shlex.split(line) for line in done.stdout.splitlines()]
  assert len(lines) == 2 * (1 + 4)
  for seed, runs in ((0, lines[:5]), (7, lines[5:])):
    first, *cells = runs
    for line in runs:
      assert line[:3] == ["python", "-m", "c3_jax.main"]
      assert {
        f"--config.seed={seed}",
        "--config.data.root=ROOT",
        "--config.model.dtype=bfloat16",
      } < set(line)
    name = next(x for x in first if x.startswith("--workdir="))
    name = name.removeprefix("--workdir=")
    assert name.startswith("runs/a b/")
    found = {}
    for line in cells:
      assert f"--config.init.workdir={name}" in line
      argument = line[3].removeprefix("--config=celeba:")
      config = celeba.get_config(argument)
      assert config.model.k == 30
      (stage,) = setup_lib.stages(config, 1000)
      found[tuple(t for t in TERMS if stage.weights[t])] = stage.steps
    lengths = set(found.values())
    assert len(lengths) == 1 and len(found) == 4
    assert ("cycle", "inv", "equiv") in found and ("pairs",) in found
    argument = first[3].removeprefix("--config=celeba:")
    before = setup_lib.stages(celeba.get_config(argument), 1000)
    assert [stage.name for stage in before] == ["pairs", "flow"]


def test_sweep_refuses_a_missing_config():
  """A config that is not there is one line, before any job."""
  done = subprocess.run(
    [
      *(sys.executable, ROOT / "launch" / "sweep.py", "--workdir=runs/a"),
      "--config=configs/none.py",
    ],
    capture_output=True,
    text=True,
  )
  assert (done.returncode, done.stdout) == (2, "")
  (line,) = done.stderr.splitlines()
  assert "configs/none.py" in line and "folder, lsun" in line
