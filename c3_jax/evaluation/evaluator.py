"""The numbers of a model on the splits of a dataset."""

import functools
import os

import numpy as np

from c3_jax.data import PairedDataset
from c3_jax.errors import UserError
from c3_jax.evaluation import conventions, mirror, parts, regression
from c3_jax.evaluation.detect import (
  detect,
  landmark_function,
  random_similarities,
  see_through,
)
from c3_jax.evaluation.pairs.evaluator import PairEvaluator
from c3_jax.runtime import parallel

INTERCEPT = conventions.MAIN["intercept"]


def normaliser(config):
  """Reads `config.eval.normaliser` as `regression.point_errors` takes it."""
  value = config.eval.normaliser
  value = (value,) if isinstance(value, (int, str)) else tuple(value)
  # The flag's parser makes ("image",) of --config.eval.normaliser=image.
  return value[0] if len(value) == 1 and isinstance(value[0], str) else value


class Evaluator:
  """Measures on the splits of a dataset.

  Everything that does not depend on the parameters is prepared once: the
  compiled detector, the splits, the transforms of the perturbed evaluation.

  Attributes:
    config, model, splits: as given.
  """

  def __init__(self, config, model, splits):
    """Prepares; of the splits, fit and test are used.

    Raises:
      UserError: `config.eval` is refused, or does not fit the points.
    """
    check_options(config.eval)
    self.config, self.model, self.splits = config, model, splits
    self._normaliser, size = normaliser(config), config.data.image_size
    self._data = functools.partial(
      conventions.Data.of, size=size, normaliser=self._normaliser
    )
    self._function = landmark_function(model, size)
    self._pairs = self._validation = None
    if splits.test is not None:
      self._pairs = PairEvaluator(config, model, splits.test)
    if isinstance(splits.fit, PairedDataset):
      self._validation = PairEvaluator(config, model, splits.fit)
    if self.annotated and not self.listed_pairs:
      # Refuse one that does not fit the points before hours of training.
      conventions.check_points(splits.fit.points)
      regression.point_errors(
        np.nan_to_num(splits.fit.points[0]),
        splits.fit.points[:1],
        normaliser=self._normaliser,
        image_size=size,
      )
    self._batch_size = parallel.whole_batch(config.eval.batch_size)

  @property
  def annotated(self):
    """Whether there are points to measure with, and to choose by."""
    return self.splits.fit is not None and self.splits.test is not None

  @property
  def listed_pairs(self):
    """Whether the test images come as pairs, for alignment."""
    return isinstance(self.splits.test, PairedDataset)

  @property
  def view(self):
    """What is seen of the test files, and by which protocol: for a report."""
    test = self.splits.test
    found = {"seen": test.seen, "protocol": test.protocol}
    return {key: value for key, value in found.items() if value is not None}

  def landmarks(self, variables, dataset, warps=None):
    """Finds the landmarks [n, k, 2] of a dataset, as `detect`."""
    return detect(
      self._function,
      variables,
      dataset,
      batch_size=self._batch_size,
      warps=warps,
    )

  def held_out_error(self, variables):
    """Measures on the last tenth of the annotated training images.

    The regression with intercept is fitted on the others; the test images stay
    untouched, so this may choose checkpoints.

    Returns:
      The error in per cent; None where there are too few annotations. For
      listed pairs, 100 % less the PCK on the validation list.
    """
    fit = self.splits.fit
    if self._validation is not None:
      return self._validation.missed(variables)
    n = 0 if fit is None else len(fit)
    cut = conventions.first(n)
    if n - cut < 5:
      return None
    found, points = self.landmarks(variables, fit), fit.points
    data = self._data(found[:cut], points[:cut], found[cut:], points[cut:])
    return data.error(INTERCEPT)

  def regress(self, variables, untrained, *, perturb=False):
    """Runs `conventions.evaluate` on the test images, fitted on the fit images.

    With `perturb`, both are seen under seeded random similarity transforms. The
    error of `untrained` variables is added, next to that of the mean shape, and
    `parts.measure` of both networks.
    """
    found, before = (
      self._found(each, perturb) for each in (variables, untrained)
    )
    report = conventions.evaluate(
      found,
      ridge=self.config.eval.ridge,
      few_shot=() if perturb else self.config.eval.few_shot,
      repeats=self.config.eval.repeats,
    )
    report["baseline"] = {
      "mean_shape": report.pop("mean_shape"),
      "untrained": before.error(INTERCEPT),
    }
    report["parts"], untrained = (
      parts.measure(each.test_landmarks, each.test_points)
      for each in (found, before)
    )
    report["parts"]["untrained"] = untrained
    return report

  def _found(self, variables, perturb):
    """Finds the landmarks of both splits: `conventions.Data`."""
    arrays = []
    for i, dataset in enumerate((self.splits.fit, self.splits.test)):
      warps, points = None, dataset.points
      if perturb:
        options = self.config.eval.perturbation.to_dict()
        options["seed"] = options["seed"], i
        warps = random_similarities(len(dataset), options)
        points = see_through(warps, points)
      arrays += [self.landmarks(variables, dataset, warps), points]
    return self._data(*arrays)

  def measure_pairs(self, variables, untrained):
    """Runs `PairEvaluator.measure` on the test images."""
    return self._pairs.measure(
      variables, untrained, normaliser=self._normaliser
    )

  def measure_mirror(self, variables):
    """Runs `mirror.measure` on the test images."""
    return mirror.measure(self, variables, self.splits.test)


def check_options(options):
  """Refuses values of `config.eval` before anything is measured.

  Raises:
    UserError: names the key and the remedy.
  """
  if options.name != os.path.basename(options.name):
    raise UserError(
      f"config.eval.name={options.name!r} is not the name of a file: leave out "
      "the folder."
    )
  if options.ridge < 0:
    raise UserError(f"config.eval.ridge={options.ridge}: use 0 or more.")
  counts = {"few_shot": options.few_shot, "repeats": [options.repeats]}
  for key, values in counts.items():
    if any(not isinstance(n, int) or n < 1 for n in values):
      raise UserError(f"config.eval.{key}={options[key]}: use 1 or more.")
