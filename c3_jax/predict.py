"""Command line: landmarks of new images, in pixels of each file.

python -m c3_jax.predict --workdir=runs/mine --images=DIR --out=landmarks.csv

It needs the run's config.json and a checkpoint, nothing else. See
docs/predict.md for the columns and options.
"""

import logging
import warnings

from absl import flags

from c3_jax import inference
from c3_jax.runtime import cli

# As a program this module is __main__, which c3_jax does not log for.
logger = logging.getLogger("c3_jax.predict")


def define_flags():
  """Defines the flags of this command."""
  cli.define_path("workdir", None, "Folder of the run.")
  cli.define_path("images", None, "Folder or pattern of images and clips.")
  cli.define_out("The csv file to write, or COCO keypoints as FILE.json.")
  cli.define_path(
    "overlay", "", "Folder for images with their landmarks drawn in."
  )
  cli.define_path(
    "regressor", "", "An eval/DATASET.json: estimate its annotated points too."
  )
  flags.DEFINE_string(
    "smooth", "none", "Of clips: one-euro for less jitter, or none."
  )
  flags.DEFINE_bool(
    "mirror_check", False, "Count landmarks that changed sides, as swap."
  )
  flags.DEFINE_integer("batch_size", 32, "Images at once.")
  flags.DEFINE_integer("step", None, "Step of the checkpoint; else the best.")


def program():
  """Reads the flags and predicts."""
  # They tell of large images and odd tags, without the name of the file.
  warnings.filterwarnings("ignore", module="PIL")
  done, failed = inference.write_landmarks(
    flags.FLAGS.workdir,
    flags.FLAGS.images,
    flags.FLAGS.out,
    overlay=flags.FLAGS.overlay,
    regressor=flags.FLAGS.regressor,
    batch_size=flags.FLAGS.batch_size,
    step=flags.FLAGS.step,
    overwrite=flags.FLAGS.overwrite,
    smooth=flags.FLAGS.smooth,
    mirror_check=flags.FLAGS.mirror_check,
  )
  logger.info(
    "Wrote %s: %d images, %d warning(s).", flags.FLAGS.out, done, len(failed)
  )


if __name__ == "__main__":
  cli.main(program, define_flags, required=["workdir", "images", "out"])
