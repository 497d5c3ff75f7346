"""Evaluated runs as others read them: config.json and eval/*.json."""

import json
import pathlib
from typing import NamedTuple

from c3_jax.errors import UserError
from c3_jax.runs.config import load_config
from c3_jax.runtime import json_files

# Keys of a report on listed pairs: ways of reading a match, and the PCK of the
# paper's Table 3.
READINGS = ("flow", "landmarks", "combined", "identity")
CHOSEN = "scnet@0.1"
# What may be raised where a report, changed by hand, has another form.
MALFORMED = (
  *(ArithmeticError, AttributeError, LookupError, TypeError, ValueError),
)


class Measured(NamedTuple):
  """What a report was measured on, and how: one column of tables each.

  Attributes:
    dataset: name of the file in eval/.
    paper, protocol: published numbers that it may be held against, such as
      "mafl" by "imm"; "" without any.
    length: that errors are divided by, in words; "" for alignment.
  """

  dataset: str
  paper: str
  protocol: str
  length: str

  @classmethod
  def of(cls, dataset, report):
    """Reads what eval/DATASET.json says of itself."""
    found = report.get("protocol") or {}
    length = "a length that was not recorded" if "error" in report else ""
    return cls(
      dataset,
      found.get("paper", ""),
      found.get("name", ""),
      report.get("normaliser", length),
    )

  @property
  def words(self):
    """The protocol as a sentence to append; "" without any."""
    if not self.protocol:
      return ""
    return f" Protocol: {self.protocol} of {self.paper}."


class Run(NamedTuple):
  """An evaluated run: its folder, config and reports by `Measured`."""

  workdir: str
  config: dict
  reports: dict


def load(workdir):
  """Reads the `Run` of a folder.

  Raises:
    UserError: the folder is no run, or was not evaluated.
  """
  folder = pathlib.Path(workdir)
  if not (folder / "config.json").exists():
    raise UserError(
      f"{workdir} cannot be read, it has no config.json: name folders of runs "
      "with --workdirs=A,B,..."
    )
  config = config_of(folder)
  reports = {}
  for path in sorted((folder / "eval").glob("*.json")):
    report = _read(path)
    reports[Measured.of(path.stem, report)] = report
  # Nothing annotated, nothing measured: an evaluation draws figures alone.
  if not reports and not (folder / "figures").exists():
    raise UserError(
      f"{workdir}/eval has no reports: run c3_jax.main there with --mode=eval."
    )
  return Run(str(workdir), config, reports)


def _read(path):
  return json_files.read(
    path,
    wrong="cannot be read",
    remedy="name folders of runs with --workdirs=A,B,...",
  )


def config_of(folder):
  """Reads the config of a run as nested dicts, with keys newer than the run."""
  return json.loads(load_config(folder).to_json())
