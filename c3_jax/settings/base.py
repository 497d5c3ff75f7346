"""The paper's settings: every key of every config, with its default."""

import ml_collections

from c3_jax.settings import stages


def warp(**given):
  """Makes a table of standard deviations, for `augment.sample_warp`."""
  names = ("rotation", "scale", "shift", "warp_all", "warp_half")
  return {name: float(given.get(name, 0)) for name in names}


def paper(*, k: int, cycle: bool, flow: bool) -> ml_collections.ConfigDict:
  """Makes the paper's config, without data: every key of every config.

  Args:
    k: number of landmarks.
    cycle, flow: bools, the cell of Table 2; see `arguments`.
  """
  config = ml_collections.ConfigDict()
  config.seed = 0
  config.batch_size = 200  # Images; 100 symmetric pairs.
  # Parts of a device's batch, one after another, for a batch that does not
  # fit. Batch norms then see one part at a time.
  config.accumulate = 1
  config.remat = False  # Compute activations again instead of keeping them.
  # How a step runs on several devices: "pmap", or "shard_map", which also
  # proves that state and metrics are equal on all of them.
  config.parallel = "pmap"
  # Decay of a running mean of the parameters, which evaluation then uses; 0:
  # it uses the last ones.
  config.average = 0.0
  config.log_every = 100
  config.checkpoint_every = 1000
  # Keys, with commas, that may differ from those a workdir was trained with;
  # "data" also stands for other images.
  config.accept_changes = ""
  # Start from the networks of another run, instead of untrained ones: its
  # workdir, and a step; 0 is the checkpoint with the best evaluation.
  config.init = {"workdir": "", "step": 0}

  config.data = {
    "name": "",
    "image_size": 128,
    # Images are loaded larger than the frame of the model, their centre, so
    # that warps have something to show beyond its border.
    "load_size": 160,
    # Synthetic faces.
    "seed": 0,
    "n_train": 0,
    "n_fit": 0,
    "n_test": 0,
    # All that is read from files (see docs/data.md).
    "root": "",
    "tfds_dir": "",  # Instead of root: what TFDS has prepared.
    "cache": True,  # Keep the decoded images in memory.
    "example": 0,  # Without a root: use so many example images.
    # What is seen of a file: as "imm" or "dve" say for CelebA, MAFL or AFLW;
    # or "custom", as load_size and crop say. "" is IMM's for AFLW, otherwise
    # custom.
    "protocol": "",
    # What is loaded of a file: "square", its central square; "imm", all of
    # it, both sides scaled to load_size; "dve", DVE's square of CelebA.
    "crop": "square",
    # Folder.
    "extra_root": "",
    "landmarks": "landmarks.csv",  # Or COCO keypoints, as FILE.json.
    "every": 10,  # Of clips, every Nth frame is trained on.
    # CelebA: left out of its training images. "mafl_test", as in the paper;
    # "mafl", all of MAFL; "identity", all people in MAFL's test set.
    "exclude": "mafl_test",
    "release": "lmdis",  # AFLW: or "mtfl".
    # LSUN: "car" or "bedroom"; the first `limit` images, 0 for all.
    "category": "car",
    "limit": 0,
    # Files of c3_jax.pack; fit and test may be left out.
    "packed": {"train": "", "fit": "", "test": ""},
  }

  config.model = {
    "k": k,
    "swap_features": False,  # f = layer4, f' = layer3.
    "flow_pool": 1,  # f' is averaged over squares of so many cells a side.
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
      # Cells. IMM's 0.1, where 16 cells are 2 / 15 apart.
      "sigma": 0.75,
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

  # Folders made by `python -m c3_jax.port_weights`; "": none. Then the
  # backbone starts from scratch and the perceptual network is random.
  config.weights = {"resnet50": "", "vgg": ""}

  config.perceptual = {
    "arch": "vgg16",
    "taps": ("input", "conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2"),
    "width": 1.0,
    "reduce": 1,  # The VGG sees images with sides so many times shorter.
    "seed": 0,  # For the random, frozen VGG without ported weights.
    "decay": 0.99,  # For the running mean that divides each tap.
    # Forget faster at first: min(decay, (1 + step) / (10 + step)). The decoder
    # starts far from any image, and its first distances are large.
    "early": False,
  }

  config.objective = {
    "stop_gradient": True,  # On the first swapped images (appendix).
    "hard_flow": True,  # T by argmax; False: by expectation.
    "flow_temperature": 0.02,  # For the expectation; C^ lies in [0, 1].
    # T is the expectation over so many cells round the argmax; 0: the argmax.
    "flow_reach": 0,
    # T is averaged over neighbouring cells, with a gaussian of so many cells
    # and more weight where the way back agrees; 0: not.
    "flow_smooth": 0.0,
    # In L_equiv a cell counts where its way to the other image and back ends
    # within so many cells; 0: all count.
    "flow_check": 0.0,
    "match_temperature": 0.05,  # For C^ in L_match and L_chain.
    # The weak flow loss takes natural pairs as positives and their neighbours
    # as negatives, not an image and its own view.
    "natural_positives": False,
    "apart": 0.15,  # Reach of L_apart in coordinates; a face spans about 1.
  }

  config.augment = {
    # IMM's two-level table.
    "target": warp(shift=0.1, warp_all=0.001, warp_half=0.005),
    "source": warp(
      rotation=5, scale=0.1, shift=0.1, warp_all=0.001, warp_half=0.01
    ),
    "natural": warp(),
    "warp_natural": False,  # True: warp natural pairs, too.
    "control_points": 10,
    "recolour": 0.0,  # Strength for the image that E_p sees; 0: unchanged.
    # Where L_pairs counts, seen through the target's warp. "border": inside
    # the loaded image, with a linear ramp over mask_margin (in coordinates)
    # from its border; "imm": not in the outer 10 px (of 128) of the frame, then
    # a smooth step over 20, as IMM has it. Mean weight without a warp: 1, 0.47.
    "mask": "border",
    "mask_margin": 0.15,
  }

  config.stages = stages.cell(cycle=cycle, flow=flow)
  config.optimizer = {
    "weight_decay": 1e-4,  # L2 in the gradient.
    "decoupled": False,  # True: AdamW.
  }

  config.eval = {
    "batch_size": 100,
    # The checkpoint that --mode=eval takes; -1 is the best.
    "step": -1,
    # The file in eval/; "" is named after the dataset.
    "name": "",
    # Two indices of points whose distance is 100 %, "box" for the root of
    # the area of the box around them, or "image" for the side.
    "normaliser": (0, 1),
    # Penalty of additional regressions, with lengths in sides; 0: none.
    "ridge": 0.0,
    # Regression from so many annotated images, chosen `repeats` times.
    "few_shot": (1, 5, 10, 20, 50, 100, 500),
    "repeats": 10,
    # Also measure under seeded random similarity transforms of the images:
    # uniform in +-rotation degrees, +-scale, +-shift (of the image side).
    "perturb": False,
    # Landmarks that say nothing, in the first `images` training images;
    # lengths in sides of the image.
    "diagnostics": {
      "images": 500,
      "merged": 0.02,  # Two landmarks nearer than this, on average.
      "still": 0.01,  # A landmark whose deviation is less than this,
      "border": 0.04,  # or that is so near the border in most images.
    },
    "perturbation": {"seed": 0, "rotation": 20.0, "scale": 0.15, "shift": 0.1},
  }
  return config
