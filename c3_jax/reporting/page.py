"""The whole page: of one run, or of several side by side."""

import pathlib

from c3_jax.errors import UserError
from c3_jax.reporting import comparison, each, facts, sections, words
from c3_jax.reporting.markup import escape
from c3_jax.runs.reports import MALFORMED

STYLE = pathlib.Path(__file__).with_name("style.css")
# Base64 of all images of a page, in bytes.
IMAGES = 3_500_000
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="c3_jax report">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<header>
<p class="kicker">{kicker}</p>
<h1>{title}</h1>
<p class="lede">{lede}</p>
</header>
{body}
</main>
</body>
</html>
"""


def make(workdirs):
  """Makes the page of runs: HTML without anything outside of it.

  Raises:
    UserError: a folder is no run, or one of its files is damaged.
  """
  runs = facts.load_all(workdirs)
  try:
    found = _one(runs[0]) if len(runs) == 1 else _several(runs)
    return PAGE.format(style=STYLE.read_text(), **found)
  except MALFORMED as error:
    raise UserError(
      f"a file in eval/ or quality/ of {', '.join(map(str, workdirs))} has "
      f"another form than evaluation writes ({error}): run c3_jax.main there "
      "with --mode=eval."
    ) from error


def _one(run):
  """Makes the parts of the page of one run."""
  found = run.evaluations or [
    facts.Evaluation("", None, None, pathlib.Path(run.workdir, "figures"))
  ]
  share = IMAGES // (5 * len(found))
  parts = [sections.tiles(run, found[0])] if run.moved else []
  for one in found:
    if len(found) > 1:
      parts.append(f'<h2 class="part">Evaluated on {escape(one.name)}</h2>')
    parts.append(sections.measured(one))
    if run.moved:
      # Else landmarks say nothing.
      parts.insert(-1, sections.landmarks(one, share))
      parts += [sections.diagnosis(one), each.each_landmark(run, one)]
    parts.append(sections.figures(run, one, share))
  parts += [sections.training([run]), sections.setting(run, found[0])]
  return {
    "kicker": f"c3_jax report &middot; {escape(run.name)}",
    "title": escape(title(run)),
    "lede": escape(words.summary(run, found[0])),
    "body": "\n".join(filter(None, parts)),
  }


def title(run):
  """Names a run by its data, and its landmarks where it trained any."""
  name = words.dataset(run.config)
  if not run.moved:
    return f"Correspondence on {name}"
  return f"{run.config['model']['k']} landmarks of {name}"


def _several(runs):
  """Makes the parts of the page of several runs."""
  return {
    "kicker": "c3_jax report",
    "title": f"{len(runs)} runs side by side",
    "lede": ", ".join(comparison.name(i, run) for i, run in enumerate(runs)),
    "body": "\n".join(filter(None, comparison.parts(runs, IMAGES))),
  }
