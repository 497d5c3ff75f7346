"""How good a trained model is: landmarks found, numbers measured, a report.

An `Evaluator` measures on the splits of a dataset. `evaluate` writes the
numbers of a `Subject`, a checkpoint, to eval/DATASET.json; `table` lays them
out. `detect` has the detectors of images, `regression` and `conventions` the
landmark regression, `pairs` everything that is measured between two images.
"""

from c3_jax.evaluation.detect import landmark_function
from c3_jax.evaluation.evaluator import Evaluator
from c3_jax.evaluation.report import evaluate, table
from c3_jax.evaluation.subject import Subject
