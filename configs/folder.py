"""A folder of your own images of one kind of object.

  python -m c3_jax.main --config=configs/folder.py:cpu \
    --config.data.root=DIR --workdir=runs/mine

DIR/images/ holds JPEG or PNG files; an optional DIR/landmarks.csv lets the
run measure itself (docs/folder.md). Arguments: k=10, cycle=1, flow=1 (see
c3_jax/settings/arguments.py); `cpu`, a small network at 32 px; `cpu64`, one at
64 px; `vgg`, a trained VGG in the folder `weights` (docs/weights.md); `test`, a
run of seconds; stages=auto, or stages=pairs+flow+cycle or some of them. Without
`cpu` or `cpu64` this is the paper's network at 128 px with L_warp and L_apart
added to the paper's terms; docs/weights.md gives it ImageNet weights.

`cpu` runs stage `pairs` alone, in which known warps also teach the flow; the
other stages, which `cpu,stages=pairs+flow+cycle` adds, gained next to nothing
on faces (docs/results.md). 41 minutes on one core; LFW 6.77 % (seed 0), the
mean shape 11.15. `cpu64` runs `pairs` and `flow`, about an hour on one core;
LFW 6.48 % (mean of seeds 0 to 2), with k=30 and more steps 5.24 (seed 0).
"""

from c3_jax import settings


def get_config(argument=""):
  """Makes the config of an argument such as "cpu,k=5"."""
  chosen, values = settings.parse(
    argument,
    variants=("cpu", "cpu64", "vgg", "test"),
    k=10,
    cycle=True,
    flow=True,
    stages="auto",
  )
  stages = values.pop("stages")
  config = settings.paper(**values)
  config.data.name = "folder"
  config.stages.pairs.epochs = 20.0
  config.stages.flow.epochs = 5.0
  config.stages.cycle.update({"epochs": 200.0, "drops": (0.5, 0.75)})
  if not chosen & {"cpu", "cpu64", "test"}:
    settings.from_scratch(config)
  else:
    make_small(config, image_size=64 if "cpu64" in chosen else 32)
  if "test" in chosen:
    settings.quick(config)
    config.data.example = 60
  elif "cpu64" in chosen:
    settings.learn_finely(config, average=0.999)
    config.stages.pairs.steps = 5000
    config.stages.flow.update({"steps": 1500, "drops": (0.7,)})
    stages = "pairs+flow" if stages == "auto" else stages
  elif "cpu" in chosen:
    settings.learn_longer(config, average=0.999)
    stages = "pairs" if stages == "auto" else stages
  if "vgg" in chosen:
    settings.trained_vgg(config)
  if stages != "auto":
    settings.select(config, stages)
  return config.lock()


def make_small(config, *, image_size):
  """Turns the paper's config into a small one, for images of one kind."""
  settings.shrink(config, image_size=image_size, load_size=image_size * 5 // 4)
  # These are often nearly aligned: strong warps move them.
  config.augment.target.update({"rotation": 15.0, "scale": 0.1, "shift": 0.15})
  config.augment.source.shift = 0.15
  config.augment.natural.update({"rotation": 10.0, "scale": 0.1, "shift": 0.1})
  config.augment.warp_natural = True
  config.stages.pairs.update({"epochs": 0.0, "steps": 20_000, "drops": (0.8,)})
  config.stages.flow.update({"epochs": 0.0, "steps": 300})
  config.stages.cycle.update(
    {"epochs": 0.0, "steps": 4000, "learning_rate": 1e-3, "drops": (0.7,)}
  )
