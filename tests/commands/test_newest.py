"""launch/test_newest.sh, without Debian and without an installation."""

import re
import subprocess

from tests.conftest import ROOT


def test_the_newest_set_has_every_pinned_package():
  """By name and marker, without a version; lines of text are left out."""
  done = subprocess.run(
    [
      "bash",
      "-euc",
      'eval "$(sed -n "/^unpinned/,/^}/p" launch/test_newest.sh)"; unpinned',
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  pinned = [
    line
    for name in ("requirements.txt", "requirements-test.txt")
    for line in (ROOT / name).read_text().splitlines()
    if "==" in line and not line.startswith("#")
  ]
  want = [re.sub("==[^;]*", "", line, count=1) for line in pinned]
  assert done.stdout.splitlines() == want
  assert len(want) > 30
