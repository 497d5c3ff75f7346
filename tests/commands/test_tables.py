"""Markdown of several runs, from config.json and eval/*.json alone."""

import json
import statistics

import pytest

from c3_jax.errors import UserError
from c3_jax.reporting import tables
from configs import celeba, lsun, pf_pascal, synthetic

MAFL = {"paper": "mafl", "name": "imm"}
AFLW = {"paper": "aflw", "name": "imm", "release": "lmdis"}


def write(folder, argument, seed, reports, module=synthetic, **keys):
  """Writes what a run leaves: its folder."""
  if module is synthetic:  # By default it has no third stage.
    argument = f"{argument},stages=pairs+flow+cycle"
  config = module.get_config(argument)
  with config.unlocked():
    config.seed = seed
    config.update_from_flattened_dict(keys)
  (folder / "eval").mkdir(parents=True)
  (folder / "config.json").write_text(config.to_json())
  for name, report in reports.items():
    (folder / "eval" / f"{name}.json").write_text(json.dumps(report))
  return str(folder)


def report(no_intercept, intercept, protocol=None, points="points 0 and 1"):
  """What the tables read of a report on landmarks."""
  named = {"protocol": protocol} if protocol else {}
  return named | {
    "normaliser": f"distance of {points}",
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
            {"mafl": report(error, error - 1, MAFL)},
          ),
          error,
        )
  return runs


def test_ablation_is_mean_and_deviation_over_seeds(sweep):
  """Each cell of Table 2 beside the paper's number, in the paper's order."""
  text = tables.collect([folder for folder, _ in sweep.values()])
  head, *lines = rows(text, "## Ablation (Table 2)")
  assert head[2:4] == ["mafl, no intercept", "mafl, intercept"]
  assert head[4:] == ["paper, mafl, no intercept"]
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
  """Another K is another row; C3's number of its K stands beside C3."""
  other = write(tmp_path / "k30", "k=30", 0, {"mafl": report(9.0, 8.0, MAFL)})
  text = tables.collect([*(folder for folder, _ in sweep.values()), other])
  head, *lines = rows(text, "### mafl")
  assert head[1:3] == ["without intercept, origin corner", "with intercept"]
  assert len(lines) == 5
  assert [line[-1] for line in lines] == ["", "", "", "3.11", "2.54"]
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


def pck(flow, **protocol):
  """What the tables read of a report on listed pairs."""
  numbers = {"flow": flow, "landmarks": 60.0, "combined": 75.0, "identity": 9.0}
  readings = {name: {"scnet@0.1": value} for name, value in numbers.items()}
  report = {"pck": readings["flow"], "alignment": {"readings": readings}}
  return report | {"protocol": {"paper": "pf_pascal"} | protocol}


def test_alignment_stands_beside_the_way_it_was_trained(tmp_path):
  """Each number of Table 3 follows `flow` of its run and of no other."""
  runs = {
    "kernel4d": 78.9,
    "": 78.5,
    "landmarks": 80.1,
    "landmarks,kernel4d": 9,
  }
  folders = [
    write(
      tmp_path / name,
      argument,
      0,
      {"pairs": pck(value, name="ncnet")},
      module=pf_pascal,
    )
    for name, (argument, value) in zip("abcd", runs.items(), strict=True)
  ]
  # A flow that no stage trained is none of them.
  bare = {"stages.flow.steps": 0, "stages.flow.epochs": 0.0}
  bare |= {"stages.cycle.train": ("backbone",)}
  folders.append(
    write(
      tmp_path / "e", "", 0, {"pairs": pck(1, name="ncnet")}, pf_pascal, **bare
    )
  )
  text = tables.collect(folders)
  head, *lines = rows(text, "### pairs")
  assert head[:3] == ["run", "flow", "flow, paper"]
  assert head[3:] == ["landmarks", "combined", "identity"]
  found = [(line[1].split()[0], line[2]) for line in lines]
  assert found == [
    ("78.90", "78.9"),
    ("78.50", "78.5"),
    ("80.10", "80.1"),
    ("9.00", ""),
    ("1.00", ""),
  ]
  # Where E_p never moved, its readings are left out.
  assert [line[3] for line in lines] == [
    "–",
    "–",
    "60.00 (1)",
    "60.00 (1)",
    "–",
  ]
  assert "Landmark regression" not in text
  text = tables.collect(folders[:2])
  assert rows(text, "### pairs")[0][3:] == ["identity"]


def test_alignment_by_no_protocol_stands_beside_nothing(tmp_path):
  """Other pairs have no published number; seeds make mean and deviation."""
  folders = [
    write(tmp_path / f"{seed}", "", seed, {"others": pck(70.0 + seed)})
    for seed in (0, 2)
  ]
  head, ours = rows(tables.collect(folders), "### others")
  assert head == ["run", "flow", "landmarks", "combined", "identity"]
  assert ours[1] == "71.00 ± 1.41 (2)" and ours[2] == "60.00 ± 0.00 (2)"


def test_a_run_that_continues_has_trained_what_its_first_did(tmp_path):
  """Without E_p's stages, but begun with a run that had them."""
  first = write(tmp_path / "first", "landmarks", 0, {}, pf_pascal)
  keys = {"init.workdir": first}
  report = {"pairs": pck(80.1, name="ncnet")}
  folder = write(tmp_path / "next", "", 0, report, pf_pascal, **keys)
  _, line = rows(tables.collect([folder]), "### pairs")
  assert line[1:4] == ["80.10 (1)", "80.1", "60.00 (1)"]


# Every row of Table 1 that a run of ours can be, and its K.
PUBLISHED = {
  ("k=10", "mafl"): ("3.11", ""),
  ("k=30", "mafl"): ("2.54", ""),
  ("k=10", "aflw"): ("6.75", ""),
  ("k=30", "aflw"): ("6.26", ""),
  ("aflw,k=10", "aflw"): ("6.75", ""),
  ("k=10,stages=pairs", "mafl"): ("", "3.19"),
  ("k=30,stages=pairs", "mafl"): ("", "2.58"),
  ("k=10,stages=pairs", "aflw"): ("", "6.86"),
  ("k=30,stages=pairs", "aflw"): ("", "6.31"),
  ("k=20", "mafl"): ("", ""),
  ("k=10,cycle=0", "mafl"): ("", ""),
}


@pytest.mark.parametrize(("argument", "paper"), PUBLISHED)
def test_published_errors_stand_in_the_row_of_their_protocol(
  argument, paper, tmp_path
):
  """Whatever the report's name, by its protocol and length, K and training."""
  protocol = {"mafl": MAFL, "aflw": AFLW}[paper]
  c3, cond = PUBLISHED[argument, paper]
  value = float(c3 or cond or 5)
  reports = {
    "celeba": report(value, value, protocol),
    "dve": report(value, value, protocol | {"name": "dve"}),
    "custom": report(value, value),
    "mafl": report(value, value),
    "other_eyes": report(value, value, protocol, points="points 36 and 45"),
  }
  text = tables.collect([write(tmp_path / "a", argument, 0, reports, celeba)])
  head, line = rows(text, "### celeba")
  assert line[1] == f"{value:.2f} (1)"
  cells = dict(zip(head, line, strict=True))
  assert cells["paper's C3"] == c3 and cells["paper's Cond."] == cond
  for name in ("dve", "custom", "mafl", "other_eyes"):
    assert not any("paper" in title for title in rows(text, f"### {name}")[0])
  assert text.count("As published") == 1


def test_ablation_of_another_protocol_or_k_has_no_published_column(tmp_path):
  """The numbers of Table 2 are of MAFL, by IMM's protocol, with K = 10."""
  for k, protocol in ((30, MAFL), (10, AFLW), (10, None)):
    folders = [
      write(
        tmp_path / f"{k}{protocol}{cycle}",
        f"k={k},cycle={cycle}",
        0,
        {"mafl": report(3.0, 3.0, protocol)},
      )
      for cycle in (0, 1)
    ]
    head, *_ = rows(tables.collect(folders), "## Ablation (Table 2)")
    assert head == ["cycle", "flow", "mafl, no intercept", "mafl, intercept"]


def test_a_run_without_annotations_is_listed_with_its_figures(tmp_path):
  """LSUN has no numbers; beside a run that has some it changes nothing."""
  bare = write(tmp_path / "car", "", 0, {}, lsun)
  (tmp_path / "car" / "figures").mkdir()
  listed = f"- K = 10, cycle yes, flow yes: {bare}/figures\n"
  text = tables.collect([bare])
  assert text == f"## Nothing annotated: figures\n\n{listed}"
  other = write(tmp_path / "faces", "", 0, {"x": report(1.0, 1.0)})
  alone = tables.collect([other])
  both = tables.collect([other, bare])
  assert rows(both, "### x")[1][1:] == rows(alone, "### x")[1][1:]
  assert "Nothing" not in alone and f"{bare}/figures" in both


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


def test_a_run_of_an_older_version_joins_the_row_of_its_seeds(tmp_path):
  """Keys that its config.json lacks count as their defaults."""
  made = {"synthetic": report(10.0, 9.0)}
  older = write(tmp_path / "older", "test", 0, made)
  newer = write(tmp_path / "newer", "test", 1, made)
  path = tmp_path / "older" / "config.json"
  config = json.loads(path.read_text())
  for key in ("parallel", "accumulate"):
    del config[key]
  del config["objective"]["flow_reach"], config["data"]["protocol"]
  path.write_text(json.dumps(config))
  text = tables.collect([older, newer])
  assert "± 0.00 (2)" in text
