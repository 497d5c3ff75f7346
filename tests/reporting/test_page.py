"""The page: complete, self-contained, and safe whatever its files say."""

import html.parser
import json
import re
import subprocess

import pytest

from c3_jax import reporting
from c3_jax.errors import UserError
from c3_jax.reporting import facts, page
from tests.exporting import browser
from tests.reporting.conftest import K, quality

VOID = {"meta", "img", "br"}


class Reader(html.parser.HTMLParser):
  """Collects the tags and texts of a page, and checks that tags nest."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.text, self._open = [], "", []
    self.feed(text)
    assert not self._open

  def handle_starttag(self, tag, attributes):
    self.tags.append((tag, dict(attributes)))
    if tag not in VOID:
      self._open.append(tag)

  def handle_startendtag(self, tag, attributes):
    self.tags.append((tag, dict(attributes)))

  def handle_endtag(self, tag):
    assert self._open.pop() == tag

  def handle_data(self, data):
    self.text += data


def headings(text):
  """Lists the titles of the sections."""
  return re.findall(r"<h2[^>]*>(.*?)</h2>", text)


def test_a_run_without_annotations(make_run):
  """Its page has all that images alone tell."""
  text = page.make([make_run(found=quality())])
  found = Reader(text)
  assert headings(text) == [
    "Landmarks",
    "Against annotations",
    "What to try",
    "Landmark by landmark",
    "Swaps",
    "What each half carries",
    "Carried to another image",
    "Spread of the error",
    "Training",
    "What was trained",
  ]
  for words in (
    "no annotated",
    "64 images of synthetic faces",
    "9.8.7",
    "Landmarks 3, 4 lie on one spot",
    "8 of 10",
    "--config=synthetic:test",
    "30 steps",
  ):
    assert words in " ".join(found.text.split()), words
  (rows,) = re.findall(r'<table class="each">(.*?)</table>', text, re.DOTALL)
  assert rows.count('scope="row"') == K
  assert rows.count("badge") == 2


def test_the_page_is_one_small_file(make_run):
  """Nothing is fetched, nothing runs, and figures of noise still fit."""
  text = page.make([make_run(found=quality())])
  assert len(text.encode()) < 5e6
  found = Reader(text)
  assert sum(tag == "img" for tag, _ in found.tags) == 5
  for tag, attributes in found.tags:
    assert tag not in ("script", "link", "iframe", "a", "object")
    assert "href" not in attributes
    assert not any(name.startswith("on") for name in attributes)
    if "src" in attributes:
      assert attributes["src"].startswith("data:image/jpeg;base64,")
  assert "url(" not in text and "@import" not in text
  assert "default-src 'none'" in text


def test_texts_of_files_are_escaped(make_run):
  """Names of runs, of folders and of versions cannot add tags."""
  bad = "<script>alert(1)</script>"
  run = make_run(
    bad.replace("/", "|"),
    found=quality(version=bad),
    changes={"data.root": f"/{bad}", "data.name": "folder"},
  )
  (run / "quality" / "synthetic.json").rename(run / "quality" / "folder.json")
  text = page.make([run])
  assert "script" not in {tag for tag, _ in Reader(text).tags}
  assert "&lt;script&gt;" in text


def test_a_run_that_only_trained(make_run):
  """Curves and the command, no figures."""
  text = page.make([make_run(figures=False)])
  Reader(text)
  assert {"Training", "What was trained"} < set(headings(text))
  assert "30 steps" in text


def test_several_runs_side_by_side(make_run):
  """Numbers and curves of each, what differs, and the better in bold."""
  runs = [
    make_run("one", found=quality(consistency=2.5)),
    make_run("two", found=quality(consistency=1.5), changes={"seed": 7}),
    make_run("three", figures=False, changes={"seed": 8}),
  ]
  text = page.make(runs)
  found = Reader(text)
  assert len(text.encode()) < 5e6
  (numbers, differing) = re.findall(
    r'<table class="(?:numbers|keys)">(.*?)</table>', text, re.DOTALL
  )
  row = re.search(r"known warp.*?</tr>", numbers)[0]
  assert re.findall(r"<td>(.*?)</td>", row) == ["2.50", "<b>1.50</b>", "–"]
  assert re.findall(r'<th scope="row">(.*?)</th>', differing) == ["seed"]
  assert re.findall(r"<td>(.*?)</td>", differing) == ["0", "7", "8"]
  assert text.count("<polyline") == 3 * text.count("<svg")
  for name in ("one", "two", "three"):
    assert name in found.text
    assert f"--workdir={runs[0].parent / name}" in found.text


def test_runs_of_one_name_are_told_apart(make_run, tmp_path):
  """By their folders; the same run twice is refused."""
  for folder in ("a", "b"):
    (tmp_path / folder).mkdir()
    make_run(f"{folder}/run", found=quality())
  folders = [tmp_path / "a" / "run", tmp_path / "b" / "run"]
  names = [run.name for run in facts.load_all(folders)]
  assert names == [str(each) for each in folders]
  with pytest.raises(UserError, match="named twice"):
    page.make([folders[0], tmp_path / "a" / ".." / "a" / "run"])


def test_the_time_of_the_steps(make_run):
  """30 steps of 8 images at 16 images a second are 15 seconds."""
  assert facts.load(make_run()).seconds == pytest.approx(15)


@pytest.mark.parametrize(
  "text", ["{", "[]", '{"k": 3}', json.dumps(quality(k=10**9))]
)
def test_damaged_files_are_one_line(make_run, text):
  """They are named; a report beside a run is a warning then."""
  run = make_run(found={})
  (run / "quality" / "synthetic.json").write_text(text)
  with pytest.raises(UserError, match="quality"):
    page.make([run])


def test_no_run_is_one_line(tmp_path):
  """An empty folder, and a run that has not begun."""
  with pytest.raises(UserError, match=r"config\.json"):
    page.make([tmp_path])


def test_a_report_beside_a_run(make_run, caplog, capsys):
  """It is written, and replaced; what goes wrong is a warning alone."""
  run = make_run(found=quality())
  for _ in range(2):
    reporting.write_beside(run)
  assert (run / "report.html").read_text() == page.make([run])
  assert str(run / "report.html") in capsys.readouterr().out
  assert not caplog.records
  (run / "quality" / "synthetic.json").write_text("{")
  reporting.write_beside(run)
  (record,) = caplog.records
  assert record.levelname == "WARNING" and "report.html" in record.message


@pytest.mark.slow
@pytest.mark.skipif(not browser.find(), reason="needs Chromium")
def test_a_browser_has_no_complaint(make_run, tmp_path):
  """Not of the page's own content security policy, either."""
  path = tmp_path / "report.html"
  path.write_text(page.make([make_run(found=quality())]))
  done = subprocess.run(
    [
      *(browser.find(), *browser.FLAGS, "--dump-dom"),
      *(f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()),
    ],
    capture_output=True,
    text=True,
    timeout=120,
  )
  assert "Landmark by landmark" in done.stdout
  assert "CONSOLE" not in done.stderr


def test_a_run_that_trained_no_landmarks(make_run):
  """Its landmarks are not shown: PCK and the flow are."""
  stages = {f"stages.{name}.steps": 0 for name in ("pairs", "cycle")}
  run = make_run(found=quality(), changes=stages)
  numbers = dict.fromkeys(("scnet@0.1",), 61.8)
  readings = dict.fromkeys(("flow", "identity"), {"scnet@0.1": 32.5})
  found = {
    "pairs": 9,
    "readings": readings,
    "untrained": readings,
    "lists": {},
  }
  report = {"dataset": "synthetic", "k": K, "step": 30, "pck": numbers}
  (run / "eval").mkdir()
  path = run / "eval" / "synthetic.json"
  path.write_text(json.dumps(report | {"alignment": found}))
  text = page.make([run])
  Reader(text)
  assert "Correspondence on" in text
  assert "61.80" in text and "32.50" in text
  assert not {"Landmarks", "Landmark by landmark"} & set(headings(text))


def test_a_run_that_trained_no_flow(make_run):
  """What its untrained flow carries is not shown."""
  run = make_run(found=quality(), changes={"stages.flow.steps": 0})
  found = headings(page.make([run]))
  assert "Carried to another image" not in found
  assert {"Landmarks", "Landmark by landmark", "Swaps"} < set(found)
