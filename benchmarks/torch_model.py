"""C3 in PyTorch, for comparison only: the paper's networks and stage cycle.

Written for speed, as one would write it in PyTorch; `torch_peer.py` prints its
first loss beside that of c3_jax.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Index of the ReLU after each, in torchvision's `features`.
TAPS = {"conv1_2": 3, "conv2_2": 8, "conv3_2": 13, "conv4_2": 20, "conv5_2": 27}


def torchvision_models():
  """`torchvision.models`, also beside a CPU build of torch."""
  try:
    import torchvision
  except RuntimeError as error:
    # torchvision's wheels hold CUDA operators, which a CPU build of torch can
    # not load; the import stops where it describes two of them, that no
    # classification network uses. Declaring them is enough.
    if "torchvision::nms" not in str(error):
      raise
    boxes = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms" + boxes)
    library.define("qnms" + boxes)
    import torchvision

    # The declarations last as long as this object.
    torchvision.declared_operators = library
  return torchvision.models


def normalise(images):
  """RGB in [0, 1], [b, 3, h, w], as ImageNet's networks want it."""
  mean = torch.tensor(MEAN, device=images.device).view(3, 1, 1)
  std = torch.tensor(STD, device=images.device).view(3, 1, 1)
  return (images - mean) / std


def centres(n, device):
  """Coordinates in [-1, 1] of the centres of n cells."""
  return (2 * torch.arange(n, device=device) + 1) / n - 1


def extractor(features=256):
  """Two 3x3 convolutions with ReLU on layer4."""
  return nn.Sequential(
    nn.Conv2d(2048, features, 3, padding=1),
    nn.ReLU(inplace=True),
    nn.Conv2d(features, features, 3, padding=1),
    nn.ReLU(inplace=True),
  )


class Decoder(nn.Module):
  """D at 16 x 16 -> 128 x 128: four blocks of two convolutions."""

  def __init__(self, k):
    super().__init__()
    channels, before = (256, 128, 64, 32), 256 + k
    self.blocks = nn.ModuleList()
    for features in channels:
      layers = []
      for inputs in (before, features):
        layers += [
          nn.Conv2d(inputs, features, 3, padding=1, bias=False),
          nn.BatchNorm2d(features),
          nn.ReLU(inplace=True),
        ]
      self.blocks.append(nn.Sequential(*layers))
      before = features
    self.image = nn.Conv2d(before, 3, 3, padding=1)

  def forward(self, a, p):
    x = torch.cat([a, p.to(a.dtype)], 1)
    for i, block in enumerate(self.blocks):
      if i:
        x = F.interpolate(
          x, scale_factor=2, mode="bilinear", align_corners=False
        )
      x = block(x)
    return self.image(x).float() + 0.5


class Flow(nn.Module):
  """The separable flow head, without gradients here: T by argmax."""

  def __init__(self, channels=(16, 16, 1), kernel=5):
    super().__init__()
    self.w2, self.w1 = nn.ModuleList(), nn.ModuleList()
    before = 1
    for features in channels:
      pad = {"kernel_size": kernel, "padding": kernel // 2}
      self.w2.append(nn.Conv2d(before, features, bias=False, **pad))
      self.w1.append(nn.Conv2d(features, features, **pad))
      before = features

  @staticmethod
  def mutual(c):
    """c [b, i, j]: soft mutual nearest neighbours."""
    return (
      c
      * (c / (c.amax(1, keepdim=True) + 1e-5))
      * (c / (c.amax(2, keepdim=True) + 1e-5))
    )

  def forward(self, fi, fj):
    """C^ [b, i, j] of f'_i, f'_j [b, c, h, w]."""
    b, _, h, w = fi.shape
    unit = [
      f.float().flatten(2)
      * torch.rsqrt((f.float().flatten(2) ** 2).sum(1, keepdim=True) + 1e-6)
      for f in (fi, fj)
    ]
    c = self.mutual(unit[0].transpose(1, 2) @ unit[1])
    x = torch.cat([c, c.transpose(1, 2)])[:, None]
    for w2, w1 in zip(self.w2, self.w1):
      # [b, f, i, j]: the cells of the other image join the batch.
      x = x.permute(0, 3, 1, 2).reshape(2 * b * h * w, -1, h, w)
      x = w2(x)
      features = x.shape[1]
      x = x.reshape(2 * b, h * w, features, h * w).permute(0, 3, 2, 1)
      x = w1(x.reshape(2 * b * h * w, features, h, w))
      x = x.reshape(2 * b, h * w, features, h * w).permute(0, 2, 1, 3)
      x = F.relu(x)
    x = x[:, 0].float()
    return self.mutual(x[:b] + x[b:].transpose(1, 2))


class C3(nn.Module):
  """N at output stride 8, E_a, E_p, D and the flow head."""

  def __init__(self, k):
    super().__init__()
    self.backbone = torchvision_models().resnet50(
      weights=None, replace_stride_with_dilation=(False, True, True)
    )
    self.backbone.fc = nn.Identity()
    self.appearance, self.pose = extractor(), extractor()
    self.maps = nn.Conv2d(256, k, 1)
    self.decoder, self.flow = Decoder(k), Flow()

  def features(self, images):
    """(f', f) of images [b, 3, h, w] in [0, 1]."""
    n = self.backbone
    x = n.maxpool(n.relu(n.bn1(n.conv1(normalise(images)))))
    layer3 = n.layer3(n.layer2(n.layer1(x)))
    return layer3, n.layer4(layer3)

  def landmarks(self, f):
    """(points [b, k, 2], maps [b, k, h, w])."""
    logits = self.maps(self.pose(f)).float()
    h, w = logits.shape[2:]
    probability = logits.flatten(2).softmax(-1).view_as(logits)
    x_cells, y_cells = centres(w, f.device), centres(h, f.device)
    x = (probability.sum(2) * x_cells).sum(-1)
    y = (probability.sum(3) * y_cells).sum(-1)
    sigma = 2 * 0.8 / h
    gx = torch.exp(-(((x_cells - x[..., None]) / sigma) ** 2))
    gy = torch.exp(-(((y_cells - y[..., None]) / sigma) ** 2))
    return torch.stack([x, y], -1), gy[..., :, None] * gx[..., None, :]


class VGG(nn.Module):
  """VGG16 up to conv5_2; frozen."""

  def __init__(self):
    super().__init__()
    features = torchvision_models().vgg16(weights=None).features
    self.layers = features[: max(TAPS.values()) + 1]
    self.requires_grad_(False)

  def forward(self, images):
    x = normalise(images)
    maps, names = {"input": x}, {end: name for name, end in TAPS.items()}
    for i, layer in enumerate(self.layers):
      x = layer(x)
      if i in names:
        maps[names[i]] = x
    return maps


def partner(x):
  """Exchanges 2m and 2m + 1."""
  return x.view(-1, 2, *x.shape[1:]).flip(1).reshape(x.shape)


def correspondence(c, h, w):
  """T by argmax over the cells of i, [b, h, w, 2], from C^ [b, i, j]."""
  best = c.argmax(1)
  x, y = centres(w, c.device)[best % w], centres(h, c.device)[best // w]
  return torch.stack([x, y], -1).view(-1, h, w, 2)


def pose_difference(p, q):
  """Squared error, mean over space, sum over k, both terms of a pair."""
  return 2 * ((p - q) ** 2).mean((2, 3)).sum(1).mean()


class Trainer:
  """Stage cycle: L_cycle + L_inv + L_equiv, Adam with L2."""

  def __init__(self, c3, vgg, *, dtype, learning_rate, weight_decay, compiled):
    self._c3, self._vgg, self._dtype = c3, vgg, dtype
    self._running = None
    moving = [p for n, p in c3.named_parameters() if not n.startswith("flow")]
    self._optimiser = torch.optim.Adam(
      moving, lr=learning_rate, weight_decay=weight_decay, fused=True
    )
    wrap = torch.compile if compiled else (lambda function: function)
    self._terms, self._points = wrap(self._loss_terms), wrap(self._detect)
    self._device = next(c3.parameters()).device.type

  def _autocast(self):
    return torch.autocast(
      self._device, self._dtype, enabled=self._dtype != torch.float32
    )

  def _loss_terms(self, images):
    c3 = self._c3
    f_flow, f = c3.features(images)
    _, maps = c3.landmarks(f)
    # Nothing of the first swapped images has a gradient (appendix).
    with torch.no_grad():
      swapped = c3.decoder(c3.appearance(f), partner(maps.detach()))
      c = c3.flow(f_flow[0::2], f_flow[1::2])
      h, w = f_flow.shape[2:]
      t_ij = correspondence(c, h, w)
      t_ji = correspondence(c.transpose(1, 2), h, w)
    _, f_again = c3.features(swapped)
    maps_again = partner(c3.landmarks(f_again)[1])
    output = c3.decoder(c3.appearance(f_again), maps_again)
    carry = {"align_corners": False, "padding_mode": "border"}
    p_i, p_j = maps[0::2], maps[1::2]
    equiv = pose_difference(p_i, F.grid_sample(p_j, t_ji, **carry))
    equiv = equiv + pose_difference(p_j, F.grid_sample(p_i, t_ij, **carry))
    with torch.no_grad():
      real = self._vgg(images)
    fake = self._vgg(output)
    distances = torch.stack(
      [((fake[t].float() - real[t].float()) ** 2).mean() for t in real]
    )
    return distances, pose_difference(maps_again, maps), equiv / 2

  def step(self, images):
    """One step on uint8 images [b, 3, h, w]; returns the loss."""
    images = images.float() / 255
    self._optimiser.zero_grad(set_to_none=True)
    with self._autocast():
      distances, inv, equiv = self._terms(images)
    now = distances.detach()
    self._running = (
      now if self._running is None else 0.99 * self._running + 0.01 * now
    )
    cycle = 2 * (distances / self._running.clamp(min=1e-6)).mean()
    loss = cycle + inv + equiv
    loss.backward()
    self._optimiser.step()
    return loss.detach()

  def _detect(self, images):
    return self._c3.landmarks(self._c3.features(images)[1])[0]

  @torch.inference_mode()
  def detect(self, images):
    """Landmarks [b, k, 2] of uint8 images [b, 3, h, w]."""
    self._c3.eval()
    with self._autocast():
      points = self._points(images.float() / 255)
    self._c3.train()
    return points


def copy_parameters(c3, vgg, params, vgg_params):
  """Gives the PyTorch networks the parameters of c3_jax's."""
  targets = dict(c3.named_parameters())
  for path, value in _flat(params).items():
    _copy(targets.pop(_name(path)), value)
  if targets:
    raise ValueError(f"nothing to copy into {sorted(targets)}")
  convolutions = [m for m in vgg.layers if isinstance(m, nn.Conv2d)]
  for layer, source in zip(convolutions, vgg_params.values(), strict=True):
    _copy(layer.weight, source["kernel"])
    _copy(layer.bias, source["bias"])


def _flat(tree, prefix=""):
  if not isinstance(tree, dict):
    return {prefix[1:]: tree}
  result = {}
  for key, value in tree.items():
    result |= _flat(value, f"{prefix}/{key}")
  return result


def _copy(target, value):
  value = np.array(value)
  if value.ndim == 4:
    value = value.transpose(3, 2, 0, 1)
  with torch.no_grad():
    target.copy_(torch.from_numpy(value))


def _name(path):
  """c3_jax's path of a parameter as the name in `C3`."""
  *modules, leaf = path.split("/")
  leaf = "bias" if leaf == "bias" else "weight"
  if modules[0] == "backbone" and modules[1].startswith("layer"):
    layer = modules[2].replace("downsample_conv", "downsample.0")
    layer = layer.replace("downsample_bn", "downsample.1")
    modules = ["backbone", modules[1].replace("_", "."), layer]
  elif modules[0] in ("appearance", "pose"):
    if modules[1] == "maps":
      modules = ["maps"]
    else:
      modules[1] = {"conv1": "0", "conv2": "2"}[modules[1]]
  elif modules[0] == "decoder" and modules[1] != "image":
    block, layer = modules[1].split("_")
    offset = 0 if layer.startswith("conv") else 1
    index = 3 * int(layer[-1]) + offset
    modules[1] = f"blocks.{block.removeprefix('block')}.{index}"
  elif modules[0] == "flow":
    modules = ["flow", modules[2], modules[1].removeprefix("layer")]
  return ".".join([*modules, leaf])
