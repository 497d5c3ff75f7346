"""Command line: decodes a split once, into one file that needs no TensorFlow.

python -m c3_jax.pack --config=configs/celeba.py --config.data.root=DIR \
  --split=train --out=train.npz

Train from such files with --config.data.name=packed and
--config.data.packed.train=train.npz (fit and test likewise).
"""

import pathlib

from absl import flags

from c3_jax.data import load
from c3_jax.errors import UserError
from c3_jax.runtime import arrays, cli
from c3_jax.runtime.output import Output
from c3_jax.training import rules


def define_flags():
  """Defines the flags of this command."""
  cli.define_config()
  flags.DEFINE_enum("split", "train", load.SPLITS, "What to pack.")
  cli.define_out("File to write, X.npz.")


def pack(config, split, out, *, overwrite=False):
  """Writes one split of the dataset of a config, and returns it.

  Args:
    config: `config.data` is used; its images are held in memory meanwhile.
    split: "train", "fit" or "test".
    out: .npz file.
    overwrite: whether `out` may replace a file that is no packed split.

  Raises:
    UserError: a mistake in the config or the data, no such split, or no such
      file to write to.
  """
  # Before hours of decoding.
  data = config.data
  inputs = [*data.packed.values(), data.root, data.extra_root, data.tfds_dir]
  output = Output(out, _is_ours, inputs=inputs, overwrite=overwrite)
  output.check()
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.data.cache = True
  dataset = load.load_split(config, split)
  if dataset is None:
    raise UserError(
      f"config.data.name={config.data.name} has no annotated images for "
      f"--split={split}: pack another split."
    )
  output.check()
  dataset.save(out)
  return dataset


def _is_ours(path):
  return "images" in arrays.names(path)


def program():
  """Packs what the flags say."""
  given = flags.FLAGS
  rules.check(given.config)
  dataset = pack(
    given.config, given.split, given.out, overwrite=given.overwrite
  )
  size = pathlib.Path(flags.FLAGS.out).stat().st_size
  print(
    f"{flags.FLAGS.out}: {len(dataset)} of {flags.FLAGS.split}, "
    f"{dataset.load_size} x {dataset.load_size} pixels, {size / 1e6:.1f} MB"
  )


if __name__ == "__main__":
  cli.main(program, define_flags, required=["config", "out"])
