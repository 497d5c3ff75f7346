"""Runs of older versions go on, and lend their networks."""

import jax
import numpy as np

from c3_jax.models import initial
from c3_jax.runs import Checkpoints, write_config
from c3_jax.training import resume
from c3_jax.training.experiment import Experiment
from c3_jax.training.state import enter, state_at_0
from configs import synthetic


def test_a_shared_running_mean_starts_both_terms(tmp_path):
  """Checkpoints once had running/TAP; each term now goes on with that mean."""
  config = synthetic.get_config("test")
  run = Experiment.of(config, tmp_path)
  rng = np.random.default_rng(0)
  variables = jax.tree.map(
    lambda x: rng.uniform(size=x.shape).astype(x.dtype),
    initial.shapes(config, run.model),
  )
  state = enter(state_at_0(config, variables), run.stages[0])
  shared = {tap: np.float32(i) for i, tap in enumerate(config.perceptual.taps)}
  write_config(config, tmp_path)
  with Checkpoints(tmp_path) as checkpoints:
    checkpoints.save(
      state.replace(step=np.int32(4), running=shared),
      n_train=len(run.splits.train),
    )
    resume.check(run, checkpoints)
    gone_on = resume.newest(run, checkpoints).state
  assert gone_on.step == 4
  other = config.copy_and_resolve_references().unlock()
  other.init.workdir = str(tmp_path)
  started = resume.first_state(Experiment.of(other, tmp_path / "other"))
  assert started.step == 0
  for found in (gone_on, started):
    assert found.running == {"pairs": shared, "cycle": shared}
    jax.tree.map(np.testing.assert_array_equal, found.variables, variables)
