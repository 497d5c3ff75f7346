"""What a run is, in words: plain text, which its callers escape."""

import os

from c3_jax.evaluation.diagnostics import ADVICE
from c3_jax.runs.reports import CHOSEN

TERMS = {
  "pairs": "L_pairs",
  "warp": "L_warp",
  "apart": "L_apart",
  "match": "L_match",
  "chain": "L_chain",
  "cycle": "L_cycle",
  "inv": "L_inv",
  "equiv": "L_equiv",
  "flow": "L_flow",
}

DATASETS = {
  "synthetic": "synthetic faces",
  "celeba": "CelebA",
  "mafl": "MAFL",
  "aflw": "AFLW",
  "pf_pascal": "PF-PASCAL",
  "lsun": "LSUN",
}


def dataset(config):
  """Names the dataset of a config; a folder has a name of its own."""
  name, root = config["data"]["name"], config["data"]["root"]
  if name == "folder" and root:
    return os.path.basename(os.path.abspath(root))
  return DATASETS.get(name, name)


def network(config):
  """Describes the networks of a config."""
  model = config["model"]
  backbone, pooled = model["backbone"], model["appearance"]["pool"]
  blocks = "-".join(str(n) for n in backbone["stage_sizes"])
  kind = "bottleneck" if backbone["bottleneck"] else "basic"
  start = "from scratch"
  if config["weights"]["resnet50"]:
    start = "from ImageNet weights"
  if config["init"]["workdir"]:
    start = f"from the networks of {config['init']['workdir']}"
  return (
    f"ResNet of {blocks} {kind} blocks, {backbone['widths'][0]} to "
    f"{backbone['widths'][-1]} channels, output stride "
    f"{backbone['output_stride']}, {start}; "
    f"{'one vector' if pooled else 'a map'} of appearance; {model['dtype']}"
  )


def images(config):
  """Describes what the network sees of an image."""
  data = config["data"]
  return (
    f"the central {data['image_size']} of {data['load_size']} pixels of a side "
    f"(crop: {data['crop']})"
  )


def optimiser(config):
  """Describes batches, optimiser and seed."""
  decay = config["optimizer"]["weight_decay"]
  decay = f", weight decay {decay:g}" if decay else ""
  return (
    f"Adam{decay}, {config['batch_size']} images a step, seed {config['seed']}"
  )


def stages(config, trained):
  """Lists the stages that ran: (name, steps, rate, terms) of str.

  `trained` is a list of (stage, first step, last step).
  """
  rows = []
  for name, first, last in trained:
    stage = config["stages"].get(name or "")
    if stage is None:
      continue
    terms = [
      TERMS.get(term, term) if weight == 1 else f"{weight:g} {TERMS[term]}"
      for term, weight in stage["weights"].items()
      if weight and term in TERMS
    ]
    rate = f"{stage['learning_rate']:g}"
    if stage["drops"]:
      places = ", ".join(f"{100 * drop:g} %" for drop in stage["drops"])
      rate += f", a tenth from {places} on"
    rows.append((name, f"{last - first:,}", rate, " + ".join(terms)))
  return rows


def duration(seconds):
  """Writes a time: "40 s", "12 min", "3 h 5 min"."""
  if seconds < 90:
    return f"{seconds:.0f} s"
  minutes = round(seconds / 60)
  if minutes < 90:
    return f"{minutes} min"
  return f"{minutes // 60} h {minutes % 60} min"


def summary(run, evaluation):
  """Says in two sentences how good the landmarks of an evaluation are."""
  words = []
  report, quality = evaluation.report or {}, evaluation.quality or {}
  if "error" in report:
    words.append(
      "A linear map from the landmarks to the annotated points errs by "
      f"{report['error']['intercept']:.1f} % of the "
      f"{report['normaliser']}; the mean shape, which looks at no image, by "
      f"{report['baseline']['mean_shape']:.1f} %."
    )
  elif "pck" in report:
    words.append(
      f"The flow carries {report['pck'][CHOSEN]:.1f} % of the annotated points "
      "of an image near enough to where they belong in its partner."
    )
  if run.moved and quality.get("consistency") is not None:
    words.append(
      "When an image is turned, scaled and shifted in a known way, a landmark "
      f"is found {quality['consistency']:.1f} % of the side from where it "
      f"should be; one that stayed in place would be off by "
      f"{quality['in_place']:.1f} %."
    )
  if not words:
    words.append(f"Trained for {run.steps:,} steps; nothing measured yet.")
  return " ".join(words)


def advice(evaluation):
  """Lists what is wrong with the landmarks: (title, text) of str."""
  found = []
  report, quality = evaluation.report or {}, evaluation.quality or {}
  for name, where in quality.get("faults", {}).items():
    if where:
      which = ", ".join(str(i) for i in where)
      noun = "Landmark" if len(where) == 1 else "Landmarks"
      found.append((name, f"{noun} {which} {ADVICE[name]}"))
  if "error" in report:
    error, baseline = report["error"]["intercept"], report["baseline"]
    for name, title in (
      ("untrained", "the same network before training"),
      ("mean_shape", "the mean shape"),
    ):
      if error >= baseline[name]:
        text = (
          f"The error, {error:.2f} %, is not below that of {title}, "
          f"{baseline[name]:.2f} %. Train longer, or show the object larger "
          "(config.data.load_size); see docs/training.md."
        )
        found.append(("no gain", text))
  ratio = _ratio(quality)
  if ratio is not None and ratio > 0.5:
    text = (
      f"Landmarks follow only {100 * (1 - ratio):.0f} % of a known motion. "
      "Try a larger weight of L_warp (config.stages.*.weights.warp) or a "
      "longer stage pairs."
    )
    found.append(("hardly follows", text))
  return found


def _ratio(quality):
  there, off = quality.get("in_place"), quality.get("consistency")
  return off / there if there and off is not None else None
