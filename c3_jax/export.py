"""Command line: a trained model for other programs, and as a web page.

python -m c3_jax.export --workdir=runs/mine --out=model.onnx
python -m c3_jax.export --workdir=runs/mine --page=page

See docs/export.md for the formats.
"""

from absl import flags

from c3_jax.errors import UserError
from c3_jax.exporting import detector, files, page
from c3_jax.runtime import cli


def define_flags():
  """Defines the flags of this command."""
  cli.define_path("workdir", None, "Folder of the run.")
  cli.define_out("The model: X.onnx, X.stablehlo or X.safetensors.", "")
  flags.DEFINE_enum(
    "format", "", ["", *files.FORMATS], "Of --out; else by its ending."
  )
  flags.DEFINE_enum(
    "dtype", "uint8", detector.DTYPES, "Of the images that --out takes."
  )
  cli.define_path("page", "", "Folder of a web page to write.")
  cli.define_path(
    "ort", "", f"Folder of the npm package {page.PACKAGE}, for --page."
  )
  flags.DEFINE_integer("step", None, "Step of the checkpoint; else the best.")


def program():
  """Writes what the flags say."""
  values = flags.FLAGS
  if not values.out and not values.page:
    raise UserError("nothing to write: give --out=FILE or --page=DIR.")
  shared = {"step": values.step, "overwrite": values.overwrite}
  if values.page:
    # Before a model is written.
    page.check(values.page, values.workdir, overwrite=values.overwrite)
  if values.out:
    options = {"kind": values.format, "dtype": values.dtype}
    files.write(values.workdir, values.out, **options, **shared)
    print(f"Wrote {values.out}.")
  if values.page:
    page.write(values.workdir, values.page, ort=values.ort, **shared)
    print(
      f"Wrote {values.page}: look at it with python3 -m http.server "
      f"--directory {values.page}"
    )


if __name__ == "__main__":
  cli.main(program, define_flags, required=["workdir"])
