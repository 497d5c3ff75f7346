"""Results of several runs as Markdown tables, beside published numbers.

Runs that differ in nothing but their seed make one row, with mean and
deviation. A published number stands beside a row that was measured by its
protocol and trained in its way, and nowhere else.
"""

import json

import numpy as np

from c3_jax.errors import UserError
from c3_jax.runs import compare, reports
from c3_jax.runs.reports import CHOSEN, READINGS

# Rows of Table 1: {paper of the protocol: {K: per cent}}, by IMM's protocol.
TABLE_1 = {
  "Struc.": {"mafl": {10: 3.46, 30: 3.16}, "aflw": {10: 7.01, 30: 6.58}},
  "Cond.": {"mafl": {10: 3.19, 30: 2.58}, "aflw": {10: 6.86, 30: 6.31}},
  "Joint.": {"mafl": {10: 3.33, 30: 2.98}, "aflw": {10: 7.17, 30: 6.51}},
  "Shape.": {"mafl": {10: 3.24}},
  "C3": {"mafl": {10: 3.11, 30: 2.54}, "aflw": {10: 6.75, 30: 6.26}},
}
EYES = "distance of points 0 and 1"
# Table 2, MAFL with K = 10. Its check marks are lost in our copy; the rows are
# inferred from the text.
TABLE_2 = {
  (False, False): 3.31,
  (False, True): 3.30,
  (True, False): 3.18,
  (True, True): 3.11,
}
# Table 3: PCK of the reading flow under the key CHOSEN, per cent, by how the
# network was trained: (4-D convolutions, landmarks).
TABLE_3 = {(True, False): 78.9, (False, False): 78.5, (False, True): 80.1}
# Columns of our Table 1, and where their numbers are in a report.
REGRESSION = {
  "without intercept, origin corner": ("error", "no_intercept"),
  "with intercept": ("error", "intercept"),
  "untrained, with intercept": ("baseline", "untrained"),
  "mean shape": ("baseline", "mean_shape"),
  "NMI": ("parts", "nmi"),
  "ARI": ("parts", "ari"),
}
CONVENTIONS = ("no_intercept", "intercept")
# Readings of a match that stand on the landmarks.
BY_LANDMARKS = ("landmarks", "combined")


def spread(numbers):
  """Writes mean, deviation of a sample, and count; a dash for no numbers."""
  if not numbers:
    return "–"
  mean = f"{np.mean(numbers):.2f}"
  if len(numbers) > 1:
    mean += f" ± {np.std(numbers, ddof=1):.2f}"
  return f"{mean} ({len(numbers)})"


def values(group, measured, *path):
  """Collects report[path[0]][path[1]].. of the runs measured that way."""
  found = [run.reports[measured] for run in group if measured in run.reports]
  for key in path:
    found = [value[key] for value in found if value.get(key) is not None]
  return found


def measures(runs, key):
  """Lists the `reports.Measured` of the reports that have a key."""
  return sorted(
    {which for run in runs for which, r in run.reports.items() if key in r}
  )


def rows_of(runs, measured):
  """Gives (title, group) of the groups that were measured that way."""
  groups = compare.grouped(runs)
  rows = zip(compare.names(groups), groups, strict=True)
  return [row for row in rows if values(row[1], measured)]


def regressions(runs):
  """Makes Table 1: the error of every group on every dataset."""
  blocks = []
  for measured in measures(runs, "error"):
    papers = [name for name in ("Cond.", "C3") if published(measured)[name]]
    rows = []
    for title, group in rows_of(runs, measured):
      config, row = group[0].config, [title]
      row += [spread(values(group, measured, *p)) for p in REGRESSION.values()]
      for name in papers:
        alike = compare.method(config) == name
        paper = published(measured)[name].get(config["model"]["k"])
        row.append(f"{paper:.2f}" if alike and paper else "")
      rows.append(row)
    head = ["run", *REGRESSION, *(f"paper's {name}" for name in papers)]
    blocks.append(
      f"### {measured.dataset}\n\nMean distance / {measured.length}, %; NMI "
      "and ARI of the nearest landmarks, %; mean ± deviation (runs)."
      f"{measured.words}\n\n{markdown(head, rows)}"
      f"{quoted(measured)}"
    )
  return section("Landmark regression (Table 1)", blocks)


def published(measured):
  """Gives the rows of Table 1 that hold for a protocol: {name: {K: %}}."""
  alike = measured.protocol == "imm" and measured.length == EYES
  paper = measured.paper if alike else None
  return {name: by_paper.get(paper, {}) for name, by_paper in TABLE_1.items()}


def quoted(measured):
  """Quotes the paper's rows for a protocol, or "" where it has none."""
  rows = [
    [name, *(f"{by_k[k]:.2f}" if k in by_k else "–" for k in (10, 30))]
    for name, by_k in published(measured).items()
    if by_k
  ]
  if not rows:
    return ""
  return "\n\nAs published:\n\n" + markdown(["", "K = 10", "K = 30"], rows)


def ablation(runs):
  """Makes Table 2: the four cells, columns of each dataset.

  Runs of a table agree in all but the cell and the seed.
  """
  tables = {}
  for group in compare.grouped(runs):
    config = group[0].config
    which = compare.cell(config)
    if which is not None:
      rest = {
        key: value
        for key, value in compare.settings(config).items()
        if not key.startswith("stages.cycle.weights.")
      }
      key = json.dumps(rest, sort_keys=True)
      tables.setdefault(key, {})[which] = group
  blocks = []
  for cells in tables.values():
    if len(cells) < 2:
      continue
    members = [run for group in cells.values() for run in group]
    k = members[0].config["model"]["k"]
    columns = {
      "cycle": [compare.mark(cycle) for cycle, _ in TABLE_2],
      "flow": [compare.mark(flow) for _, flow in TABLE_2],
    }
    for measured in measures(members, "error"):
      for name in CONVENTIONS:
        columns[f"{measured.dataset}, {name.replace('_', ' ')}"] = [
          spread(values(cells.get(which, []), measured, "error", name))
          for which in TABLE_2
        ]
      # Of MAFL with K = 10.
      if TABLE_2[True, True] == published(measured)["C3"].get(k):
        columns[f"paper, {measured.dataset}, no intercept"] = [
          f"{paper:.2f}" for paper in TABLE_2.values()
        ]
    rows = zip(*columns.values(), strict=True)
    blocks.append(
      f"K = {k}; %, mean ± deviation (runs)\n\n{markdown(columns, rows)}"
    )
  return section("Ablation (Table 2)", blocks)


def alignments(runs):
  """Makes Table 3: PCK of every group on every dataset of listed pairs."""
  blocks = []
  for measured in sorted({*measures(runs, "pck")} - {*measures(runs, "error")}):
    table = rows_of(runs, measured)
    columns = {"run": [title for title, _ in table]}
    for reading in READINGS:
      path = "alignment", "readings", reading, CHOSEN
      cells = [
        # Where E_p never moved, what its landmarks carry says nothing.
        spread(values(group, measured, *path))
        if reading not in BY_LANDMARKS or compare.moved(group[0].config, "pose")
        else "–"
        for _, group in table
      ]
      if {*cells} != {"–"}:
        columns[reading] = cells
      if reading == "flow" and measured.protocol == "ncnet":
        papers = [TABLE_3.get(trained(group[0].config)) for _, group in table]
        columns["flow, paper"] = [f"{p:.1f}" if p else "" for p in papers]
    rows = zip(*columns.values(), strict=True)
    blocks.append(
      f"### {measured.dataset}\n\nPCK {CHOSEN}, %; mean ± deviation (runs)."
      f"{measured.words}\n\n{markdown(columns, rows)}"
    )
  return section("Alignment (Table 3)", blocks)


def trained(config):
  """Tells the row of Table 3 that a run is; None with an untrained flow."""
  if not compare.moved(config, "flow"):
    return None
  full = not config["model"]["flow"]["separable"]
  return full, compare.moved(config, "pose")


def bare(runs):
  """Lists the runs without numbers, for they had nothing annotated."""
  groups = compare.grouped(runs)
  lines = [
    f"- {title}: {run.workdir}/figures"
    for title, group in zip(compare.names(groups), groups, strict=True)
    for run in group
    if not run.reports
  ]
  return section("Nothing annotated: figures", lines and ["\n".join(lines)])


def section(title, blocks):
  """Joins a heading and blocks as Markdown; "" without blocks."""
  return "\n\n".join([f"## {title}", *blocks]) if blocks else ""


def markdown(header, rows):
  """Lays rows of str out as a Markdown table."""
  lines = [[*header], ["---"] * len(header), *rows]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def collect(workdirs):
  """Makes all tables of the runs in some folders, as Markdown.

  Raises:
    UserError: a folder is no evaluated run, or is given twice.
  """
  if not workdirs:
    raise UserError("--workdirs is empty: name folders of runs, with commas.")
  runs = [reports.load(workdir) for workdir in workdirs]
  try:
    parts = [regressions(runs), ablation(runs), alignments(runs), bare(runs)]
  except KeyError as error:
    raise UserError(
      f"config.json of a run has no key {error}: train and evaluate all runs "
      "with one version of c3_jax."
    ) from error
  except UserError:
    raise
  except reports.MALFORMED as error:
    raise UserError(
      f"a report in eval/ of {', '.join(workdirs)} has another form than "
      f"evaluation writes ({error}): run c3_jax.main there with --mode=eval."
    ) from error
  return "\n\n".join(filter(None, parts)) + "\n"
