"""The report of an evaluation: eval/DATASET.json, and its numbers as text."""

from c3_jax.evaluation import mirror
from c3_jax.evaluation.subject import Subject
from c3_jax.runs.reports import CHOSEN
from c3_jax.runtime import files


def evaluate(subject: Subject) -> dict:
  """Measures a subject with annotated splits, and writes eval/NAME.json.

  Returns:
    The report: what was written.
  """
  config, evaluator = subject.config, subject.evaluator
  variables, untrained = subject.variables, subject.untrained
  report = {
    "dataset": subject.name,
    "step": int(subject.step),
    "k": config.model.k,
    "image_size": config.data.image_size,
  } | evaluator.view
  if not evaluator.listed_pairs:
    report |= evaluator.regress(variables, untrained)
    if config.eval.perturb:
      found = evaluator.regress(variables, untrained, perturb=True)
      report["perturbed"] = config.eval.perturbation.to_dict() | found
  report |= evaluator.measure_pairs(variables, untrained)
  if found := evaluator.measure_mirror(variables):
    report["mirror"] = found
  path = subject.workdir / "eval" / f"{subject.name}.json"
  path.parent.mkdir(exist_ok=True)
  files.write_json(path, report)
  return report


def table(report: dict) -> str:
  """Lays the numbers of a report out as text, each with its convention."""
  lines = [f"{report['dataset']}: K = {report['k']}, step {report['step']}"]
  if "error" in report:
    lines[0] += (
      f", {report['n_train']} images to fit, {report['n_test']} to test"
    )
    rows = _regression_rows(report)
    if "perturbed" in report:
      perturbed = _regression_rows(report["perturbed"])
      rows += [(f"perturbed: {name}", value) for name, value in perturbed]
    lines += _block(f"mean distance / {report['normaliser']}, %", rows)
    lines += _detail_lines(report)
  lines += pair_lines(report)
  if "mirror" in report:
    lines += _mirror_lines(report["mirror"])
  return "\n".join(lines)


def _regression_rows(part):
  baseline = part["baseline"]
  return [
    *(
      (f"regression {words}", part["error"][name])
      for name, words in part["conventions"].items()
    ),
    ("same network untrained, with intercept", baseline["untrained"]),
    ("mean shape", baseline["mean_shape"]),
  ]


def _detail_lines(report):
  """Lists the other numbers of `conventions.evaluate`, with intercept."""
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
  if report["backward"]:
    backward = report["backward"]["intercept"]["error"]
    rows.append(("backward: landmarks from annotated points", backward))
  rows += [
    ("images with an error above 10 %", report["failure_rate_10"]["intercept"]),
    ("area under the curve up to 10 %", report["auc_10"]["intercept"]),
  ]
  found = report["parts"]
  return [
    *_block(f"regression {report['conventions']['intercept']}, %", rows),
    *_block(
      "annotated points against their nearest landmarks, %",
      [
        (f"{measure.upper()}{words}", numbers[measure])
        for words, numbers in (
          ("", found),
          (", same network untrained", found["untrained"]),
        )
        for measure in ("nmi", "ari")
      ],
    ),
  ]


def pair_lines(report):
  """Lists the numbers of `PairEvaluator.measure`, one block a unit."""
  lines = []
  if "transfer" in report:
    found = report["transfer"]
    agreeing = found["agreeing"]
    rows = [
      ("by flow", found["flow"]),
      ("by landmarks", found["landmarks"]),
      ("left in place", found["identity"]),
    ]
    if agreeing["flow"] is not None:
      share = f"{agreeing['share']:.0f} %"
      rows.insert(1, (f"by flow, the {share} that come back", agreeing["flow"]))
    lines += _block(
      "annotated points carried to another image, distance / normaliser, %",
      rows,
    )
  if "alignment" in report:
    lines += _alignment_lines(report["alignment"])
  if "consistency" in report:
    found = report["consistency"]
    rows = [
      ("landmarks carried by flow to those detected", found["flow"]),
      ("landmarks left in place", found["left_in_place"]),
      ("between landmarks of one image", found["spread"]),
    ]
    if found.get("truth") is not None:
      name = "landmarks carried by the true correspondence"
      rows.insert(1, (name, found["truth"]))
    swap = report["disentanglement"]["pose_error"]
    rows += [
      ("landmarks of a swap to those asked for", swap["to_pose"]),
      ("landmarks of a swap to the other image's", swap["to_appearance"]),
    ]
    lines += _block("distance / image side, %", rows)
  return lines


def _alignment_lines(found):
  key = CHOSEN
  rows = [
    *(
      (name.replace("identity", "left in place"), values[key])
      for name, values in found["readings"].items()
    ),
    ("flow, same network untrained", found["untrained"]["flow"][key]),
    *(
      (f"flow, list {name} ({part['pairs']})", part["readings"]["flow"][key])
      for name, part in found["lists"].items()
    ),
  ]
  return _block(f"PCK {key} of {found['pairs']} pairs, %", rows)


def _mirror_lines(found):
  distance = found["distance"]
  return _block(
    f"mirror partners {mirror.line(found['partner'])}, %",
    [
      (
        "landmarks to those of the mirrored image",
        sum(distance) / len(distance),
      ),
      ("images with a pair that changed sides", found["swapped"]),
    ],
  )


def _block(title, rows):
  """Lays out a title and (name, number) rows under it, as lines."""
  width = max(46, *(len(name) for name, _ in rows))
  return [f" {title}", *(f"  {n:{width}}{value:8.2f}" for n, value in rows)]
