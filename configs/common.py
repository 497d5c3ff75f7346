"""What all configs share: the paper's settings, and arguments as text.

A config file is called as `configs/X.py[:name,key=value,...]`. The arguments
make the cells of the paper's ablation (Table 2):

  cycle=1,flow=1   L_cycle + L_inv + L_equiv on natural pairs (the paper)
  cycle=1,flow=0   L_cycle + L_inv on natural pairs
  cycle=0,flow=1   L_pairs + L_equiv on synthetic pairs
  cycle=0,flow=0   L_pairs on synthetic pairs

All four see the same number of images after the same stage `pairs`.
"""

import ml_collections

ConfigDict = ml_collections.ConfigDict
STAGES = ("pairs", "flow", "cycle")


def parse(argument, *, variants=(), **defaults):
  """Reads "name,key=value" with the types of the defaults.

  Args:
    argument: text after the colon, or "".
    variants: names that may be given without a value.
    **defaults: key -> int.

  Returns:
    (set of the names given, dict of the keys).

  Raises:
    ValueError: an unknown name or key, or a value of the wrong type.
  """
  values, chosen = dict(defaults), set()
  for part in filter(None, (argument or "").split(",")):
    key, equals, value = part.partition("=")
    if not equals and key in variants:
      chosen.add(key)
    elif (
      equals
      and key in defaults
      and value.isdigit()
      and (key not in ("cycle", "flow") or value in "01")
    ):
      values[key] = int(value)
    else:
      known = [*variants, *(f"{name}=N" for name in defaults)]
      raise ValueError(
        f"config argument {part!r} is not one of {', '.join(known)}"
      )
  return chosen, values


def terms(**given):
  """Weights of all terms; those not given are 0 and not computed."""
  names = ("pairs", "warp", "apart", "cycle", "inv", "equiv", "flow")
  return ConfigDict({name: float(given.get(name, 0)) for name in names})


def stage(steps=0, *, epochs=0.0, learning_rate=5e-4, train, weights):
  """One stage: its length (steps, or epochs of the data), rate and terms."""
  return ConfigDict(
    {
      "steps": steps,
      "epochs": epochs,
      "learning_rate": learning_rate,
      # Fractions of the stage at which the rate is divided by ten.
      "drops": (),
      "warmup": 0,
      "train": train,
      "weights": weights,
    }
  )


def stages(*, cycle, flow):
  """The three stages of a cell of Table 2; lengths are set by the config."""
  landmarks = ("backbone", "appearance", "pose", "decoder")
  if cycle:
    third = terms(cycle=1, inv=1, equiv=flow)
  else:
    third = terms(pairs=1, equiv=flow)
  return ConfigDict(
    {
      "pairs": stage(train=landmarks, weights=terms(pairs=1)),
      "flow": stage(train=("flow",), weights=terms(flow=1)),
      "cycle": stage(train=landmarks, weights=third),
    }
  )


def select(config, digits):
  """Leaves out stages, whose lengths become 0.

  Args:
    config: of `base`.
    digits: int such as 123 or 3: 1 stands for pairs, 2 for flow, 3 for cycle.

  Raises:
    ValueError: there is another digit.
  """
  if not set(str(digits)) <= set("123"):
    raise ValueError(
      f"config argument 'stages={digits}' is not one of stages=N, N of the "
      "digits 1 (pairs), 2 (flow) and 3 (cycle)"
    )
  for digit, name in zip("123", STAGES, strict=True):
    if digit not in str(digits):
      config.stages[name].update({"steps": 0, "epochs": 0.0})


def warp(rotation=0.0, scale=0.0, shift=0.0, warp_all=0.0, warp_half=0.0):
  """A table of `augment.sample_warp`: standard deviations."""
  return ConfigDict(
    {
      "rotation": float(rotation),
      "scale": float(scale),
      "shift": float(shift),
      "warp_all": float(warp_all),
      "warp_half": float(warp_half),
    }
  )


def base(*, k, cycle, flow):
  """The paper's configuration, data aside: every key of every config.

  Args:
    k: number of landmarks.
    cycle, flow: the cell of Table 2, 0 or 1.

  Returns:
    An `ml_collections.ConfigDict`.
  """
  config = ConfigDict()
  config.seed = 0
  config.batch_size = 200  # Images; 100 symmetric pairs.
  # Parts of a device's batch, one after another: for a batch that does not
  # fit. Batch norms then see one part at a time.
  config.accumulate = 1
  config.remat = False  # Compute activations again instead of keeping them.
  config.log_every = 100
  config.checkpoint_every = 1000
  # Go on in a workdir although the config or the data are not the same.
  config.accept_changes = False
  # Start from the networks of another run, instead of untrained ones: its
  # workdir, and a step; 0 is the best checkpoint, as evaluated.
  config.init = ConfigDict({"workdir": "", "step": 0})

  config.data = ConfigDict(
    {
      "name": "",
      "image_size": 128,
      # Pictures are loaded larger than the model frame, which is their centre:
      # warps then have something to show beyond its border.
      "load_size": 160,
      # Synthetic faces.
      "seed": 0,
      "n_train": 0,
      "n_fit": 0,
      "n_test": 0,
      # All that is read from files (see docs/data.md).
      "root": "",
      "tfds_dir": "",  # Instead of root: what TFDS has prepared.
      "cache": True,  # Keep the decoded pictures in memory.
      "example": 0,  # Without a root: use so many example pictures.
      # What is loaded of a file: "square", its central square; "imm", all of
      # it, both sides scaled to load_size; "dve", DVE's square of CelebA.
      "crop": "square",
      # Folder.
      "extra_root": "",
      "landmarks": "landmarks.csv",
      # CelebA: left out of its training pictures. "mafl_test", as in the
      # paper; "mafl", all of MAFL; "identity", all people in MAFL's test set.
      "exclude": "mafl_test",
      "release": "lmdis",  # AFLW: or "mtfl".
      # LSUN: "car" or "bedroom"; the first `limit` pictures, 0 for all.
      "category": "car",
      "limit": 0,
      # Files of c3_jax.pack; fit and test may be left out.
      "packed": {"train": "", "fit": "", "test": ""},
    }
  )

  config.model = ConfigDict(
    {
      "k": k,
      "swap_features": False,  # f = layer4, f' = layer3.
      "dtype": "float32",
      "backbone": {
        "stage_sizes": (3, 4, 6, 3),
        "width": 64,
        "widths": (64, 128, 256, 512),
        "bottleneck": True,
        "stem": "imagenet",
        "output_stride": 8,  # 16 x 16 maps at 128 px.
        # "auto": "frozen" (fixed statistics) with ported weights, else "batch".
        "norm": "auto",
      },
      "appearance": {
        "features": 256,
        "pool": False,
        "norm": "none",
        "init_std": 0.01,
      },
      "pose": {
        "features": 256,
        "sigma": 0.8,  # Cells; 0.1 in [-1, 1] at 16 x 16 (IMM).
        "temperature": 1.0,
        "marginal": False,
        "gain": 0.0,
        "init_std": 0.01,
      },
      "decoder": {
        "channels": 256,
        "min_channels": 32,
        "norm": "batch",
        "init_std": 0.01,
      },
      "flow": {
        "channels": (16, 16, 1),
        "kernel": 5,
        "separable": True,
        "mutual": True,
      },
    }
  )

  # Folders that `python -m c3_jax.port_weights` made; "": none, then the
  # backbone starts from scratch and the perceptual network is random.
  config.weights = ConfigDict({"resnet50": "", "vgg": ""})

  config.perceptual = ConfigDict(
    {
      "arch": "vgg16",
      "taps": ("input", "conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2"),
      "width": 1.0,
      "seed": 0,  # Of the frozen He-initialised VGG without ported weights.
      "decay": 0.99,  # Of the running mean that divides each tap.
    }
  )

  config.objective = ConfigDict(
    {
      "stop_gradient": True,  # On the first swapped images (appendix).
      "hard_flow": True,  # T by argmax; False: by expectation.
      "flow_temperature": 0.02,  # Of that expectation; C^ lies in [0, 1].
      "natural_positives": False,  # Of the weak flow loss.
      "apart": 0.15,  # Reach of L_apart in coordinates; a face spans about 1.
    }
  )

  config.augment = ConfigDict(
    {
      # IMM's two-level table.
      "target": warp(shift=0.1, warp_all=0.001, warp_half=0.005),
      "source": warp(5.0, 0.1, 0.1, 0.001, 0.01),
      "natural": warp(),
      "warp_natural": False,  # Natural pairs are seen as they are.
      "control_points": 10,
      "recolour": 0.0,  # Of what E_p sees of a synthetic pair; 0: as it is.
      "mask_margin": 0.15,  # IMM's 10 px of 128, in coordinates.
    }
  )

  config.stages = stages(cycle=cycle, flow=flow)
  config.optimizer = ConfigDict(
    {
      "weight_decay": 1e-4,  # L2 in the gradient.
      "decoupled": False,  # True: AdamW.
    }
  )

  config.eval = ConfigDict(
    {
      "batch_size": 100,
      # The checkpoint of --mode=eval; -1 is the best.
      "step": -1,
      # Of the file in eval/; "" is the name of the dataset.
      "name": "",
      # Two indices of points whose distance is 100 %, "box" for the root of
      # the area of the box around them, or "image" for the side.
      "normaliser": (0, 1),
      # Penalty of additional regressions, with lengths in sides; 0: none.
      "ridge": 0.0,
      # Regression from so many annotated pictures, chosen `repeats` times.
      "few_shot": (1, 5, 10, 20, 50, 100, 500),
      "repeats": 10,
      # Also measure under seeded random similarity transforms of the pictures:
      # uniform in +-rotation degrees, +-scale, +-shift (of the image side).
      "perturb": False,
      # Landmarks that say nothing, in the first `images` training pictures;
      # lengths in sides of the picture.
      "diagnostics": {
        "images": 500,
        "merged": 0.02,  # Two landmarks nearer than this, on average.
        "still": 0.01,  # A landmark whose deviation is less than this,
        "border": 0.04,  # or that is so near the border in most pictures.
      },
      "perturbation": {
        "seed": 0,
        "rotation": 20.0,
        "scale": 0.15,
        "shift": 0.1,
      },
    }
  )
  return config


def from_scratch(config):
  """Adds to the paper's terms what networks without ImageNet weights need.

  L_warp, which a landmark that tells a colour cannot satisfy; L_apart, which
  keeps the landmarks off one spot; other colours for E_p than for the decoder.
  """
  config.augment.recolour = 0.4
  config.augment.source.rotation = 15.0
  for name in ("pairs", "cycle"):
    config.stages[name].weights.update({"warp": 1.0, "apart": 0.5})


def small(config, *, image_size, load_size):
  """Turns the paper's configuration into one that learns on two CPU cores.

  What mattered, in this order: an appearance map averaged over space, so that
  only the landmarks can say where things are; `from_scratch`; standardised
  logits with a low gain; wide gaussians; small batches, many steps.
  """
  config.data.image_size, config.data.load_size = image_size, load_size
  config.batch_size = 16
  config.model.backbone.update(
    {
      "stage_sizes": (1, 1, 1, 1),
      "width": 16,
      "widths": (16, 32, 32, 64),
      "bottleneck": False,
      "stem": "small",
      "output_stride": 4,
    }
  )
  config.model.appearance.update(
    {"features": 32, "pool": True, "norm": "batch", "init_std": 0.0}
  )
  config.model.pose.update(
    {"features": 32, "gain": 2.0, "sigma": 1.5, "init_std": 0.0}
  )
  config.model.decoder.update(
    {"channels": 64, "min_channels": 16, "init_std": 0.0}
  )
  config.model.flow.update({"channels": (8, 1), "kernel": 3})
  # The outermost cell of an 8 x 8 map.
  config.eval.diagnostics.border = 0.065
  # conv4_2 and conv5_2 would see maps of 4 and 2 cells.
  config.perceptual.update(
    {
      "width": 0.125,
      "taps": ("input", "conv1_2", "conv2_2", "conv3_2"),
    }
  )
  # A spline on 100 control points costs more than the small network.
  config.augment.control_points = 4
  config.optimizer.weight_decay = 0.0
  for name in STAGES:
    config.stages[name].learning_rate = 2e-3
  from_scratch(config)
  return config


def quick(config):
  """Turns a small configuration into one that soon passes all stages."""
  config.data.update({"image_size": 16, "load_size": 20})
  config.batch_size, config.eval.batch_size = 8, 20
  config.log_every, config.checkpoint_every = 2, 4
  for name in STAGES:
    config.stages[name].update({"steps": 10, "epochs": 0.0})
  return config
