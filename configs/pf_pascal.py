"""PF-PASCAL, semantic alignment: the paper's Table 3.

  python -m c3_jax.main --config=configs/pf_pascal.py \
    --config.data.root=PF_PASCAL --workdir=runs/pf_pascal

Give the ported ImageNet weights (docs/weights.md): from random features there
is nothing to match. docs/data.md says what PF_PASCAL holds.

Expected, PCK@0.1 of the kind "scnet", % (Table 3; not reproduced by us yet):

  flow alone               78.5
  landmarks                80.1
  kernel4d                 78.9, NC-Net (on ResNet-101; ours on ResNet-50)

Users of NC-Net's code report 74.8 to 77.3 over repeated runs: take several
seeds. A third of the public test pairs are also training pairs; the report has
PCK without them too.

Arguments:
  landmarks     with E_a, E_p and D: L_cycle, L_inv and L_equiv added to the
                flow's own loss; the gradient of L_equiv reaches the flow head
                and f' through a soft T. Our definition, the paper gives none
  kernel4d      NC-Net's 4-D convolutions instead of the separable ones
  k=10          number of landmarks
  test          a small network on a few drawn pairs, seconds

Five epochs at 5e-4 with the features fixed are stage `flow`, five more at 1e-5
with everything moving are stage `cycle`: the last stage has that name whatever
its terms, as in the cells of Table 2 without L_cycle. With landmarks, stage
`pairs` before them teaches E_a, E_p and D on fixed features.

Cost: 2,940 listed pairs (with flips) an epoch, 184 steps of 16 pairs at
400 x 400. 81 GFLOP a pair says the paper, for the separable flow; see
docs/performance.md for ours.
"""

from c3_jax import settings


def get_config(argument=""):
  """Makes the config of an argument such as "landmarks,k=10"."""
  chosen, values = settings.parse(
    argument, variants=("landmarks", "kernel4d", "test"), k=10
  )
  config = settings.paper(**values, cycle=True, flow=True)
  config.data.update({"name": "pf_pascal", "image_size": 400, "load_size": 400})
  # f' = layer3, f = layer4, both 25 x 25.
  config.model.backbone.output_stride = 16
  config.model.flow.separable = "kernel4d" not in chosen
  config.batch_size = 32  # NC-Net: 16 pairs.
  config.log_every, config.checkpoint_every = 23, 184
  config.eval.batch_size = 16
  config.optimizer.weight_decay = 0.0  # NC-Net has none.
  # Listed pairs against the target of the neighbouring pair.
  config.objective.natural_positives = True
  if "test" in chosen:
    settings.shrink(config, image_size=16, load_size=16)
    settings.quick(config)
    config.data.update({"load_size": 16, "example": 24})
    config.batch_size = 16
  else:
    config.stages.flow.epochs = 5.0
    config.stages.cycle.epochs = 5.0
  last = config.stages.cycle
  last.learning_rate = 1e-5
  if "landmarks" in chosen:
    config.objective.hard_flow = False
    if "test" not in chosen:
      config.stages.pairs.epochs = 20.0
    config.stages.pairs.train = ("appearance", "pose", "decoder")
    last.train = (*last.train, "flow")
    last.weights.flow = 1.0
  else:
    settings.select(config, "flow+cycle")
    last.train = ("backbone", "flow")
    last.weights = settings.terms(flow=1)
  return config.lock()
