"""Synthetic faces on two CPU cores: the quickstart.

  python -m c3_jax.main --config=configs/synthetic.py --workdir=runs/quickstart

Arguments: k=10, cycle=1, flow=1 (see c3_jax/settings/arguments.py), and `test`,
a short run through all stages.
"""

from c3_jax import settings


def get_config(argument=""):
  """Makes the config of an argument such as "k=5,flow=0"."""
  chosen, values = settings.parse(
    argument, variants=("test",), k=10, cycle=True, flow=True
  )
  config = settings.paper(**values)
  settings.shrink(config, image_size=32, load_size=40)
  config.data.name = "synthetic"
  config.data.update({"n_train": 8192, "n_fit": 1500, "n_test": 500})
  config.log_every = 100
  config.checkpoint_every = 500
  config.stages.pairs.update({"steps": 2500, "drops": (0.8,)})
  config.stages.flow.steps = 200
  config.stages.cycle.update(
    {"steps": 700, "learning_rate": 1e-3, "drops": (0.7,)}
  )
  # On 8 x 8 cells the flow errs by a third of the distance of the eyes, the
  # landmarks after stage pairs by a tenth, so L_equiv gets a small weight.
  third = config.stages.cycle.weights
  third.update({"pairs": 1.0, "equiv": 0.05 * third.equiv})
  if "test" in chosen:
    settings.quick(config)
    config.data.update({"n_train": 64, "n_fit": 60, "n_test": 20})
  return config.lock()
