"""How good each landmark is, measured from images alone: quality/NAME.json.

Nothing here needs annotations. Images are seen once as they are and once under
a known warp, a random rotation, scale and shift: a landmark that lies on the
object lies on the same spot of it in both views.
"""

import pathlib

import jax.numpy as jnp
import numpy as np

from c3_jax import geometry
from c3_jax.evaluation import detect, diagnostics, mirror
from c3_jax.evaluation.pairs.consistency import percent
from c3_jax.evaluation.subject import Subject
from c3_jax.runtime import files, parallel

IMAGES = 500


def observe_function(model, image_size):
  """Makes the pmapped function that sees images twice: -> dict.

  It takes variables and a batch of image, uint8 [n, s, s, 3], and warp, float32
  [n, 2, 3], pull maps. In the result "points", "seen" [n, k, 2] are landmarks
  without and under the warp, "confidence" [n, k] that of the former, and
  "residual" [n] the mean absolute difference between the view under the warp,
  in [0, 1], and D(a, p) with a of the image as it is and p of the view.
  """

  def see(model, images, views):
    own, pose = model.encode(images), model.detect(views)
    drawn = jnp.clip(model.decode(own.appearance, pose.maps), 0, 1)
    return {
      "points": own.pose.points,
      "seen": pose.points,
      "confidence": detect.confidence(own.pose.points, own.pose.probability),
      "residual": jnp.abs(drawn - views).mean((1, 2, 3)),
    }

  def observe(variables, batch):
    loaded = batch["image"]
    images = geometry.network_input(loaded, image_size)
    loaded = geometry.network_input(loaded, loaded.shape[1])
    views = detect.warped(loaded, batch["warp"], image_size)
    return model.apply(variables, images, views, method=see)

  return parallel.pmap_eval(observe)


def observe(function, variables, dataset, warps, batch_size):
  """Sees a whole dataset by an `observe_function`: dict name -> [n, ..]."""
  parts = []
  for batch in dataset.eval_batches(batch_size):
    inputs = {"image": batch["image"], "warp": warps[batch["index"]]}
    real = batch["mask"] > 0
    out = function(variables, inputs)
    parts.append({name: x[real] for name, x in out.items()})
  return {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}


def landmarks(points, seen, warps):
  """Measures each landmark over n images: dict name -> list [k].

  Args:
    points, seen: [n, k, 2] in [-1, 1], found without and under the warps.
    warps: [n, 2, 3], pull maps.

  Returns:
    In per cent of the image side: "spread", the deviation from its mean place
    (root mean square); "nearest", the mean distance to the landmark that is
    nearest on average; "consistency", between where the warp takes it and where
    it is found; "in_place", the same of a landmark that would not move. None
    where there is one landmark, or where the warps take it out of every image.
  """
  there = detect.see_through(warps, points)
  # Beyond the border nothing can be found.
  inside = np.abs(there).max(-1) < 1
  count = inside.sum(0)

  def mean(distance):
    total = (distance * inside).sum(0)
    return [
      t / n if n else None for t, n in zip(total.tolist(), count.tolist())
    ]

  k = points.shape[1]
  apart = percent(points[:, :, None], points[:, None]).mean(0)
  apart[np.diag_indices(k)] = np.inf
  middle = points.astype(np.float64).mean(0)
  spread = np.sqrt((percent(points, middle) ** 2).mean(0))
  return {
    "spread": spread.tolist(),
    "nearest": apart.min(1).tolist() if k > 1 else [None],
    "consistency": mean(percent(seen, there)),
    "in_place": mean(percent(points, there)),
  }


def measure(subject: Subject, report=None):
  """Measures the landmarks of a checkpoint on the first images it is shown on.

  `eval.perturbation` of the config says how views are warped,
  `eval.diagnostics` which landmarks say nothing.

  Args:
    subject: `Subject`.
    report: of `evaluate`, which has measured the mirror partners of the same
      images; None without one.

  Returns:
    A dict for JSON, described in docs/report.md; landmarks count from 1.
  """
  config, evaluator = subject.config, subject.evaluator
  dataset, variables = subject.shown, subject.variables
  images = dataset.first(min(IMAGES, len(dataset)))
  options = config.eval.perturbation.to_dict()
  warps = detect.random_similarities(len(images), options)
  function = observe_function(evaluator.model, config.data.image_size)
  batch_size = parallel.whole_batch(config.eval.batch_size)
  found = observe(function, variables, images, warps, batch_size)
  each = landmarks(found["points"], found["seen"], warps)
  each["confidence"] = found["confidence"].mean(0).tolist()
  thresholds = config.eval.diagnostics.to_dict()
  del thresholds["images"]
  faults = diagnostics.faults(found["points"], **thresholds)
  known = (report or {}).get("mirror")
  return {
    "images": len(images),
    "consistency": _mean(each["consistency"]),
    "in_place": _mean(each["in_place"]),
    "reconstruction": 100 * float(found["residual"].mean()),
    "landmarks": each,
    "faults": {name: [i + 1 for i in where] for name, where in faults.items()},
    "mirror": known or mirror.measure(evaluator, variables, images),
  }


def _mean(values):
  """Averages those that are not None; None without any."""
  known = [value for value in values if value is not None]
  return sum(known) / len(known) if known else None


def write(subject: Subject, report=None, **facts):
  """Measures, and writes quality/NAME.json, with facts that a page states."""
  path = pathlib.Path(subject.workdir, "quality", f"{subject.name}.json")
  tested = subject.evaluator.splits.test is not None
  found = {
    "dataset": subject.config.data.name,
    "step": int(subject.step),
    "k": subject.config.model.k,
    "split": "test" if tested else "train",
  }
  path.parent.mkdir(exist_ok=True)
  files.write_json(path, found | facts | measure(subject, report))
