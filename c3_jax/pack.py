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
from c3_jax.runtime import cli


def define_flags():
  """Defines the flags of this command."""
  cli.define_config()
  flags.DEFINE_enum("split", "train", load.SPLITS, "What to pack.")
  flags.DEFINE_string("out", None, "File to write, X.npz.")


def pack(config, split, out):
  """Writes one split of the dataset of a config, and returns it.

  Args:
    config: `config.data` is used; its images are held in memory meanwhile.
    split: "train", "fit" or "test".
    out: .npz file.

  Raises:
    UserError: a mistake in the config or the data, no such split, or no such
      file to write to.
  """
  # Before hours of decoding.
  cli.check_out(out)
  config = config.copy_and_resolve_references()
  with config.unlocked():
    config.data.cache = True
  dataset = load.load_split(config, split)
  if dataset is None:
    raise UserError(
      f"config.data.name={config.data.name} has no annotated images for "
      f"--split={split}: pack another split."
    )
  dataset.save(out)
  return dataset


def program():
  """Packs what the flags say."""
  dataset = pack(flags.FLAGS.config, flags.FLAGS.split, flags.FLAGS.out)
  size = pathlib.Path(flags.FLAGS.out).stat().st_size
  print(
    f"{flags.FLAGS.out}: {len(dataset)} of {flags.FLAGS.split}, "
    f"{dataset.load_size} x {dataset.load_size} pixels, {size / 1e6:.1f} MB"
  )


if __name__ == "__main__":
  cli.main(program, define_flags, required=["config", "out"])
