"""Tests of metrics.jsonl, its writer, and the end of a run that diverges."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from c3_jax.runs import log


def read(path):
  """The lines of a file as objects; all must be valid JSON."""
  return [json.loads(line) for line in path.read_text().splitlines()]


def write(path, step, *steps):
  """Opens the file at `step` and appends a line for each of `steps`."""
  file = log.MetricsFile(path, step)
  for each in steps:
    file.write({"step": each})
  file.close()


def steps_in(path):
  """The steps of the lines of a file."""
  return [record["step"] for record in read(path)]


def test_lines_come_out_as_they_went_in(tmp_path):
  """A record is a line, exact to the last bit of its numbers."""
  record = {"step": 3, "stage": "pairs", "loss": 0.1 + 0.2, "tiny": 1e-300}
  file = log.MetricsFile(tmp_path / "m.jsonl", 0)
  file.write(record)
  # On disk before the file is closed.
  assert read(tmp_path / "m.jsonl") == [record]
  file.close()


def test_reopening_drops_what_is_written_again(tmp_path):
  """Lines after the step of the checkpoint go, those up to it stay."""
  path = tmp_path / "m.jsonl"
  write(path, 0, 2, 4, 6, 8)
  write(path, 4)
  assert steps_in(path) == [2, 4]
  write(path, 5, 6, 8, 10)
  assert steps_in(path) == [2, 4, 6, 8, 10]
  write(path, 0, 2)
  assert steps_in(path) == [2]


@pytest.mark.parametrize(
  "tail",
  [
    b'{"step": 6, "lo',
    b'{"step": 6',
    b"{",
    b"\x00\x00\x00",
    b'{"loss": 1.0}\n',
    b"[6]\n",
    b"6\n",
    b"\n",
    b'{"step": 6, "lo\n{"step": 4}\n',
  ],
)
def test_half_written_end_is_dropped(tmp_path, tail):
  """What a kill left of a last line never joins the next one."""
  path = tmp_path / "m.jsonl"
  write(path, 0, 2, 4)
  path.write_bytes(path.read_bytes() + tail)
  write(path, 8, 10)
  assert steps_in(path) == [2, 4, 10]


def test_last_line_without_its_end_is_kept(tmp_path):
  """A whole object whose newline is missing gets it."""
  path = tmp_path / "m.jsonl"
  path.write_bytes(b'{"step": 2}\n{"step": 4}')
  write(path, 4, 6)
  assert steps_in(path) == [2, 4, 6]


def test_a_line_is_one_write(tmp_path, monkeypatch):
  """A line reaches the file in one system call, so that no half can."""
  file = log.MetricsFile(tmp_path / "m.jsonl", 0)
  calls = []
  monkeypatch.setattr(
    log.os, "write", lambda _, line: calls.append(line) or len(line)
  )
  file.write({"step": 1, "text": "x" * 10_000})
  monkeypatch.undo()
  file.close()
  (line,) = calls
  assert line.endswith(b"}\n") and line.count(b"\n") == 1


def test_average_is_the_mean_of_each_metric():
  """Device scalars and floats alike are averaged over the steps."""
  rng = np.random.default_rng(0)
  table = rng.normal(size=(5, 2)).astype(np.float32)
  records = [{"a": jnp.float32(a), "b": float(b)} for a, b in table]
  mean = log.average(9, records)
  assert all(type(value) is float for value in mean.values())
  np.testing.assert_allclose(mean["a"], table[:, 0].mean(dtype=np.float64))
  np.testing.assert_allclose(mean["b"], table[:, 1].mean(dtype=np.float64))
  # As a resumed run has it, with the first steps read from the checkpoint.
  again = log.as_floats(records[:3]) + records[3:]
  assert log.average(9, again) == mean


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_divergence_names_the_first_step_and_the_term(value):
  """Of all that is not finite, the first step's loss term is named."""
  good = {"gradient_norm": 1.0, "loss": 1.0, "pairs": 1.0}
  bad = {name: value for name in good}
  with pytest.raises(log.Diverged, match="^pairs became .* at step 8$"):
    log.average(10, first=("pairs",), metrics=[good, good, bad, bad, good][:5])
  late = good | {"gradient_norm": value}
  with pytest.raises(log.Diverged, match="^gradient_norm .* at step 10$"):
    log.average(10, first=("pairs",), metrics=[good, good, late])


def test_writer_writes_lines_and_tensorboard_events(tmp_path):
  """A record lands in metrics.jsonl and, named by stage, in the events."""
  pytest.importorskip("tensorflow")
  with log.Writer(tmp_path, 0) as writer:
    writer.write(5, "flow", {"loss": 0.25})
  assert read(tmp_path / "metrics.jsonl") == [
    {"step": 5, "stage": "flow", "loss": 0.25}
  ]
  (events,) = tmp_path.glob("events.out.tfevents.*")
  assert b"flow/loss" in events.read_bytes()


def test_events_without_tensorflow(tmp_path, monkeypatch):
  """Where clu cannot be imported, TensorBoard reads the same scalars."""
  monkeypatch.setitem(sys.modules, "clu.metric_writers", None)
  with log.Writer(tmp_path, 0) as writer:
    writer.write(5, "flow", {"loss": 0.25})
    writer.write(6, "flow", {"loss": 0.5})
  loader = pytest.importorskip(
    "tensorboard.backend.event_processing.event_file_loader"
  )
  (path,) = tmp_path.glob("events.out.tfevents.*")
  events = [e for e in loader.LegacyEventFileLoader(str(path)).Load() if e.step]
  found = [
    (e.step, v.tag, v.simple_value) for e in events for v in e.summary.value
  ]
  assert found == [(5, "flow/loss", 0.25), (6, "flow/loss", 0.5)]


def test_writer_without_tensorboard(tmp_path, monkeypatch):
  """Where tensorboard is not installed either, the lines are all there is."""
  for name in ("clu.metric_writers", "tensorboard.compat.proto"):
    monkeypatch.setitem(sys.modules, name, None)
  with log.Writer(tmp_path, 0) as writer:
    writer.write(5, "flow", {"loss": 0.25})
  assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
  assert steps_in(tmp_path / "metrics.jsonl") == [5]


def test_only_the_first_process_writes(tmp_path, monkeypatch):
  """Every other process leaves the folder alone."""
  monkeypatch.setattr(jax, "process_index", lambda: 1)
  with log.Writer(tmp_path, 0) as writer:
    writer.write(5, "flow", {"loss": 0.25})
  assert not list(tmp_path.iterdir())
