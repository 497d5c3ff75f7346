"""Two processes of two devices against one of four, and what is refused.

Rows of a batch, places of examples and averages must not depend on how the
devices are spread over processes. The processes are real ones, on CPU devices.
"""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp

from c3_jax.errors import UserError
from c3_jax.runs import checkpoints
from c3_jax.runtime import hosts, parallel
from c3_jax.training import loop
from tests.conftest import ROOT
from tests.reference import float64
from tests.runtime import hosts_worker

WORKER = pathlib.Path(hosts_worker.__file__)


def free_port():
  """A port that nobody listens on."""
  with socket.socket() as listener:
    listener.bind(("localhost", 0))
    return listener.getsockname()[1]


def start(workdir, process, port):
  """Process `process` of a run of two."""
  return subprocess.Popen(
    [sys.executable, WORKER, *map(str, (process, 2, port, workdir))],
    env=os.environ
    | {
      # Two processes must not write into one folder of JAX's: a reader of half
      # an entry dies.
      "C3_JAX_CACHE": str(ROOT / ".cache" / "hosts"),
    },
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
  )


def records(workdir):
  """Lines of metrics.jsonl."""
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def two(tmp_path_factory):
  """(workdir, logs) of two processes.

  The second got a SIGTERM in one run, and killed itself in the next.
  """
  workdir, port = tmp_path_factory.mktemp("two"), free_port()
  processes = [start(workdir, i, port) for i in range(2)]
  lines = []
  # The third step of the second run.
  for line in processes[1].stdout:
    lines.append(line)
    if "pairs 3/1000000" in line:
      processes[1].send_signal(signal.SIGTERM)
      break
  logs = [process.communicate(timeout=300)[0] for process in processes]
  logs[1] = "".join(lines) + logs[1]
  codes = [process.returncode for process in processes]
  assert codes == [1, -signal.SIGKILL], logs
  return workdir, logs


@pytest.fixture(scope="module")
def one(tmp_path_factory):
  """Workdir of the same run in this process, on four devices."""
  workdir = tmp_path_factory.mktemp("one")
  with pytest.MonkeyPatch.context() as patch, float64.program():
    patch.setattr(checkpoints, "RECENT", hosts_worker.STEPS)
    loop.train_and_evaluate(hosts_worker.get_config(), workdir, mode="train")
  return workdir


def leaves(workdir, step):
  """dict path -> array of a checkpoint."""
  state = ocp.load(workdir / "checkpoints" / str(step))
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(x)
    for path, x in jax.tree.flatten_with_path(state)[0]
  }


@pytest.mark.slow
@pytest.mark.parametrize("kind", parallel.KINDS)
def test_two_processes_equal_one(one, two, kind):
  """Parameters after five steps, and metrics, do not depend on processes."""
  a, b = (
    leaves(one, hosts_worker.STEPS),
    leaves(two[0] / kind, hosts_worker.STEPS),
  )
  assert a.keys() == b.keys()
  rate = records(one)[0]["learning_rate"]
  for path in a:
    if path.startswith("params/"):
      np.testing.assert_allclose(
        a[path], b[path], rtol=1e-9, atol=1e-6 * rate, err_msg=path
      )
  for x, y in zip(records(one), records(two[0] / kind), strict=True):
    assert (x["step"], x["stage"]) == (y["step"], y["stage"])
    for name in ("loss", "gradient_norm", "raw_pairs_input"):
      np.testing.assert_allclose(x[name], y[name], rtol=1e-9, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("kind", parallel.KINDS)
def test_first_gradients_of_two_processes_equal_those_of_one(one, two, kind):
  """Within 1e-11 of the largest: Adam's first moment holds them."""
  a, b = leaves(one, 1), leaves(two[0] / kind, 1)
  moments = [path for path in a if "/mu/" in path]
  assert len(moments) > 10
  largest = max(np.abs(a[path]).max() for path in moments)
  for path in moments:
    np.testing.assert_allclose(
      a[path], b[path], rtol=0, atol=1e-11 * largest, err_msg=path
    )


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_after_one_step(two):
  """Both exit with 0 after the same step, which is saved, once."""
  workdir, logs = two
  steps = [re.findall(r"saved step (\d+)", log) for log in logs]
  assert steps[0] == steps[1] and len(steps[0]) == 1
  kept = [path.name for path in (workdir / "stopped/checkpoints").iterdir()]
  assert kept == steps[0]
  # Process 0 alone writes; every step it has done has one line.
  written = [record["step"] for record in records(workdir / "stopped")]
  assert written == list(range(1, int(kept[0]) + 1))
  assert not list(workdir.rglob("*.part"))


@pytest.mark.slow
def test_a_lost_process_ends_the_other_in_one_line(two):
  """It says what to do, at once, and shows no traceback; its lines stay."""
  workdir, (log, _) = two
  assert "Traceback" not in log
  (line,) = (line for line in log.splitlines() if line.startswith("c3_jax: "))
  assert "another process of the run has ended" in line
  written = [record["step"] for record in records(workdir / "lost")]
  assert written[:2] == [1, 2]


@pytest.mark.parametrize(
  ("arguments", "named"),
  [
    (("", 2, None), "--coordinator=HOST:PORT"),
    (("auto", None, 1), "--coordinator=HOST:PORT"),
    (("host:1234", 2, None), "--process_id"),
    (("host", 2, 0), "--coordinator=host "),
    (("host:port", 2, 0), "--coordinator=host:port "),
    (("host:1234", 2, 2), "--process_id=2"),
    (("auto", None, None), "srun"),
  ],
)
def test_what_cannot_work_is_refused(arguments, named, monkeypatch):
  """Flags that do not go together, and `auto` outside a cluster, are named."""
  for name in list(os.environ):
    if name.startswith(("SLURM_", "OMPI_", "TPU_")):
      monkeypatch.delenv(name)
  with pytest.raises(UserError) as error:
    hosts.initialize(*arguments)
  assert named in str(error.value) and "\n" not in str(error.value)


def test_one_process_needs_no_coordinator():
  """Without flags nothing is joined, and nobody is waited for."""
  hosts.initialize("")
  hosts.wait("anything")
  hosts.compile_together(None)
