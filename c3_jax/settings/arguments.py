"""Arguments of a config, given as text: `--config=X:name,key=value,...`.

Those of the paper's ablation (Table 2):

  cycle=1,flow=1   L_cycle + L_inv + L_equiv on natural pairs (the paper)
  cycle=1,flow=0   L_cycle + L_inv on natural pairs
  cycle=0,flow=1   L_pairs + L_equiv on synthetic pairs
  cycle=0,flow=0   L_pairs on synthetic pairs

All four see the same number of images after the same stage `pairs`.
"""

import re
from collections.abc import Sequence
from typing import Any

# Type of a default -> values as they are shown and as they match, conversion.
KINDS: dict[type, tuple] = {
  bool: ("0|1", "0|1|false|true", lambda text: text in ("1", "true")),
  int: ("N", r"\d+", int),
  str: (None, ".+", str),
}


def parse(
  argument: str, *, variants: Sequence[str] = (), **defaults: Any
) -> tuple[set[str], dict[str, Any]]:
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
    _, pattern, convert = KINDS[type(defaults.get(key, ""))]
    if not equals and key in variants:
      chosen.add(key)
    elif equals and key in defaults and re.fullmatch(pattern, value):
      values[key] = convert(value)
    else:
      forms = [f"{k}={KINDS[type(v)][0] or v}" for k, v in defaults.items()]
      known = ", ".join([*variants, *forms])
      raise ValueError(f"config argument {part!r} is not one of {known}")
  return chosen, values
