"""Command line: the results of several runs as Markdown tables.

python -m c3_jax.tables --workdirs=runs/a,runs/b,... [--out=tables.md]
python -m c3_jax.tables --workdirs=runs/a,runs/b --figure=compare.png

Reads config.json and eval/*.json of each run.
"""

from absl import flags

from c3_jax.errors import UserError
from c3_jax.reporting import tables
from c3_jax.runtime import cli, paths
from c3_jax.runtime.output import Output, begins, is_our_png


def define_flags():
  """Defines the flags of this command."""
  flags.DEFINE_list("workdirs", None, "Folders of runs.")
  cli.define_path(
    "figure", "", "PNG to draw two runs in, side by side; they need no reports."
  )
  cli.define_out("File to write; else it is printed.", default="")


def draw(figure, workdirs):
  """Draws two runs side by side.

  Raises:
    UserError: as `figures.two_runs`, or the file is not named as a PNG.
  """
  # Not at the top: it imports matplotlib.
  from c3_jax import figures

  if not figure.endswith(".png"):
    raise UserError(f"--figure={figure} is a PNG: give it a name in .png.")
  figures.two_runs(figure, workdirs)


def _is_ours(path):
  kinds = (
    rb"(Landmark regression|Ablation|Alignment) \(Table |Nothing annotated"
  )
  return begins(path, rb"## (" + kinds + rb")")


def program():
  """Reads the flags, prints or writes the tables."""
  given = flags.FLAGS
  workdirs = [paths.local(each, "--workdirs") for each in given.workdirs or []]
  output = Output(given.out, _is_ours, overwrite=given.overwrite)
  if given.out:
    output.check()
  if given.figure:
    Output(
      given.figure, is_our_png, overwrite=given.overwrite, flag="--figure"
    ).check()
    draw(given.figure, workdirs)
    if not given.out:
      return
  text = tables.collect(workdirs)
  if not given.out:
    print(text, end="")
    return
  with output.open("w", encoding="utf-8") as file:
    file.write(text)


if __name__ == "__main__":
  cli.main(program, define_flags, required=["workdirs"])
