"""Text of others cannot move the cursor, forge lines or fill the screen."""

import logging
import unicodedata

import pytest

from c3_jax.runtime import cli, screen


@pytest.mark.parametrize(
  ("text", "shown"),
  [
    ("plain é 🦊", "plain é 🦊"),
    ("a\x1b[2Jb", r"a\x1b[2Jb"),
    ("x.jpg\nc3_jax: all is well", r"x.jpg\nc3_jax: all is well"),
    ("a\r\t\x00\x7f\x9bb", r"a\r\t\x00\x7f\x9bb"),
    ("gpj.\u202eexe\u2028", r"gpj.\u202eexe\u2028"),
    ("caf\udce9.jpg", r"caf\udce9.jpg"),
  ],
)
def test_controls_are_escaped(text, shown):
  """As in a Python string; letters of any language stay."""
  assert screen.plain(text) == shown


def test_no_control_of_unicode_is_left():
  """Of all characters, none that is shown is a control or turns text."""
  every = "".join(map(chr, range(0x3000)))
  shown = "".join(screen.plain(c) for c in every)
  assert not {c for c in shown if unicodedata.category(c) in ("Cc", "Zl", "Zp")}
  turning = ("LRE", "RLE", "PDF", "LRO", "RLO", "LRI", "RLI", "FSI", "PDI")
  assert not {c for c in shown if unicodedata.bidirectional(c) in turning}


def test_long_texts_keep_both_ends():
  """The beginning names the file, the end says what to do."""
  shown = screen.plain("file.csv: " + "9" * 131_000 + "; delete the row.")
  assert len(shown) < 1100
  assert shown.startswith("file.csv: 99") and shown.endswith("delete the row.")


def test_errors_and_log_lines_are_plain(capsys):
  """One line each, whatever is in a name."""
  assert cli.fail("bad\n\x1b[31m.jpg") == 2
  assert capsys.readouterr().err == "c3_jax: bad\\n\\x1b[31m.jpg\n"
  record = logging.makeLogRecord({"msg": "%s", "args": ("a\nb\x1b",)})
  assert screen.Formatter().format(record).endswith(" a\\nb\\x1b")
