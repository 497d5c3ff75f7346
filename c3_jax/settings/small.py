"""Changes to the paper's settings for small networks and short runs."""

from ml_collections import ConfigDict

from c3_jax.settings.stages import STAGES


def from_scratch(config: ConfigDict) -> None:
  """Adds the terms that networks without ImageNet weights need.

  L_warp, which landmarks that encode a colour cannot satisfy; L_apart, which
  keeps landmarks from collapsing; other colours for E_p than for the decoder.
  """
  config.augment.recolour = 0.4
  config.augment.source.rotation = 15.0
  for name in ("pairs", "cycle"):
    config.stages[name].weights.update(warp=1.0, apart=0.5)


def shrink(config: ConfigDict, *, image_size: int, load_size: int) -> None:
  """Turns the paper's config into one that learns on two CPU cores.

  What mattered, in this order: an appearance map averaged over space, so that
  only the landmarks can say where things are; `from_scratch`; standardised
  logits with a low gain; wide gaussians; small batches, many steps.
  """
  config.data.image_size, config.data.load_size = image_size, load_size
  config.batch_size = 16
  config.model.backbone.update(
    stage_sizes=(1, 1, 1, 1),
    width=16,
    widths=(16, 32, 32, 64),
    bottleneck=False,
    stem="small",
    output_stride=4,
  )
  config.model.appearance.update(
    features=32, pool=True, norm="batch", init_std=0.0
  )
  config.model.pose.update(features=32, gain=2.0, sigma=1.5, init_std=0.0)
  config.model.decoder.update(channels=64, min_channels=16, init_std=0.0)
  config.model.flow.update(channels=(8, 1), kernel=3)
  # The outermost cell of maps with a cell for every four pixels.
  config.eval.diagnostics.border = 2.08 / image_size
  # conv4_2 and conv5_2 would see maps of 4 and 2 cells.
  config.perceptual.update(
    width=0.125, taps=("input", "conv1_2", "conv2_2", "conv3_2")
  )
  # A spline on 100 control points costs more than the small network.
  config.augment.control_points = 4
  config.optimizer.weight_decay = 0.0
  for name in STAGES:
    config.stages[name].learning_rate = 2e-3
  from_scratch(config)


def learn_longer(config: ConfigDict, *, average: float) -> None:
  """Changes a small config for thousands of steps of stage `pairs`.

  The mask leaves the border of an image unexplained: the object fills its
  middle. Known warps teach the flow in `pairs`; in `cycle` they keep a head up
  that would fall behind a moving backbone.

  Args:
    config: of `shrink`.
    average: decay of the running mean of the parameters; it does what a drop
      of the rate would, and needs no end to be known.
  """
  config.augment.mask, config.average = "imm", average
  config.objective.update(flow_reach=2, flow_temperature=0.1)
  for name, weight in (("pairs", 0.5), ("cycle", 0.25)):
    stage = config.stages[name]
    stage.weights.match = weight
    stage.train += ("flow",)


def learn_finely(config: ConfigDict, *, average: float) -> None:
  """Changes a small config at 64 px to learn landmarks first, then the flow.

  Stage `pairs` leaves out L_match for its time. In stage `flow` everything goes
  on and L_match and L_chain teach the flow, on means of 2 x 2 cells: on all 256
  the correlations would have 16 times as many entries.

  Args:
    config: of `shrink`.
    average: as in `learn_longer`.
  """
  learn_longer(config, average=average)
  config.model.flow_pool = 2
  config.objective.update(flow_reach=1, flow_temperature=0.2, flow_smooth=0.7)
  pairs, flow = config.stages.pairs, config.stages.flow
  flow.weights.update(pairs.weights)
  flow.weights.chain = 0.5
  flow.train = pairs.train
  # Without L_match nothing teaches the flow.
  pairs.weights.match, pairs.train = 0.0, pairs.train[:-1]


def trained_vgg(config: ConfigDict) -> None:
  """Sets the perceptual distance to a trained VGG, in folder `weights`.

  In a small network its convolutions see 32 px, for their time: its channels
  are eight times as many as those of the random one.
  """
  config.weights.vgg = "weights"
  if config.perceptual.width < 1:
    config.perceptual.update(
      width=1.0,
      taps=(*config.perceptual.taps, "conv4_2"),
      reduce=max(1, config.data.image_size // 32),
    )


def quick(config: ConfigDict) -> None:
  """Turns a small config into one that passes all stages in seconds."""
  config.data.update(image_size=16, load_size=20)
  config.batch_size, config.eval.batch_size = 8, 20
  config.log_every, config.checkpoint_every = 2, 4
  for name in STAGES:
    config.stages[name].update(steps=10, epochs=0.0)
