"""The report of a run: one HTML file that explains it, or compares several.

`facts` reads the folder of a run, `words` says it in sentences, `repeat` makes
the command that repeats it; `sections`, `each`, `charts` and `markup` make the
parts of the page, `page` puts them together, `comparison` sets runs side by
side. `report` is the command. `tables` writes tables of runs as Markdown.
"""

import logging
import os
import pathlib

from c3_jax.runtime import files

logger = logging.getLogger(__name__)

NAME = "report.html"


def write_beside(workdir: str | os.PathLike) -> None:
  """Writes workdir/report.html; what goes wrong is a warning.

  The report is a by-product: it never costs a run that took hours.
  """
  path = pathlib.Path(workdir) / NAME
  try:
    # Not at the top: it imports Matplotlib.
    from c3_jax.reporting import page

    text = page.make([workdir])
    with files.write_whole(path, "w", encoding="utf-8") as file:
      file.write(text)
    print(f"report: {path}", flush=True)
  except Exception as error:
    logger.warning("%s was not written: %s", path, files.reason(error))
