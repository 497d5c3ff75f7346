"""Markdown of several runs, from config.json and eval/*.json alone."""

import json
import statistics

import pytest

from c3_jax import tables
from c3_jax.errors import UserError
from configs import synthetic


def write(folder, argument, seed, reports, **keys):
  """Writes what a run leaves: its folder."""
  config = synthetic.get_config(argument)
  with config.unlocked():
    config.seed = seed
    config.update_from_flattened_dict(keys)
  (folder / "eval").mkdir(parents=True)
  (folder / "config.json").write_text(config.to_json())
  for name, report in reports.items():
    (folder / "eval" / f"{name}.json").write_text(json.dumps(report))
  return str(folder)


def report(no_intercept, intercept):
  """What the tables read of a report on landmarks."""
  return {
    "normaliser": "distance of points 0 and 1",
    "error": {"no_intercept": no_intercept, "intercept": intercept},
    "baseline": {"untrained": 30.0, "mean_shape": 40.0},
  }


def rows(text, title):
  """Cells of the lines of the first table after a line with a title."""
  lines = text.split(f"{title}\n", 1)[1].splitlines()
  start = next(i for i, line in enumerate(lines) if line.startswith("|"))
  result = []
  for line in lines[start:]:
    if not line.startswith("|"):
      break
    result.append([cell.strip() for cell in line.strip("|").split("|")])
  return result[:1] + result[2:]


@pytest.fixture
def sweep(tmp_path):
  """{(cycle, flow, seed): (folder, error)} of twelve runs on MAFL."""
  runs = {}
  for cycle in (0, 1):
    for flow in (0, 1):
      for seed in range(3):
        error = 5 - cycle - flow / 2 + seed**2 / 10
        runs[cycle, flow, seed] = (
          write(
            tmp_path / f"{cycle}{flow}{seed}",
            f"cycle={cycle},flow={flow}",
            seed,
            {"mafl": report(error, error - 1)},
          ),
          error,
        )
  return runs


def test_ablation_is_mean_and_deviation_over_seeds(sweep):
  """Each cell of Table 2 beside the paper's number, in the paper's order."""
  text = tables.collect([folder for folder, _ in sweep.values()])
  head, *lines = rows(text, "## Ablation (Table 2)")
  assert head[:4] == ["cycle", "flow", "mafl, no intercept", "mafl, intercept"]
  paper = ["3.31", "3.30", "3.18", "3.11"]
  cells = [(0, 0), (0, 1), (1, 0), (1, 1)]
  assert len(lines) == 4
  for line, which, published in zip(lines, cells, paper, strict=True):
    errors = [sweep[*which, seed][1] for seed in range(3)]
    mean, deviation = statistics.mean(errors), statistics.stdev(errors)
    assert line == [
      "yes" if which[0] else "no",
      "yes" if which[1] else "no",
      f"{mean:.2f} ± {deviation:.2f} (3)",
      f"{mean - 1:.2f} ± {deviation:.2f} (3)",
      published,
    ]


def test_seeds_that_begin_with_their_own_run_make_one_row(
  tmp_path, monkeypatch
):
  """As launch/sweep.py lays them out; another beginning is another row."""
  monkeypatch.chdir(tmp_path)
  folders = []
  for seed, steps in ((0, 3000), (1, 3000), (0, 500)):
    name = f"{seed}_{steps}"
    write(
      tmp_path / f"first{name}", "", seed, {}, **{"stages.pairs.steps": steps}
    )
    start = {"init.workdir": f"first{name}"}
    error = 3.0 + seed
    folders.append(
      write(tmp_path / name, "", seed, {"x": report(error, error)}, **start)
    )
  lines = rows(tables.collect(folders), "### x")[1:]
  assert [line[1] for line in lines] == ["3.50 ± 0.71 (2)", "3.00 (1)"]
  assert [line[0].split(", ")[-1] for line in lines] == [
    "init.workdir=first0_3000",
    "init.workdir=first0_500",
  ]


def test_regression_has_a_row_a_configuration(sweep, tmp_path):
  """Another K is another row; the paper's number of its K stands beside."""
  other = write(tmp_path / "k30", "k=30", 0, {"mafl": report(9.0, 8.0)})
  text = tables.collect([*(folder for folder, _ in sweep.values()), other])
  head, *lines = rows(text, "### mafl")
  assert head[1:3] == ["without intercept, origin corner", "with intercept"]
  assert len(lines) == 5
  assert [line[-1] for line in lines] == ["3.11"] * 4 + ["2.54"]
  assert lines[-1][:3] == [
    "K = 30, cycle yes, flow yes",
    "9.00 (1)",
    "8.00 (1)",
  ]
  published = dict(
    (name, rest) for name, *rest in rows(text, "As published:")[1:]
  )
  assert published["C3"] == ["3.11", "2.54"]
  assert published["Cond."] == ["3.19", "2.58"]
  assert published["Shape."] == ["3.24", "–"]


def test_rows_are_named_by_what_sets_them_apart(tmp_path):
  """Keys that differ are named, those that do not are not."""
  folders = [
    write(tmp_path / "a", "", 0, {"x": report(1.0, 1.0)}),
    write(tmp_path / "b", "", 0, {"x": report(2.0, 2.0)}, batch_size=32),
    write(
      tmp_path / "c",
      "",
      0,
      {"x": report(3.0, 3.0)},
      **{"stages.cycle.steps": 0},
    ),
  ]
  lines = rows(tables.collect(folders), "### x")[1:]
  assert [line[0] for line in lines] == [
    "K = 10, cycle yes, flow yes, batch_size=16, stages.cycle.steps=700",
    "K = 10, cycle yes, flow yes, batch_size=32, stages.cycle.steps=700",
    "K = 10, no third stage, batch_size=16, stages.cycle.steps=0",
  ]


def test_a_dataset_that_a_run_lacks_is_left_out(tmp_path):
  """One run evaluated on two datasets, one on one; no ablation of one cell."""
  both = {"mafl": report(1.0, 1.0), "aflw": report(2.0, 2.0)}
  folders = [
    write(tmp_path / "a", "k=10", 0, both),
    write(tmp_path / "b", "k=20", 0, {"mafl": report(3.0, 3.0)}),
  ]
  text = tables.collect(folders)
  assert len(rows(text, "### mafl")) == 3 and len(rows(text, "### aflw")) == 2
  assert "Ablation" not in text and "Alignment" not in text


def test_alignment_of_listed_pairs(tmp_path):
  """PCK of each reading beside the paper's, where there is no regression."""

  def pck(flow, combined):
    readings = {
      "flow": {"scnet@0.1": flow},
      "combined": {"scnet@0.1": combined},
    }
    return {"pck": readings["flow"], "alignment": {"readings": readings}}

  folders = [
    write(tmp_path / f"{seed}", "", seed, {"pf_pascal": pck(70.0 + seed, 75.0)})
    for seed in (0, 2)
  ]
  text = tables.collect(folders)
  head, ours, paper = rows(text, "### pf_pascal")
  assert head == ["run", "combined", "flow"]
  assert ours[1:] == ["75.00 ± 0.00 (2)", "71.00 ± 1.41 (2)"]
  assert paper == ["paper", "80.1", "78.5"]
  assert "Landmark regression" not in text


def test_mistakes_are_named(tmp_path, sweep):
  """No run, no evaluation, the same run twice."""
  folder = sweep[0, 0, 0][0]
  with pytest.raises(UserError, match="none cannot be read"):
    tables.collect([str(tmp_path / "none")])
  with pytest.raises(UserError, match="same run with the same seed"):
    tables.collect([folder, folder])
  with pytest.raises(UserError, match="no reports.*--mode=eval"):
    tables.collect([write(tmp_path / "bare", "", 0, {})])
  with pytest.raises(UserError, match="--workdirs is empty"):
    tables.collect([])
  (tmp_path / "000" / "config.json").write_text("{}")
  with pytest.raises(UserError, match="config.json of a run has no key"):
    tables.collect([folder])
