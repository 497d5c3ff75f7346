"""The sections of one run's page, as HTML; "" where nothing is to show."""

from c3_jax import evaluation
from c3_jax.evaluation import diagnostics
from c3_jax.reporting import charts, repeat, words
from c3_jax.reporting.markup import (
  details,
  escape,
  image,
  number,
  section,
  table,
)
from c3_jax.runs.reports import CHOSEN

# Figure -> its title, what it shows.
FIGURES = {
  "swaps.png": (
    "Swaps",
    "The appearance of the image on the left, with the landmarks of the image "
    "above. Pose should follow the columns, colours the rows.",
  ),
  "template.png": (
    "What each half carries",
    "Pose alone should draw one and the same object in every pose: the "
    "template. Appearance alone should not know where anything is.",
  ),
  "transfer.png": (
    "Carried to another image",
    "Landmarks of the upper image, carried to the lower one by matching "
    "features (crosses), beside those detected there (dots).",
  ),
  "errors.png": (
    "Spread of the error",
    "How many test images have an error below a value.",
  ),
}
BY_FLOW = "transfer.png"


def tiles(run, found):
  """Makes the numbers at the top of the page."""
  report, quality = found.report or {}, found.quality or {}
  cells = []
  if "error" in report:
    cells.append(
      (
        f"{report['error']['intercept']:.1f} %",
        "error of annotated points, by regression",
      )
    )
  if quality.get("consistency") is not None:
    cells.append(
      (f"{quality['consistency']:.1f} %", "of the side, off after a known warp")
    )
  if "faults" in quality:
    good = quality["k"] - len(diagnostics.faulty(quality["faults"]))
    cells.append((f"{good} of {quality['k']}", "landmarks without a fault"))
  if run.steps:
    about = f"steps of {run.config['batch_size']} images"
    cells.append((f"{run.steps:,}", about))
  inside = "".join(
    f"<div><b>{escape(value)}</b><span>{escape(about)}</span></div>"
    for value, about in cells
  )
  return f'<div class="tiles">{inside}</div>'


def landmarks(found, share):
  """Shows images with landmarks."""
  about = f"{found.split.capitalize()} images. A landmark has one colour."
  if (found.report or {}).get("regressor"):
    about += (
      " White crosses are annotated points that training never saw, white "
      "circles the same points by regression from the landmarks."
    )
  figure = image(
    found.figures / "landmarks.png", "Images with landmarks", share=share
  )
  return section("Landmarks", figure, about=about)


def measured(found):
  """Shows the numbers with their baselines."""
  report = found.report
  if report is None:
    text = (
      '<p class="note">There are no annotated train and test images, so no '
      "error of annotated points is known. What images alone tell follows.</p>"
    )
    return section("Against annotations", text)
  text = f"<pre>{escape(evaluation.table(report))}</pre>"
  numbers = details("All numbers", text)
  if "error" not in report:
    rows = [
      ["carried by the flow", number(report["pck"][CHOSEN])],
      ["left in place", number(_left_in_place(report))],
    ]
    about = (
      "Annotated points carried from one image of a pair to the other: the "
      "share that arrives near enough."
    )
    return section(
      "Against annotations",
      table([f"PCK {CHOSEN}", "%"], rows),
      numbers,
      about=about,
    )
  blocks = []
  for part, title in ((report, "As they are"), (report.get("perturbed"), "")):
    if part and "error" in part:
      title = title or "Under random rotations, scales and shifts"
      blocks.append(f"<h3>{title}</h3>{charts.bars(_rows(part))}")
  about = (
    "Mean distance of estimated points to annotated ones, in % of the "
    f"{escape(report['normaliser'])}; shorter is better. "
    f"{report['n_test']:,} test images; the regression is fitted on "
    f"{report['n_train']:,} others."
  )
  return section("Against annotations", *blocks, numbers, about=about)


def _left_in_place(report):
  return report["alignment"]["readings"]["identity"][CHOSEN]


def _rows(part):
  error, baseline = part["error"], part["baseline"]
  return [
    ("landmarks, regression", error["intercept"], "own"),
    ("the same without intercept", error["no_intercept"], "own faint"),
    ("same network, untrained", baseline["untrained"], ""),
    ("mean shape", baseline["mean_shape"], ""),
  ]


def diagnosis(found):
  """Shows what is wrong, and what to try."""
  if found.quality is None and found.report is None:
    return ""
  items = [
    f"<li><b>{escape(title)}</b> {escape(text)}</li>"
    for title, text in words.advice(found)
  ]
  if items:
    return section("What to try", f'<ul class="advice">{"".join(items)}</ul>')
  text = "Nothing stands out: no landmark is merged, still or at the border."
  return section("What to try", f'<p class="fine">{text}</p>')


def figures(run, found, share):
  """Shows the other figures of an evaluation."""
  names = [name for name in FIGURES if name != BY_FLOW or run.matched]
  parts = []
  for name in names:
    title, about = FIGURES[name]
    figure = image(found.figures / name, title, share=share)
    parts.append(section(title, figure, about=about))
  return "".join(parts)


def training(runs):
  """Shows the curves of one run, or of several in the same axes."""
  names = list(dict.fromkeys(name for run in runs for name in run.curves))
  terms = [name for name in words.TERMS if name in names]
  main = ["held_out_error", *terms]
  counts = sorted(name for name in names if name.startswith("landmarks_"))
  # Counts that are 0 all the time need no plot.
  main += [
    name
    for name in counts
    if any(run.curves[name][1].any() for run in runs if name in run.curves)
  ]
  rest = [name for name in names if name not in main]
  stages = runs[0].stages if len(runs) == 1 else ()
  end = max(run.steps for run in runs)

  def draw(chosen):
    found = (
      charts.curve(
        words.TERMS.get(name, name.replace("_", " ")),
        [
          (run.name if len(runs) > 1 else "", *run.curves[name])
          if name in run.curves
          else (run.name, [], [])
          for run in runs
        ],
        stages,
        end=end,
      )
      for name in chosen
    )
    found = "".join(found)
    return f'<div class="charts">{found}</div>' if found else ""

  about = "Terms of the loss, each before its weight."
  if counts and not set(counts) & set(main):
    about += " No checkpoint had a landmark that was merged, still or at the "
    about += "border."
  if stages:
    shown = dict.fromkeys(name or "no stage" for name, _, _ in stages)
    about += " Stages: " + ", ".join(
      f'<span class="key {name if name in charts.STAGES else "other"}"></span>'
      f"{escape(name)}"
      for name in shown
    )
    about += "."
  return section(
    "Training",
    draw(name for name in main if name in names),
    details("More curves", draw(rest)),
    about=about,
  )


def setting(run, found):
  """Says what was trained, on what, and how to repeat it."""
  config, quality = run.config, found.quality or {}
  data = config["data"]
  count = quality.get("n_train")
  trained = words.dataset(config)
  if count is not None:
    trained = f"{count:,} images of {trained}"
  if data["root"]:
    trained += f", {data['root']}"
  rows = {
    "Trained on": trained,
    "What is seen": words.images(config),
    "Network": words.network(config),
    "Optimiser": words.optimiser(config),
    "Time": run.seconds
    and (f"{words.duration(run.seconds)} for the steps, without compiling"),
    "Checkpoint": f"step {quality['step']:,}" if "step" in quality else None,
    "Version": f"c3_jax {quality['version']}" if "version" in quality else None,
  }
  terms = "".join(
    f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>"
    for name, text in rows.items()
    if text
  )
  stages = [
    [escape(cell) for cell in row] for row in words.stages(config, run.stages)
  ]
  return section(
    "What was trained",
    f"<dl>{terms}</dl>",
    stages and table(["stage", "steps", "learning rate", "loss"], stages),
    "<h3>Repeat it</h3>",
    command(run),
  )


def command(run):
  """Shows the command that repeats a run."""
  text = " \\\n  ".join(repeat.command(run.config, run.workdir))
  return f"<pre>{escape(text)}</pre>"
