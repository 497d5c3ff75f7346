"""The table with a row for each landmark, as HTML."""

from c3_jax.figures.canvas import landmark_colours
from c3_jax.reporting.markup import (
  details,
  escape,
  number,
  section,
  table,
)

FAULTS = {"merged": "merged", "still": "still", "border": "at the border"}


def each_landmark(run, found):
  """Shows a table with a row for each landmark."""
  quality, report = found.quality, found.report or {}
  if quality is None:
    return ""
  each = quality["landmarks"]
  k = len(each["confidence"])
  if quality["k"] != k:
    raise ValueError(f"k is not {k}, the number of landmarks")
  columns = {
    "after a known warp": [
      _share(*pair) for pair in zip(each["consistency"], each["in_place"])
    ],
    "confidence": [number(x) for x in each["confidence"]],
    "spread": [number(x, ".1f") for x in each["spread"]],
    "nearest": [number(x, ".1f") for x in each["nearest"]],
  }
  backward = (report.get("backward") or {}).get("intercept")
  if backward:
    values = backward["per_landmark"]
    columns["backward error"] = [number(x, ".1f") for x in values]
  flow = report.get("consistency", {}).get("flow_per_landmark")
  if flow and run.matched:
    columns["by flow"] = [number(x, ".1f") for x in flow]
  if mirror := quality.get("mirror"):
    columns["mirror partner"] = [_partner(i, k, mirror) for i in range(k)]
  if any(quality["faults"].values()):
    faults = quality["faults"]
    columns["fault"] = [_faults(i + 1, faults) for i in range(k)]
  rows = zip([chip(i, k) for i in range(k)], *columns.values(), strict=True)
  about = (
    f"From {quality['images']:,} {found.split} images. Lengths are in % of the "
    "image side."
  )
  if mirror:
    about += (
      f" In {mirror['swapped']:.1f} % of the images a pair of mirror partners "
      "has changed sides."
    )
  return section(
    "Landmark by landmark",
    table(["", *columns], list(rows), "each"),
    details("What the columns say", _legend(columns, report)),
    about=about,
  )


COLUMNS = {
  "after a known warp": (
    "the distance between where a random rotation, scale and shift takes the "
    "landmark and where it is found; the bar is full where it does not follow"
  ),
  "confidence": "how concentrated its map is, from 0 to 1",
  "spread": "how far it moves between images: the root mean square",
  "nearest": "the distance to the landmark that is nearest on average",
  "backward error": (
    "how far it is from where a linear map of the annotated points puts it, in "
    "% of the {normaliser}"
  ),
  "by flow": (
    "carried to another image by matching features, how far it is from where "
    "it is found there"
  ),
  "mirror partner": (
    "the landmark that lies there in the mirrored image, and how far off"
  ),
  "fault": "it coincides with another, hardly moves, or is glued to the border",
}


def _legend(columns, report):
  texts = {"normaliser": report.get("normaliser")}
  rows = [
    f"<dt>{name}</dt><dd>{escape(COLUMNS[name].format(**texts))}</dd>"
    for name in columns
  ]
  return f"<dl>{''.join(rows)}</dl>"


def chip(i, k):
  """Makes a dot of the colour of landmark i of k, with its number."""
  red, green, blue = (round(255 * x) for x in landmark_colours(k)[i])
  return (
    f'<span class="chip" style="background:rgb({red},{green},{blue})"></span>'
    f"{i + 1}"
  )


def _share(off, in_place):
  """Makes a number with a bar that is full where nothing was followed."""
  if off is None:
    return number(off)
  share = min(100, 100 * off / in_place) if in_place else 100
  return (
    f'<span class="meter"><span style="width:{share:.0f}%"></span></span>'
    f"{off:.1f}"
  )


def _partner(i, k, mirror):
  partner = mirror["partner"][i] - 1
  name = "itself" if partner == i else chip(partner, k)
  return f'{name} <span class="faint">{mirror["distance"][i]:.1f}</span>'


def _faults(i, faults):
  found = [FAULTS[name] for name, where in faults.items() if i in where]
  return "".join(f'<span class="badge">{name}</span>' for name in found)
