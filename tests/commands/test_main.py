"""Tests of the command line: mistakes, and a whole run on a folder."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT

# Runs each command line of standard input in a fork of its own, as `python -m
# c3_jax.main` does, but for the imports, which take seconds.
DRIVER = """
import json, os, runpy, sys
import c3_jax.training.loop
for arguments, name in json.load(sys.stdin):
  if not os.fork():
    for number, stream in ((1, "out"), (2, "err")):
      os.dup2(os.open(f"{name}.{stream}", os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["c3_jax.main", *arguments]
    runpy.run_module("c3_jax.main", run_name="__main__", alter_sys=True)
  with open(f"{name}.status", "w") as file:
    file.write(str(os.waitstatus_to_exitcode(os.wait()[1])))
"""

SYNTHETIC = "--config=configs/synthetic.py:test"
FOLDER = "--config=configs/folder.py:test"
HEADER = "file,split,x1,y1,x2,y2\n"


def make_folder(root, n, csv=None):
  """Writes n images, and landmarks.csv: root."""
  (root / "images").mkdir(parents=True)
  rng = np.random.default_rng(0)
  for i in range(n):
    noise = rng.integers(0, 256, (6, 6, 3), np.uint8)
    image = Image.fromarray(noise).resize((30, 24), Image.BICUBIC)
    image.save(root / "images" / f"{i:02}.jpg")
  if csv is not None:
    (root / "landmarks.csv").write_text(csv)
  return root


def mistakes(tmp):
  """dict name -> (arguments, what the message must name)."""
  (tmp / "bare").mkdir()
  (tmp / "file").write_text("")
  empty = make_folder(tmp / "empty", 5)
  for path in (empty / "images").iterdir():
    path.write_bytes(b"")
  folders = {
    name: str(make_folder(tmp / name, 2, csv))
    for name, csv in {
      "no_split": "file,x1,y1\n00.jpg,1,2\n",
      "no_y2": "file,split,x1,y1,x2\n00.jpg,train,1,2,3\n",
      "lost": HEADER + "00.jpg,train,1,2,3,4\n07.jpg,test,1,2,3,4\n",
      "word": HEADER + "00.jpg,train,1,2,left,4\n",
    }.items()
  }
  root = "--config.data.root="
  return {
    "unknown key": (
      [SYNTHETIC, "--config.batchsize=8"],
      ["has no key 'batchsize' Did you mean \"batch_size\""],
    ),
    "wrong type": ([SYNTHETIC, "--config.batch_size=few"], ["batch_size"]),
    "wrong value": ([SYNTHETIC, "--config.batch_size=7"], ["batch_size=7"]),
    "unknown argument": (
      ["--config=synthetic:tset"],
      ["'tset'", "test"],
    ),
    "no such config": (
      ["--config=configs/none.py"],
      ["configs/none.py", "folder, lsun", "--config=synthetic"],
    ),
    "no such name": (["--config=none:test"], ["none", "folder, lsun"]),
    "no config": ([], ["--config"]),
    "unknown flag": ([SYNTHETIC, "--wordkir=x"], ["wordkir"]),
    "unknown mode": ([SYNTHETIC, "--mode=test"], ["mode", "eval"]),
    "not a flag": ([SYNTHETIC, "train"], ["'train'"]),
    "eval of nothing": ([SYNTHETIC, "--mode=eval"], ["checkpoints"]),
    "no root": (
      ["--config=configs/folder.py:cpu"],
      ["config.data.root", "--config.data.root=DIR"],
    ),
    "no folder": ([FOLDER, f"{root}{tmp}/none"], [f"{tmp}/none"]),
    "no images": ([FOLDER, f"{root}{tmp}/bare"], [f"{tmp}/bare"]),
    "a file": ([FOLDER, f"{root}{tmp}/file"], [f"{tmp}/file"]),
    "no extra": (
      [FOLDER, f"{root}{folders['lost']}", "--config.data.extra_root=/none"],
      ["07.jpg"],
    ),
    "no split": (
      [FOLDER, root + folders["no_split"]],
      ["landmarks.csv", "'split'"],
    ),
    "no y2": ([FOLDER, root + folders["no_y2"]], ["landmarks.csv", "'y2'"]),
    "lost file": (
      [FOLDER, root + folders["lost"]],
      ["landmarks.csv line 3", "07.jpg"],
    ),
    "a word": (
      [FOLDER, root + folders["word"]],
      ["landmarks.csv line 2", "'left'", "'x2'"],
    ),
    "no such csv": (
      [FOLDER, root + folders["lost"], "--config.data.landmarks=eyes.csv"],
      ["eyes.csv"],
    ),
    "all empty": (
      [FOLDER, f"{root}{empty}"],
      [f"{empty}/images/00.jpg", "5 broken of 5"],
    ),
  }


def start(cases, tmp, **environment):
  """Runs dict name -> arguments: dict name -> (status, stdout, stderr)."""
  outputs = {name: str(tmp / f"case{i}") for i, name in enumerate(cases)}
  subprocess.run(
    [sys.executable, "-W", "ignore", "-c", DRIVER],
    input=json.dumps([[cases[name], outputs[name]] for name in cases]),
    text=True,
    cwd=ROOT,
    env=os.environ | environment,
    check=True,
  )
  return {
    name: (
      int(pathlib.Path(f"{path}.status").read_text()),
      pathlib.Path(f"{path}.out").read_text(),
      pathlib.Path(f"{path}.err").read_text(),
    )
    for name, path in outputs.items()
  }


def assert_one_line(result, named):
  """Exit code 2 and one line on stderr, which names what is wrong."""
  status, out, err = result
  assert (status, out) == (2, ""), err
  (line,) = err.splitlines()
  for words in named:
    assert words in line


@pytest.mark.slow
def test_mistakes_get_one_line_and_leave_nothing(tmp_path):
  """Each mistake is named in a single line, exit code 2, without a workdir."""
  cases = mistakes(tmp_path)
  workdir = tmp_path / "work"
  results = start(
    {
      name: [f"--workdir={workdir}", *arguments]
      for name, (arguments, _) in cases.items()
    },
    tmp_path,
  )
  for name, (_, named) in cases.items():
    try:
      assert_one_line(results[name], named)
    except (AssertionError, ValueError) as error:
      raise AssertionError(f"{name}: {results[name]}") from error
  assert not workdir.exists()


@pytest.mark.slow
def test_missing_workdir_as_the_user_sees_it(tmp_path):
  """`python -m c3_jax.main` without --workdir asks for it, in one line."""
  done = subprocess.run(
    [sys.executable, "-m", "c3_jax.main", "--config=synthetic:test"],
    cwd=tmp_path,
    env=os.environ | {"PYTHONPATH": str(ROOT)},
    capture_output=True,
    text=True,
  )
  result = (done.returncode, done.stdout, done.stderr)
  assert_one_line(result, ["--workdir"])
  assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def folder_run(tmp_path_factory):
  """(status, stdout, stderr, workdir) of a run on a folder with bad files."""
  tmp = tmp_path_factory.mktemp("folder")
  rows = [
    f"{i:02}.jpg,{'test' if i % 3 else 'train'},{8 + i % 5},9,{20 - i % 4},11"
    for i in range(48)
  ]
  root = make_folder(tmp / "root", 50, HEADER + "\n".join(rows) + "\n")
  images = root / "images"
  (images / "01.jpg").write_bytes(b"")
  (images / "03.jpg").write_text("this is no image")
  (images / "49.jpg").write_bytes((images / "49.jpg").read_bytes()[:200])
  workdir = tmp / "work"
  # One stage, for the time it takes to compile the others.
  arguments = [
    FOLDER,
    f"--workdir={workdir}",
    f"--config.data.root={root}",
    "--config.stages.pairs.steps=4",
    "--config.stages.flow.steps=0",
    "--config.stages.cycle.steps=0",
  ]
  (result,) = start(
    {"run": arguments},
    tmp,
    JAX_COMPILATION_CACHE_DIR=jax.config.jax_compilation_cache_dir,
    JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
  ).values()
  return *result, workdir


@pytest.mark.slow
def test_a_few_broken_images_are_skipped_and_named(folder_run):
  """The run ends well on the others; the log counts and names the bad ones."""
  status, _, err, workdir = folder_run
  assert status == 0, err
  lines = [line for line in err.splitlines() if "cannot be decoded" in line]
  named = {
    name: sum(f"/{name}" in line for line in lines)
    for name in ("01.jpg", "03.jpg", "49.jpg", "00.jpg")
  }
  # Once where it trains, once where it is annotated.
  assert named == {"01.jpg": 1, "03.jpg": 2, "49.jpg": 1, "00.jpg": 0}
  assert any("Skipped 2 of 18 images" in line for line in lines)
  assert "Traceback" not in err
  report = json.loads((workdir / "eval" / "folder.json").read_text())
  assert (report["n_train"], report["n_test"]) == (15, 31)


@pytest.mark.slow
def test_a_run_talks_about_itself_only(folder_run):
  """The log is c3_jax's own, a line an event; the table goes to stdout."""
  _, out, err, workdir = folder_run
  for line in err.splitlines():
    clock, _, words = line.partition(" ")
    assert [len(part) for part in clock.split(":")] == [2, 2, 2], line
    assert words
  assert "pairs 4/4" in err
  assert "regression with intercept" in out
  assert out.endswith(
    f"figures: {workdir / 'figures'}\nreport: {workdir / 'report.html'}\n"
  )
