"""The rule that recommends K."""

import itertools
import json

import numpy as np
import pytest
from PIL import Image

from c3_jax.choosing import choose_k, plot, rule
from c3_jax.choosing.trials import Trial
from c3_jax.errors import UserError


def trial(k, consistency=2.0, faults=0, reconstruction=8.0, error=None):
  """A trial that is good at everything."""
  return Trial(k, 100, consistency, faults, reconstruction, error, f"{k}")


def chosen(*trials):
  """The K recommended."""
  return rule.recommend(list(trials))[0]


def test_the_smallest_of_the_good_is_taken():
  """Where nothing differs, and where more landmarks redraw images better."""
  assert chosen(trial(5), trial(10), trial(20)) == 5
  assert chosen(trial(5, reconstruction=9), trial(10), trial(20)) == 10
  better = trial(20, reconstruction=7)
  assert chosen(trial(5, reconstruction=9), trial(10), better) == 20


def test_faults_and_wandering_rule_a_k_out():
  """Whatever it does for reconstruction."""
  good = trial(5, reconstruction=9), trial(10)
  assert chosen(*good, trial(20, faults=3, reconstruction=5)) == 10
  assert chosen(*good, trial(20, consistency=2.6, reconstruction=5)) == 10
  # One of twenty, and a little less firm, are no reason.
  assert chosen(*good, trial(20, faults=1, reconstruction=5)) == 20
  assert chosen(*good, trial(20, consistency=2.4, reconstruction=5)) == 20


def test_the_least_bad_where_all_have_faults():
  """By their share."""
  assert chosen(trial(5, faults=3), trial(10, faults=2)) == 10


def test_labels_and_order_play_no_part():
  """Any order and any labelled error give the same K."""
  trials = [
    trial(5, reconstruction=9),
    trial(10, consistency=2.2),
    trial(20, reconstruction=7.9, faults=1),
    trial(30, consistency=4.0, reconstruction=6),
  ]
  rng = np.random.default_rng(0)
  for order in itertools.permutations(trials):
    labelled = [each._replace(error=rng.uniform()) for each in order]
    assert chosen(*labelled) == 10


def test_the_table_marks_the_chosen():
  """One row a trial, "-" for what is not known."""
  lines = rule.table([trial(5), trial(10, error=12.345)], 10).splitlines()
  assert len(lines) == 2 + 2
  assert lines[2].split() == ["5", "100", "2.00", "0", "8.00", "-"]
  assert lines[3].split() == ["*10", "100", "2.00", "0", "8.00", "12.35"]


def test_what_is_written_is_read_again(tmp_path):
  """choose_k.json, with the recommendation for others to read."""
  path = tmp_path / "choose_k.json"
  assert choose_k.read(path) == []
  trials = [trial(5, reconstruction=9), trial(10, error=3.5)]
  choose_k.write(path, trials)
  assert choose_k.read(path) == trials
  assert json.loads(path.read_text())["recommended"] == 10
  path.write_text('{"trials": [{"k": 5}]}')
  with pytest.raises(UserError, match="choose_k.json is damaged"):
    choose_k.read(path)


@pytest.mark.parametrize("error", [None, 3.5])
def test_the_plot_is_drawn(tmp_path, error):
  """With and without labels."""
  trials = [trial(5, error=error), trial(10, consistency=None)]
  plot.draw(tmp_path / "plot.png", trials, 5)
  with Image.open(tmp_path / "plot.png") as image:
    assert image.size == (900, 230)


@pytest.mark.parametrize(
  ("ks", "words"),
  [(["5"], "two or more"), (["5", "x"], "whole"), (["7", "7"], "two or more")],
)
def test_numbers_of_landmarks(ks, words):
  """Sorted; fewer than two are refused."""
  assert choose_k.numbers(["20", " 5"]) == [5, 20]
  with pytest.raises(UserError, match=words):
    choose_k.numbers(ks)
