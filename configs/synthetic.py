"""Synthetic faces on two CPU cores: the quickstart.

  python -m c3_jax.main --config=configs/synthetic.py --workdir=runs/quickstart

Arguments: k=10, cycle=1, flow=1 (see c3_jax/settings/arguments.py), which
change stage `cycle` alone; `test`, a short run through all stages; stages=auto,
or stages=pairs+flow+cycle or some of them.

By default stage `pairs` runs alone, in which known warps also teach the flow:
at this size further steps of it gained more than stage `cycle`
(docs/results.md).
About 6 minutes on two cores; 4.25 % (seed 0), the mean shape 37.63.
"""

from c3_jax import settings


def get_config(argument=""):
  """Makes the config of an argument such as "k=5,flow=0"."""
  chosen, values = settings.parse(
    argument,
    variants=("test",),
    k=10,
    cycle=True,
    flow=True,
    stages="auto",
  )
  stages = values.pop("stages")
  config = settings.paper(**values)
  settings.shrink(config, image_size=32, load_size=40)
  config.data.name = "synthetic"
  config.data.update({"n_train": 8192, "n_fit": 1500, "n_test": 500})
  config.log_every = 100
  config.checkpoint_every = 500
  config.stages.pairs.steps = 4000
  config.stages.flow.steps = 200
  config.stages.cycle.update(
    {"steps": 700, "learning_rate": 1e-3, "drops": (0.7,)}
  )
  # Taught by the weak loss alone, the flow on 8 x 8 cells errs by a third of
  # the distance of the eyes, so L_equiv gets a small weight.
  third = config.stages.cycle.weights
  third.update({"pairs": 1.0, "equiv": 0.05 * third.equiv})
  if "test" in chosen:
    settings.quick(config)
    config.data.update({"n_train": 64, "n_fit": 60, "n_test": 20})
  else:
    settings.learn_longer(config, average=0.998)
    stages = "pairs" if stages == "auto" else stages
  if stages != "auto":
    settings.select(config, stages)
  return config.lock()
