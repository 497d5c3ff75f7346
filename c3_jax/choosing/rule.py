"""The rule that recommends K, and the table of the trials."""

import math

# Share of the landmarks of a trial that may have a fault.
FAULTY = 0.1
# How much worse than the best trial one may be and still count as good.
CONSISTENCY = 1.25
RECONSTRUCTION = 1.02


def recommend(trials):
  """Recommends a K from images alone; labelled errors play no part.

  Of the trials with at most `FAULTY` faulty landmarks, and of these again of
  those whose consistency is within a factor `CONSISTENCY` of the best, it is
  the smallest K whose reconstruction is within a factor `RECONSTRUCTION` of the
  best.

  Args:
    trials: list of `trials.Trial`.

  Returns:
    (K, why): int, and a sentence or two.
  """
  sound = [each for each in trials if each.faults <= FAULTY * each.k]
  words = []
  if not sound:
    fewest = min(each.faults / each.k for each in trials)
    sound = [each for each in trials if each.faults / each.k == fewest]
    words.append("Every K has faulty landmarks; these are the fewest.")
  elif len(sound) < len(trials):
    out = _names(each for each in trials if each not in sound)
    words.append(f"{out} has too many merged, still or border landmarks.")
  firm = _near(sound, _consistency, CONSISTENCY)
  if len(firm) < len(sound):
    out = _names(each for each in sound if each not in firm)
    words.append(f"With {out} landmarks follow known warps less well.")
  good = _near(firm, lambda each: each.reconstruction, RECONSTRUCTION)
  chosen = min(good, key=lambda each: each.k)
  if any(each.k > chosen.k for each in good):
    words.append("More landmarks redraw the images no better.")
  elif any(each.k < chosen.k for each in firm):
    words.append("Fewer redraw the images less well.")
  return chosen.k, " ".join(words)


def _consistency(trial):
  return math.inf if trial.consistency is None else trial.consistency


def _near(trials, measure, factor):
  """Leaves those within a factor of the least measure."""
  best = min(map(measure, trials))
  return [each for each in trials if measure(each) <= factor * best]


def _names(trials):
  return ", ".join(f"K = {each.k}" for each in trials)


def table(trials, chosen):
  """Lays the trials out as text, the chosen one marked."""
  head = ("K", "steps", "known warps", "faulty", "redrawn", "labelled")
  units = ("", "", "% of side", "", "%", "%")
  rows = [
    (
      f"{'*' if each.k == chosen else ''}{each.k}",
      f"{each.steps:,}",
      _number(each.consistency),
      str(each.faults),
      _number(each.reconstruction),
      _number(each.error),
    )
    for each in trials
  ]
  return "\n".join(
    " ".join(f"{cell:>11}" for cell in row) for row in (head, units, *rows)
  )


def _number(value):
  return "-" if value is None else f"{value:.2f}"
