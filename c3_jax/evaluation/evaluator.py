"""Evaluation of a trained model on a dataset: the numbers."""

import os
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from c3_jax import geometry
from c3_jax.errors import UserError
from c3_jax.evaluation import conventions, regression
from c3_jax.evaluation.pairs import between
from c3_jax.geometry import warp
from c3_jax.runtime import files, parallel


def landmark_function(model, image_size):
  """A pmapped (variables, batch) -> landmarks [n, k, 2] in [-1, 1].

  The batch has image, uint8 [n, s, s, 3], and may have warp, float32
  [n, 2, 3]: pull maps under which the pictures are seen.
  """

  def detect(variables, batch):
    images = batch["image"].astype(jnp.float32) / 255
    if "warp" in batch:
      extent = images.shape[1] / image_size
      grid = geometry.grid(image_size, image_size)
      images = jax.vmap(
        lambda image, matrix: warp.sample(
          image, warp.affine(matrix, grid), extent=extent
        )
      )(images, batch["warp"])
    else:
      images = geometry.centre_crop(images, image_size)
    return model.apply(variables, images, method=_points)

  return parallel.pmap_eval(detect)


def _points(model, images):
  return model.pose(model.features(images)[1]).points


def detect(function, variables, dataset, *, batch_size, warps=None):
  """Landmarks of every image of a dataset, in its order: [n, k, 2]."""
  found = np.zeros((len(dataset), 0, 2), np.float32)
  for batch in dataset.eval_batches(batch_size):
    inputs = {"image": batch["image"]}
    if warps is not None:
      inputs["warp"] = warps[batch["index"]]
    out, real = function(variables, inputs), batch["mask"] > 0
    if not found.shape[1]:
      found = np.zeros((len(dataset), *out.shape[1:]), np.float32)
    found[batch["index"][real]] = out[real]
  return found


def random_similarities(n, options):
  """Seeded similarity transforms [n, 2, 3]: pull maps of perturbed images.

  Args:
    n: how many.
    options: seed; rotation in degrees, scale as a fraction and shift as a
      fraction of the image side, each the half width of a uniform law.

  Returns:
    float32 [n, 2, 3].
  """
  rng = np.random.default_rng(options["seed"])
  draw = lambda half, *shape: rng.uniform(-half, half, (n, *shape))  # noqa: E731
  angle = np.deg2rad(draw(options["rotation"]))
  scale, shift = 1 + draw(options["scale"]), 2 * draw(options["shift"], 2)
  c, s = scale * np.cos(angle), scale * np.sin(angle)
  matrix = np.stack([np.stack([c, -s], -1), np.stack([s, c], -1)], 1)
  return np.concatenate([matrix, shift[..., None]], -1).astype(np.float32)


def see_through(matrices, points):
  """Where points [n, p, 2] of pictures lie under pull maps [n, 2, 3]."""
  linear, shift = matrices[:, :, :2], matrices[:, :, 2]
  return np.linalg.solve(linear[:, None], (points - shift[:, None])[..., None])[
    ..., 0
  ].astype(np.float32)


def normaliser(config):
  """`config.eval.normaliser` as `regression.point_errors` takes it."""
  value = config.eval.normaliser
  value = (value,) if isinstance(value, (int, str)) else tuple(value)
  # The flag's parser makes ("image",) of --config.eval.normaliser=image.
  return value[0] if len(value) == 1 and isinstance(value[0], str) else value


class Evaluator:
  """Measures on the splits of a dataset.

  Everything that does not depend on the parameters is prepared once: the
  compiled detector, the splits, the transforms of the perturbed evaluation.
  """

  def __init__(self, config, model, splits):
    check_options(config.eval)
    self._options = {
      "ridge": config.eval.ridge,
      "few_shot": tuple(config.eval.few_shot),
      "repeats": config.eval.repeats,
    }
    self._function = landmark_function(model, config.data.image_size)
    self._between = self._validation = None
    if splits.test is not None:
      self._between = between.Between(config, model, splits.test)
    if between.has_pairs(splits.fit):
      self._validation = between.Between(config, model, splits.fit)
    self._splits = splits
    self._size = config.data.image_size
    self._normaliser = normaliser(config)
    if self.annotated and not self.listed_pairs:
      # Before hours of training: one that does not fit the points.
      regression.point_errors(
        splits.fit.points[0],
        splits.fit.points[:1],
        normaliser=self._normaliser,
        image_size=self._size,
      )
    devices = jax.local_device_count()
    self._batch_size = -(-config.eval.batch_size // devices) * devices
    self._perturbation = config.eval.perturbation.to_dict()

  @property
  def annotated(self):
    """Whether there are points to measure with, and to choose by."""
    return self._splits.fit is not None and self._splits.test is not None

  @property
  def listed_pairs(self):
    """Whether the test images come as pairs, for alignment."""
    return between.has_pairs(self._splits.test)

  def landmarks(self, variables, split, warps=None):
    """Discovered landmarks [n, k, 2] of one split, fit, test or train."""
    return detect(
      self._function,
      variables,
      getattr(self._splits, split),
      batch_size=self._batch_size,
      warps=warps,
    )

  def first_landmarks(self, variables, dataset, n):
    """Discovered landmarks [n, k, 2] of the first n pictures of a dataset.

    Of listed pairs, those of their sources.
    """
    return detect(
      self._function, variables, dataset.first(n), batch_size=self._batch_size
    )

  def held_out_error(self, variables):
    """Error with intercept on the last tenth of the annotated training images.

    The regression is fitted on the others; the test images stay untouched, so
    this may choose checkpoints. None where there are too few annotations. Of
    listed pairs it is what PCK lacks of 100 % on the validation list.
    """
    fit = self._splits.fit
    if between.has_pairs(fit):
      return self._validation.missed(variables)
    n = 0 if fit is None else len(fit)
    cut = conventions.first(n)
    if n - cut < 5:
      return None
    found, points = self.landmarks(variables, "fit"), fit.points
    return self._pixels(
      found[:cut], points[:cut], found[cut:], points[cut:]
    ).intercept_error()

  def regress(self, variables, *, perturb=False):
    """`conventions.evaluate` of the test images, fitted on the fit images.

    With `perturb`, both are seen under seeded random similarity transforms.
    """
    options = self._options | ({"few_shot": ()} if perturb else {})
    return conventions.evaluate(self._data(variables, perturb), **options)

  def intercept_error(self, variables, *, perturb=False):
    """The number "intercept" of `regress` alone."""
    return self._data(variables, perturb).intercept_error()

  def _data(self, variables, perturb):
    arrays = []
    for i, split in enumerate(("fit", "test")):
      dataset = getattr(self._splits, split)
      warps, points = None, dataset.points
      if perturb:
        options = self._perturbation
        options = options | {"seed": (options["seed"], i)}
        warps = random_similarities(len(dataset), options)
        points = see_through(warps, points)
      arrays += [self.landmarks(variables, split, warps), points]
    return self._pixels(*arrays)

  def _pixels(self, *arrays):
    return conventions.Data.of(
      *arrays, size=self._size, normaliser=self._normaliser
    )

  def between(self, variables, untrained):
    """`between.Between.report` of the test images."""
    return self._between.report(
      variables, untrained, normaliser=self._normaliser
    )


def check_options(options):
  """Refuses values of `config.eval` before anything is measured.

  Raises:
    UserError: names the key and the mend.
  """
  if options.name != os.path.basename(options.name):
    raise UserError(
      f"config.eval.name={options.name!r} is not the name of a file: leave out "
      "the folder."
    )
  if options.ridge < 0:
    raise UserError(f"config.eval.ridge={options.ridge}: use 0 or more.")
  for key, values in (
    ("few_shot", options.few_shot),
    ("repeats", [options.repeats]),
  ):
    if any(not isinstance(n, int) or n < 1 for n in values):
      raise UserError(f"config.eval.{key}={options[key]}: use 1 or more.")


def evaluate(config, evaluator, variables, untrained, step, workdir):
  """Writes eval/DATASET.json, or eval/NAME.json, and returns what it says.

  Args:
    config: of the run.
    evaluator: `Evaluator` with annotated splits.
    variables: trained params and batch_stats.
    untrained: those of the same network before training.
    step: int, of the checkpoint.
    workdir: folder of the run.

  Returns:
    The dict written.
  """
  name = config.eval.name or config.data.name
  report = {
    "dataset": name,
    "step": int(step),
    "k": config.model.k,
    "image_size": config.data.image_size,
  }
  if not evaluator.listed_pairs:
    report |= compare(evaluator, variables, untrained)
    if config.eval.perturb:
      report["perturbed"] = config.eval.perturbation.to_dict() | compare(
        evaluator, variables, untrained, perturb=True
      )
  report |= evaluator.between(variables, untrained)
  path = pathlib.Path(workdir) / "eval" / f"{name}.json"
  path.parent.mkdir(exist_ok=True)
  files.write_json(path, report)
  return report


def compare(evaluator, variables, untrained, *, perturb=False):
  """Errors of the trained network beside its two reference lines."""
  report = evaluator.regress(variables, perturb=perturb)
  report["baseline"] = {
    "mean_shape": report.pop("mean_shape"),
    "untrained": evaluator.intercept_error(untrained, perturb=perturb),
  }
  return report


def table(report):
  """The numbers of a report as lines of text, each with its convention."""
  lines = [f"{report['dataset']}: K = {report['k']}, step {report['step']}"]
  if "error" in report:
    lines[0] += (
      f", {report['n_train']} images to fit, {report['n_test']} to test"
    )
    rows = _regression_rows("", report)
    if "perturbed" in report:
      rows += _regression_rows("perturbed: ", report["perturbed"])
    lines += between.block(f"mean distance / {report['normaliser']}, %", rows)
    lines += _detail_lines(report)
  return "\n".join([*lines, *between.lines(report)])


def _regression_rows(title, part):
  rows = [
    (f"{title}regression {words}", part["error"][name])
    for name, words in part["conventions"].items()
  ]
  return rows + [
    (
      f"{title}same network untrained, with intercept",
      part["baseline"]["untrained"],
    ),
    (f"{title}mean shape", part["baseline"]["mean_shape"]),
  ]


def _detail_lines(report):
  """What else `conventions.evaluate` measured, with intercept."""
  words = report["conventions"]["intercept"]
  rows = [
    (f"divided by {name}", found["intercept"])
    for name, found in report["normalised_by"].items()
    if name != report["normaliser"] and found["intercept"] is not None
  ]
  for n, found in report["few_shot"].items():
    mean, deviation = found["intercept"].values()
    name = f"from {n} training images, {report['few_shot_repeats']} choices"
    if deviation is not None:
      name += f", deviation {deviation:.2f}"
    rows.append((name, mean))
  rows += [
    (
      "backward: landmarks from annotated points",
      report["backward"]["intercept"]["error"],
    ),
    ("images with an error above 10 %", report["failure_rate_10"]["intercept"]),
    ("area under the curve up to 10 %", report["auc_10"]["intercept"]),
  ]
  return between.block(f"regression {words}, %", rows)
