"""Command line: the report of a run, or of several side by side.

c3-jax report --workdirs=runs/a
c3-jax report --workdirs=runs/a,runs/b --out=compare.html

Training and evaluation write the former by themselves. See docs/report.md.
"""

import os

from absl import flags

from c3_jax import reporting
from c3_jax.errors import UserError
from c3_jax.reporting import page
from c3_jax.runtime import cli, paths
from c3_jax.runtime.output import Output, begins

_OURS = rb".{,400}<meta name=\"generator\" content=\"c3_jax report\">"


def define_flags():
  """Defines the flags of this command."""
  flags.DEFINE_list("workdirs", None, "Folders of runs, with commas.")
  cli.define_out(
    "HTML file; else report.html, of one run in its folder.", default=""
  )


def program():
  """Writes the report that the flags ask for."""
  values = flags.FLAGS
  workdirs = [paths.local(each, "--workdirs") for each in values.workdirs or []]
  if not workdirs:
    raise UserError("--workdirs is empty: name folders of runs, with commas.")
  out = values.out or os.path.join(
    workdirs[0] if len(workdirs) == 1 else "", reporting.NAME
  )
  output = Output(
    out, lambda path: begins(path, _OURS), overwrite=values.overwrite
  )
  # Only if it is there can a file lie in it.
  if os.path.isdir(os.path.dirname(out) or "."):
    output.check()
  text = page.make(workdirs)
  with output.open("w", encoding="utf-8") as file:
    file.write(text)
  print(f"Wrote {out}.")


if __name__ == "__main__":
  cli.main(program, define_flags, required=["workdirs"])
