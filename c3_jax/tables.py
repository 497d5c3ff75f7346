"""Command line: the results of several runs as Markdown tables.

python -m c3_jax.tables --workdirs=runs/a,runs/b,... [--out=tables.md]

Runs that differ in nothing but their seed make one row, with mean and
deviation; the paper's row is added. It reads config.json and eval/*.json.
"""

import itertools
import json

import numpy as np
from absl import flags

from c3_jax.errors import UserError
from c3_jax.runs import compare
from c3_jax.runtime import cli, files

# Rows of Table 1: {dataset: {K: per cent}}.
TABLE_1 = {
  "Struc.": {"mafl": {10: 3.46, 30: 3.16}, "aflw": {10: 7.01, 30: 6.58}},
  "Cond.": {"mafl": {10: 3.19, 30: 2.58}, "aflw": {10: 6.86, 30: 6.31}},
  "Joint.": {"mafl": {10: 3.33, 30: 2.98}, "aflw": {10: 7.17, 30: 6.51}},
  "Shape.": {"mafl": {10: 3.24}},
  "C3": {"mafl": {10: 3.11, 30: 2.54}, "aflw": {10: 6.75, 30: 6.26}},
}
# Table 2, MAFL with K = 10. Its check marks are lost in our copy; the rows are
# inferred from the text.
TABLE_2 = {
  (False, False): 3.31,
  (False, True): 3.30,
  (True, False): 3.18,
  (True, True): 3.11,
}
# Table 3: PCK under the key CHOSEN, per cent, by the reading of the match.
TABLE_3 = {"NC-Net": 78.9, "flow": 78.5, "combined": 80.1}
CHOSEN = "scnet@0.1"
CONVENTIONS = ("no_intercept", "intercept")
# Columns of our Table 1, and where their numbers are in a report.
REGRESSION = {
  "without intercept, origin corner": ("error", "no_intercept"),
  "with intercept": ("error", "intercept"),
  "untrained, with intercept": ("baseline", "untrained"),
  "mean shape": ("baseline", "mean_shape"),
}


def spread(numbers):
  """Writes mean, deviation of a sample, and count; a dash for no numbers."""
  if not numbers:
    return "–"
  mean = f"{np.mean(numbers):.2f}"
  if len(numbers) > 1:
    mean += f" ± {np.std(numbers, ddof=1):.2f}"
  return f"{mean} ({len(numbers)})"


def values(group, dataset, *path):
  """Collects reports[dataset][path[0]][path[1]].. of the runs that have it."""
  found = [run.reports[dataset] for run in group if dataset in run.reports]
  for key in path:
    found = [value[key] for value in found if value.get(key) is not None]
  return found


def datasets(runs, key):
  """Lists the datasets whose reports have a key."""
  return sorted(
    {name for run in runs for name, r in run.reports.items() if key in r}
  )


def regressions(runs):
  """Makes Table 1: the error of every group on every dataset."""
  groups = compare.grouped(runs)
  titles = compare.names(groups)
  blocks = []
  for dataset in datasets(runs, "error"):
    rows = []
    for title, group in zip(titles, groups, strict=True):
      if not values(group, dataset, "error"):
        continue
      columns = [
        spread(values(group, dataset, *path)) for path in REGRESSION.values()
      ]
      k = group[0].config["model"]["k"]
      paper = TABLE_1["C3"].get(dataset, {}).get(k)
      rows.append([title, *columns, f"{paper:.2f}" if paper else ""])
    head = ["run", *REGRESSION, "paper's C3"]
    lengths = sorted({*values(runs, dataset, "normaliser")})
    length = ", ".join(lengths) or "a length that was not recorded"
    blocks.append(
      f"### {dataset}\n\nMean distance / {length}, %; mean ± deviation (runs)."
      f"\n\n{markdown(head, rows)}{published(dataset)}"
    )
  return section("Landmark regression (Table 1)", blocks)


def published(dataset):
  """Quotes the paper's rows for a dataset, or "" where it has none."""
  rows = []
  for name, found in TABLE_1.items():
    if by_k := found.get(dataset):
      cells = (f"{by_k[k]:.2f}" if k in by_k else "–" for k in (10, 30))
      rows.append([name, *cells])
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
    found = itertools.product(datasets(members, "error"), CONVENTIONS)
    columns = {f"{d}, {x.replace('_', ' ')}": (d, "error", x) for d, x in found}
    rows = []
    for which, paper in TABLE_2.items():
      group = cells.get(which, [])
      numbers = [spread(values(group, *path)) for path in columns.values()]
      rows.append([*map(compare.mark, which), *numbers, f"{paper:.2f}"])
    head = ["cycle", "flow", *columns, "paper, MAFL, K = 10, no intercept"]
    k = members[0].config["model"]["k"]
    blocks.append(
      f"K = {k}; %, mean ± deviation (runs)\n\n{markdown(head, rows)}"
    )
  return section("Ablation (Table 2)", blocks)


def alignments(runs):
  """Makes Table 3: PCK of every group on every dataset of listed pairs."""
  groups = compare.grouped(runs)
  titles = compare.names(groups)
  paired = set(datasets(runs, "pck")) - set(datasets(runs, "error"))
  blocks = []
  for dataset in sorted(paired):
    path = dataset, "alignment", "readings"
    readings = sorted(set().union(*values(runs, *path)))
    rows = [
      [title, *(spread(values(group, *path, x, CHOSEN)) for x in readings)]
      for title, group in zip(titles, groups, strict=True)
      if values(group, dataset, "pck")
    ]
    paper = [f"{TABLE_3[r]:.1f}" if r in TABLE_3 else "" for r in readings]
    rows += [["paper", *paper]]
    blocks.append(
      f"### {dataset}\n\nPCK {CHOSEN}, %; mean ± deviation (runs). NC-Net as "
      f"published: {TABLE_3['NC-Net']}.\n\n{markdown(['run', *readings], rows)}"
    )
  return section("Alignment (Table 3)", blocks)


def section(title, blocks):
  """Joins a heading and blocks as Markdown; "" without blocks."""
  return "\n\n".join([f"## {title}", *blocks]) if blocks else ""


def markdown(header, rows):
  """Lays rows of str out as a Markdown table."""
  lines = [header, ["---"] * len(header), *rows]
  return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def collect(workdirs):
  """Makes all tables of the runs in some folders, as Markdown.

  Raises:
    UserError: a folder is no evaluated run, or is given twice.
  """
  if not workdirs:
    raise UserError("--workdirs is empty: name folders of runs, with commas.")
  runs = [compare.load(workdir) for workdir in workdirs]
  try:
    parts = [regressions(runs), ablation(runs), alignments(runs)]
  except KeyError as error:
    raise UserError(
      f"config.json of a run has no key {error}: train and evaluate all runs "
      "with one version of c3_jax."
    ) from error
  return "\n\n".join(filter(None, parts)) + "\n"


def define_flags():
  """Defines the flags of this command."""
  flags.DEFINE_list("workdirs", None, "Folders of runs.")
  flags.DEFINE_string("out", "", "File to write; else it is printed.")


def main():
  """Reads the flags, prints or writes the tables."""
  text = collect(flags.FLAGS.workdirs)
  if not flags.FLAGS.out:
    print(text, end="")
    return
  cli.check_out(flags.FLAGS.out)
  with files.write_whole(flags.FLAGS.out, "w", encoding="utf-8") as file:
    file.write(text)


if __name__ == "__main__":
  cli.main(main, define_flags, required=["workdirs"])
