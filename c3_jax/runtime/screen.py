"""What reaches the screen: lines of a log and of errors, one line each.

Names of files and cells of tables are of others: a control character in one
could clear the screen or forge a line of its own.
"""

import logging
import re

LONGEST = 1000  # Characters; a message ends with what to do, which is kept.

# Controls, separators of lines, and marks that turn the direction of text.
_CONTROLS = re.compile(
  "[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069"
  "\ud800-\udfff\ufeff]"
)


def plain(text):
  """Escapes control characters, as in a Python string, and cuts the middle."""
  text = _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], str(text))
  over = len(text) - LONGEST
  if over <= 0:
    return text
  return f"{text[:600]} [.. {over} characters ..] {text[600 + over :]}"


class Formatter(logging.Formatter):
  """Formats a record as one plain line, with the time."""

  def __init__(self):
    super().__init__("%(asctime)s %(message)s", "%H:%M:%S")

  def formatMessage(self, record):
    record.message = plain(record.message)
    return super().formatMessage(record)
