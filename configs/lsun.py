"""LSUN cars and bedrooms: the paper's Figure 5.

  python -m c3_jax.main --config=configs/lsun.py:car --config.data.root=LSUN \
    --workdir=runs/car

Give the ported ImageNet weights (docs/weights.md). docs/data.md says what LSUN
holds. Nothing is annotated: the result is figures/landmarks.png, to be compared
with Figure 5; there is no number to expect.

Arguments: `car` (the default) or `bedroom`; k=10, cycle=1, flow=1 (see
c3_jax/settings/arguments.py); stages=pairs+flow+cycle (see configs/celeba.py);
`test`, a run of seconds.

The appendix says "the same setting" as for faces, and does not say how many
images were collected. Stages therefore have as many steps as those of
configs/celeba.py, 36.4 million images in all, whatever the size of the dataset;
--config.data.limit=N takes the first N.
"""

from c3_jax import settings

FACES = 161_962  # Images of CelebA in the paper's training set.


def get_config(argument=""):
  """Makes the config of an argument such as "bedroom,k=30"."""
  chosen, values = settings.parse(
    argument,
    variants=("car", "bedroom", "test"),
    k=10,
    cycle=True,
    flow=True,
    stages="pairs+flow+cycle",
  )
  stages = values.pop("stages")
  config = settings.paper(**values)
  config.data.update({"name": "lsun", "category": "car"})
  # Millions of images: decoded as they are needed.
  config.data.cache = False
  if "bedroom" in chosen:
    config.data.category = "bedroom"
  for name, epochs in (("pairs", 20), ("flow", 5), ("cycle", 200)):
    config.stages[name].steps = -(-epochs * FACES // config.batch_size)
  config.stages.cycle.drops = (0.5, 0.75)
  if "test" in chosen:
    settings.shrink(config, image_size=32, load_size=40)
    settings.quick(config)
    config.data.example = 60
  settings.select(config, stages)
  return config.lock()
