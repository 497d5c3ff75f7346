"""The stages of a run: their terms, their lengths, which of them run."""

from ml_collections import ConfigDict

STAGES = ("pairs", "flow", "cycle")


TERMS = (
  "pairs",
  "warp",
  "apart",
  "match",
  "chain",
  "cycle",
  "inv",
  "equiv",
  "flow",
)


def terms(**given: float) -> dict[str, float]:
  """Makes the weights of all terms; 0, the default, is not computed."""
  return {name: float(given.get(name, 0)) for name in TERMS}


def stage(train, weights):
  """Makes a stage whose length, in steps or epochs, the config sets."""
  return {
    "steps": 0,
    "epochs": 0.0,
    "learning_rate": 5e-4,
    # Fractions of the stage at which the rate is divided by ten.
    "drops": (),
    "warmup": 0,
    "train": train,
    "weights": weights,
  }


def cell(*, cycle, flow):
  """Makes the stages of a cell of Table 2; the config sets their lengths."""
  landmarks = ("backbone", "appearance", "pose", "decoder")
  third = {"cycle": 1, "inv": 1} if cycle else {"pairs": 1}
  return {
    "pairs": stage(landmarks, terms(pairs=1)),
    "flow": stage(("flow",), terms(flow=1)),
    "cycle": stage(landmarks, terms(**third, equiv=flow)),
  }


def select(config: ConfigDict, names: str) -> None:
  """Leaves out stages, by setting their lengths to 0.

  Args:
    config: of `base.paper`.
    names: those to keep, such as "pairs+flow"; digits, "12", are the same.

  Raises:
    ValueError: there is no such stage.
  """
  digits = {str(i): name for i, name in enumerate(STAGES, 1)}
  parts = names if names.isdecimal() else names.split("+")
  kept = {digits.get(part, part) for part in parts}
  if not kept <= set(STAGES):
    raise ValueError(
      f"config argument 'stages={names}' is not one of stages=NAME+NAME, each "
      f"of {', '.join(STAGES)}"
    )
  for name in set(STAGES) - kept:
    config.stages[name].update({"steps": 0, "epochs": 0.0})
