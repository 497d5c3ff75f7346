"""The sections of several runs, side by side, as HTML."""

import json

from c3_jax.evaluation import diagnostics
from c3_jax.reporting import repeat, sections
from c3_jax.reporting.markup import escape, image, number, section, table
from c3_jax.runs.reports import CHOSEN

FIGURES = {
  "landmarks.png": "Landmarks",
  "swaps.png": "Swaps",
  "template.png": "What each half carries",
  "transfer.png": "Carried to another image",
}
# What differs between any two runs, and says nothing.
QUIET = (
  *("accept_changes", "eval.name", "eval.step", "log_every"),
  "checkpoint_every",
)
LONGEST = 60  # Characters of a value.


def name(i, run):
  """Names run i, with the dot of its colour in the curves."""
  return f'<span class="key run{i % 6}"></span>{escape(run.name)}'


def parts(runs, room):
  """Makes all sections; images take up to `room` bytes."""
  share = room // (len(FIGURES) * len(runs))
  return [
    numbers(runs),
    differences(runs),
    sections.training(runs),
    *(figures(runs, file, title, share) for file, title in FIGURES.items()),
    section(
      "Repeat them",
      *(
        f"<h3>{name(i, run)}</h3>{sections.command(run)}"
        for i, run in enumerate(runs)
      ),
    ),
  ]


def numbers(runs):
  """Shows the numbers of the runs; the best of a row stands out."""
  rows = [
    ["landmarks", *(escape(run.config["model"]["k"]) for run in runs)],
    ["steps", *(f"{run.steps:,}" for run in runs)],
  ]
  names = dict.fromkeys(e.name for run in runs for e in run.evaluations)
  for dataset in names:
    found = [
      next((e for e in run.evaluations if e.name == dataset), None)
      for run in runs
    ]
    for label, pick, best in MEASURES:
      values = [pick(each) if each else None for each in found]
      if any(value is not None for value in values):
        label = f"{escape(dataset)}: {label}" if len(names) > 1 else label
        rows.append([label, *_marked(values, best)])
  head = ["", *(name(i, run) for i, run in enumerate(runs))]
  about = (
    "The best of a row stands out. Errors compare only on the same images."
  )
  return section("Numbers", table(head, rows, "numbers"), about=about)


def _report(*path):
  return lambda found: _at(found.report, path)


def _quality(*path):
  return lambda found: _at(found.quality, path)


def _at(value, path):
  for key in path:
    value = (value or {}).get(key)
  return value


def _faulty(found):
  faults = _at(found.quality, ("faults",))
  if faults is None:
    return None
  return len(diagnostics.faulty(faults))


# Label, how it is read of an `Evaluation`, which of two is better.
MEASURES = (
  ("error of annotated points, %", _report("error", "intercept"), min),
  ("the same, without intercept", _report("error", "no_intercept"), min),
  ("the same, network untrained", _report("baseline", "untrained"), None),
  ("the same, mean shape", _report("baseline", "mean_shape"), None),
  (
    "error under random similarities, %",
    _report("perturbed", "error", "intercept"),
    min,
  ),
  (f"PCK {CHOSEN} by flow, %", _report("pck", CHOSEN), max),
  ("off after a known warp, % of the side", _quality("consistency"), min),
  ("landmarks with a fault", _faulty, min),
  ("reconstruction of warped images, %", _quality("reconstruction"), min),
  (
    "images with a pair that changed sides, %",
    _quality("mirror", "swapped"),
    min,
  ),
)


def _marked(values, best):
  """Writes numbers; the best of two or more different ones in bold."""
  known = [value for value in values if value is not None]
  top = best(known) if best and len(set(known)) > 1 else None
  form = "d" if all(isinstance(value, int) for value in known) else ".2f"
  return [
    f"<b>{number(v, form)}</b>"
    if v is not None and v == top
    else number(v, form)
    for v in values
  ]


def differences(runs):
  """Shows the keys of the configs that differ."""
  flat = [repeat.flatten(run.config) for run in runs]
  keys = sorted({key for each in flat for key in each if key not in QUIET})
  rows = []
  for key in keys:
    values = [json.dumps(each.get(key)) for each in flat]
    if len(set(values)) > 1:
      cells = [
        value if len(value) <= LONGEST else f"{value[:LONGEST]}.."
        for value in values
      ]
      rows.append([escape(key), *map(escape, cells)])
  if not rows:
    text = "<p>The configs are the same.</p>"
    return section("What differs", text)
  head = ["config", *(name(i, run) for i, run in enumerate(runs))]
  return section("What differs", table(head, rows, "keys"))


def figures(runs, file, title, share):
  """Shows one figure of each run."""
  cells = []
  for i, run in enumerate(runs):
    if run.evaluations:
      folder = run.evaluations[0].figures
      shown = image(folder / file, f"{title}, {run.name}", share=share)
      if shown:
        cells.append(
          f"<figure><figcaption>{name(i, run)}</figcaption>{shown}</figure>"
        )
  inside = f'<div class="beside">{"".join(cells)}</div>' if cells else ""
  return section(title, inside)
