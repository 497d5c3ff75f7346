"""Arguments of a config, given as text: `--config=X:name,key=value,...`.

Those of the paper's ablation (Table 2):

  cycle=1,flow=1   L_cycle + L_inv + L_equiv on natural pairs (the paper)
  cycle=1,flow=0   L_cycle + L_inv on natural pairs
  cycle=0,flow=1   L_pairs + L_equiv on synthetic pairs
  cycle=0,flow=0   L_pairs on synthetic pairs

All four see the same number of images after the same stage `pairs`.
"""

BOOLS = {"0": False, "1": True, "false": False, "true": True}


def parse(argument, *, variants=(), **defaults):
  """Reads "name,key=value" with the types of the defaults.

  Args:
    argument: text after the colon, or "".
    variants: names that may be given without a value.
    **defaults: key -> bool, int (not negative) or str.

  Returns:
    (set of the names given, dict of the keys).

  Raises:
    ValueError: an unknown name or key, or a value of the wrong type.
  """
  values, chosen = dict(defaults), set()
  for part in filter(None, (argument or "").split(",")):
    key, equals, value = part.partition("=")
    if not equals and key in variants:
      chosen.add(key)
    elif equals and key in defaults and _is(value, defaults[key]):
      kind = type(defaults[key])
      values[key] = BOOLS[value] if kind is bool else kind(value)
    else:
      known = [*variants, *(_form(*item) for item in defaults.items())]
      raise ValueError(
        f"config argument {part!r} is not one of {', '.join(known)}"
      )
  return chosen, values


def _is(value, default):
  """Says whether a text stands for a value of the type of the default."""
  if isinstance(default, bool):
    return value in BOOLS
  return value.isdecimal() if isinstance(default, int) else bool(value)


def _form(key, default):
  if isinstance(default, bool):
    return f"{key}=0|1"
  return f"{key}=N" if isinstance(default, int) else f"{key}={default}"
