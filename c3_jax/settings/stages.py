"""The stages of a run: their terms, their lengths, which of them run."""

import ml_collections

ConfigDict = ml_collections.ConfigDict
STAGES = ("pairs", "flow", "cycle")


def terms(**given):
  """Makes the weights of all terms; 0, the default, is not computed."""
  names = ("pairs", "warp", "apart", "cycle", "inv", "equiv", "flow")
  return ConfigDict({name: float(given.get(name, 0)) for name in names})


def stage(steps=0, *, epochs=0.0, learning_rate=5e-4, train, weights):
  """Makes a stage: length (in steps, or epochs of the data), rate, terms."""
  return ConfigDict(
    {
      "steps": steps,
      "epochs": epochs,
      "learning_rate": learning_rate,
      # Fractions of the stage at which the rate is divided by ten.
      "drops": (),
      "warmup": 0,
      "train": train,
      "weights": weights,
    }
  )


def cell(*, cycle, flow):
  """Makes the stages of a cell of Table 2; the config sets their lengths."""
  landmarks = ("backbone", "appearance", "pose", "decoder")
  if cycle:
    third = terms(cycle=1, inv=1, equiv=flow)
  else:
    third = terms(pairs=1, equiv=flow)
  return ConfigDict(
    {
      "pairs": stage(train=landmarks, weights=terms(pairs=1)),
      "flow": stage(train=("flow",), weights=terms(flow=1)),
      "cycle": stage(train=landmarks, weights=third),
    }
  )


def select(config, names):
  """Leaves out stages, by setting their lengths to 0.

  Args:
    config: of `base.paper`.
    names: those to keep, such as "pairs+flow"; digits, "12", are the same.

  Raises:
    ValueError: there is no such stage.
  """
  kept = names.split("+")
  if names.isdecimal():
    digits = {str(i): name for i, name in enumerate(STAGES, 1)}
    kept = [digits.get(digit) for digit in names]
  if not set(kept) <= set(STAGES):
    raise ValueError(
      f"config argument 'stages={names}' is not one of stages=NAME+NAME, each "
      f"of {', '.join(STAGES)}"
    )
  for name in set(STAGES) - set(kept):
    config.stages[name].update({"steps": 0, "epochs": 0.0})
