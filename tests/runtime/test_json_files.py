"""JSON files of hostile form: read, or refused in one line."""

import json

import pytest

from c3_jax.errors import UserError
from c3_jax.runtime import json_files

FORM = {"step": int, "name": (str, None), "points": [[float]]}
GOOD = {"step": 3, "name": None, "points": [[1, 2.5], []], "more": True}


def read(path, text):
  """Writes a text, or bytes, and reads it as a file of FORM."""
  path.write_bytes(text if isinstance(text, bytes) else text.encode())
  return json_files.read(path, FORM, wrong="is no report", remedy="repair it.")


def test_a_sound_file_is_read_as_by_json(tmp_path):
  """Other keys are no harm, a whole number is a number."""
  assert read(tmp_path / "a.json", json.dumps(GOOD)) == GOOD


@pytest.mark.parametrize(
  ("text", "reason"),
  [
    ("", "is not JSON"),
    ("null", "it is null, not a table"),
    (b"\xff\xfe\x00", "UTF-8|is not JSON"),
    ("[" * 10**5, "nested too deeply"),
    ('{"a":' * 40 + "1" + "}" * 40, "nested too deeply"),
    (json.dumps(GOOD | {"step": True}), "step is true, not a whole number"),
    (json.dumps(GOOD | {"name": 1}), "name is 1, not a text or null"),
    (json.dumps(GOOD | {"points": [[1], None]}), r"points\[1\] is null"),
    (json.dumps(GOOD | {"points": float("nan")}), "NaN is not a finite"),
    ('{"step": 1e999}', "1e999 is not a finite number"),
    ('{"step": %s}' % ("9" * 5000), "has more than 64 bits"),
    ('{"name": "a"}', "has no 'step'"),
  ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path, text, reason):
  """The file, the reason, the remedy; no line break, nothing endless."""
  with pytest.raises(UserError, match=reason) as error:
    read(tmp_path / "a.json", text)
  message = str(error.value)
  assert "a.json is no report (" in message and message.endswith("repair it.")
  assert "\n" not in message and len(message) < 400


def test_only_numbers_that_are_not_finite_may_be_allowed():
  """As the lines of a run's metrics may hold them."""
  (found,) = json_files.parse("[NaN]", finite=False)
  assert found != found
