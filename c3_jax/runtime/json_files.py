"""JSON of files that anybody may have edited, cut short or made up.

What is read is plain: finite numbers, no deep nesting, and the form that is
asked for. A form is built like the value it stands for:

  {"step": int, "regressor": {"weights": [[float]], "bias": [float]}}
"""

import json
import math

from c3_jax.errors import UserError
from c3_jax.runtime import files

DEEPEST = 32
LARGEST = 2**26  # Bytes.
NAMES = {
  int: "a whole number",
  float: "a number",
  str: "a text",
  bool: "true or false",
  dict: "a table {..}",
  list: "a list [..]",
}


def read(path, form=dict, *, wrong, remedy, largest=LARGEST):
  """Reads a JSON file of a form.

  Args:
    path: of the file.
    form: as of `check`.
    wrong, remedy: words for the message: what is wrong with a file that is
      missing or damaged, and what to do.
    largest: bytes of the file that are taken.

  Raises:
    UserError: it cannot be read, is no JSON, or has another form.
  """
  try:
    value = parse(files.read_bytes(path, largest=largest))
    check(value, form)
  except (OSError, ValueError) as error:
    raise UserError(
      f"{path} {wrong} ({files.reason(error)}): {remedy}"
    ) from error
  return value


def parse(text, *, finite=True):
  """Parses JSON, str or bytes of UTF-8; NaN and Infinity unless `finite`.

  Raises:
    ValueError: it is none, holds a number that is not finite or not of 64
      bits, or is nested deeper than `DEEPEST`.
  """
  number = _finite if finite else float
  try:
    value = json.loads(
      text, parse_constant=number, parse_float=number, parse_int=_whole
    )
  except UnicodeDecodeError as error:
    raise ValueError("it is not a text in UTF-8") from error
  except json.JSONDecodeError as error:
    raise ValueError(f"it is not JSON ({error})") from error
  except RecursionError as error:
    raise ValueError("its brackets are nested too deeply") from error
  level = [value]
  for _ in range(DEEPEST):
    level = [
      part
      for each in level
      if isinstance(each, dict | list)
      for part in (each.values() if isinstance(each, dict) else each)
    ]
    if not level:
      return value
  raise ValueError("its brackets are nested too deeply")


def _finite(text):
  number = float(text)
  if not math.isfinite(number):
    raise ValueError(f"{text[:20]} is not a finite number")
  return number


def _whole(text):
  # Python refuses to read thousands of digits, in words of its own.
  if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**63:
    raise ValueError(f"{text[:20]} has more than 64 bits")
  return number


def check(value, form, name=""):
  """Checks that a value has a form.

  Args:
    value: plain Python, as of JSON.
    form: a type; a dict whose keys must be there, and may be among others; a
      list of one form, that of all elements; or a tuple of types, of which
      None is that of null.
    name: of the value, for the message.

  Raises:
    ValueError: names the part that differs and what it should be.
  """
  where = name or "it"
  if isinstance(form, dict):
    check(value, dict, name)
    for key, part in form.items():
      if key not in value:
        raise ValueError(f"{where} has no {key!r}")
      check(value[key], part, f"{name}.{key}".lstrip("."))
  elif isinstance(form, list):
    check(value, list, name)
    for i, part in enumerate(value):
      check(part, form[0], f"{where}[{i}]")
  elif not _is(value, form):
    raise ValueError(f"{where} is {_shown(value)}, not {_described(form)}")


def _is(value, form):
  if isinstance(form, tuple):
    return any(_is(value, each) for each in form)
  if form is None:
    return value is None
  if form is float:
    form = (int, float)
  # True is an int to Python.
  return isinstance(value, form) and (
    not isinstance(value, bool) or form is bool
  )


def _described(form):
  forms = form if isinstance(form, tuple) else (form,)
  return " or ".join(NAMES.get(each, "null") for each in forms)


def _shown(value):
  text = json.dumps(value)
  return text if len(text) <= 40 else f"{text[:40]}.."
