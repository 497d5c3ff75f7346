"""C3 in PyTorch: the paper's networks and Eq. 1, 2 and 4.

The oracle of the tests and the peer of the benchmarks, written as one would
write it in PyTorch; nothing is shared with c3_jax. Images are [b, 3, H, W] in
[0, 1], maps [b, c, h, w]; points are (x, y) in [-1, 1] with -1 and 1 at the
edges of the image, as in `grid_sample(align_corners=False)`. Images 2m and
2m + 1 are i and j of a pair.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.reference import oracles


def normalise(images):
  """Normalises RGB in [0, 1] to ImageNet's zero mean and unit deviation."""
  mean, std = (
    torch.tensor(x, dtype=torch.float32, device=images.device).view(3, 1, 1)
    for x in (oracles.MEAN, oracles.STD)
  )
  return (images - mean) / std


def centres(n, device):
  """Gives the coordinates in [-1, 1] of the centres of n cells: [n]."""
  return (2 * torch.arange(n, device=device) + 1) / n - 1


def extractor(inputs, features, outputs=0):
  """Makes two 3x3 convolutions with ReLU, and a 1x1 one to `outputs` maps."""
  layers = [
    nn.Conv2d(inputs, features, 3, padding=1),
    nn.ReLU(inplace=True),
    nn.Conv2d(features, features, 3, padding=1),
    nn.ReLU(inplace=True),
  ]
  if outputs:
    layers.append(nn.Conv2d(features, outputs, 1))
  return nn.Sequential(*layers)


class Decoder(nn.Module):
  """D: blocks of two convolutions, every one but the first after a x2."""

  def __init__(self, inputs, channels):
    super().__init__()
    self.blocks = nn.ModuleList()
    for features in channels:
      layers = []
      for before in (inputs, features):
        layers += [
          nn.Conv2d(before, features, 3, padding=1, bias=False),
          nn.BatchNorm2d(features),
          nn.ReLU(inplace=True),
        ]
      self.blocks.append(nn.Sequential(*layers))
      inputs = features
    self.image = nn.Conv2d(inputs, 3, 3, padding=1)

  def forward(self, a, p):
    x = torch.cat([a, p.to(a.dtype)], 1)
    for i, block in enumerate(self.blocks):
      if i:
        x = F.interpolate(x, scale_factor=2, mode="bilinear")
      x = block(x)
    return self.image(x).float() + 0.5


class Flow(nn.Module):
  """The separable flow head: f'_i and f'_j to C^ [b, i, j] (Eq. 3)."""

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
    """Applies soft mutual nearest neighbours to c [b, i, j]."""
    return (
      c
      * (c / (c.amax(1, keepdim=True) + 1e-5))
      * (c / (c.amax(2, keepdim=True) + 1e-5))
    )

  def forward(self, fi, fj):
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
  """N, E_a, E_p, D and the flow head, as in the paper by default.

  Args:
    k: landmarks.
    blocks: bottlenecks in each layer of the ResNet.
    output_stride: of layer4.
    features: channels of E_a and E_p.
    channels: of each block of D.
  """

  def __init__(
    self,
    k,
    *,
    blocks=(3, 4, 6, 3),
    output_stride=8,
    features=256,
    channels=(256, 128, 64, 32),
  ):
    super().__init__()
    library = oracles.torchvision_models().resnet
    self.backbone = library.ResNet(
      library.Bottleneck,
      list(blocks),
      replace_stride_with_dilation=oracles.dilation(output_stride),
    )
    self.backbone.fc = nn.Identity()
    self.appearance = extractor(2048, features)
    self.pose = extractor(2048, features, k)
    self.decoder, self.flow = Decoder(features + k, channels), Flow()

  def features(self, images):
    """Computes (f', f), the outputs of layer3 and layer4."""
    n = self.backbone
    x = n.maxpool(n.relu(n.bn1(n.conv1(normalise(images)))))
    layer3 = n.layer3(n.layer2(n.layer1(x)))
    return layer3, n.layer4(layer3)

  def landmarks(self, f):
    """Computes points [b, k, 2] and gaussian maps p [b, k, h, w]."""
    logits = self.pose(f).float()
    h, w = logits.shape[2:]
    probability = logits.flatten(2).softmax(-1).view_as(logits)
    x_cells, y_cells = centres(w, f.device), centres(h, f.device)
    x = (probability.sum(2) * x_cells).sum(-1)
    y = (probability.sum(3) * y_cells).sum(-1)
    # 0.75 of a cell, which is 2 / h wide.
    sigma = 2 * 0.75 / max(h, w)
    gx = torch.exp(-(((x_cells - x[..., None]) / sigma) ** 2))
    gy = torch.exp(-(((y_cells - y[..., None]) / sigma) ** 2))
    return torch.stack([x, y], -1), gy[..., :, None] * gx[..., None, :]


def partner(x):
  """Exchanges 2m and 2m + 1."""
  return x.view(-1, 2, *x.shape[1:]).flip(1).reshape(x.shape)


def correspondence(c, h, w):
  """Matches by argmax: C^ [b, i, j] to T^{i->j} [b, h, w, 2], a pull map."""
  best = c.argmax(1)
  x, y = centres(w, c.device)[best % w], centres(h, c.device)[best // w]
  return torch.stack([x, y], -1).view(-1, h, w, 2)


def pose_difference(p, q):
  """Sums squared errors of maps over k: both terms of a pair, mean of space."""
  return 2 * ((p - q) ** 2).mean((2, 3)).sum(1).mean()


def losses(model, vgg, images, taps, matches=None):
  """Computes the parts of Eq. 1, and Eq. 2 and 4, as means over the pairs.

  Args:
    model: `C3`.
    vgg: torchvision's `features`.
    images: [2 m, 3, H, W].
    taps: names of the maps that are compared.
    matches: (T^{i->j}, T^{j->i}), [m, h, w, 2] each, in place of those that
      the flow head finds.

  Returns:
    (raw, inv, equiv): dict tap -> mean squared difference, and two scalars.
  """
  f_flow, f = model.features(images)
  _, maps = model.landmarks(f)
  # First swap: appearance of one, pose of the other; no gradient from here.
  with torch.no_grad():
    swapped = model.decoder(model.appearance(f), partner(maps))
    if matches is None:
      c = model.flow(f_flow[0::2], f_flow[1::2])
      size = f_flow.shape[2:]
      matches = [correspondence(x, *size) for x in (c, c.transpose(1, 2))]
    real = oracles.vgg_taps(vgg, normalise(images), taps)
  # Second swap: each appearance meets its own pose again.
  _, f_again = model.features(swapped)
  maps_again = partner(model.landmarks(f_again)[1])
  output = model.decoder(model.appearance(f_again), maps_again)
  fake = oracles.vgg_taps(vgg, normalise(output), taps)
  raw = {t: ((fake[t].float() - real[t].float()) ** 2).mean() for t in taps}
  carry = {"align_corners": False, "padding_mode": "border"}
  (p_i, p_j), (t_ij, t_ji) = (maps[0::2], maps[1::2]), matches
  equiv = pose_difference(p_i, F.grid_sample(p_j, t_ji, **carry))
  equiv = equiv + pose_difference(p_j, F.grid_sample(p_i, t_ij, **carry))
  return raw, pose_difference(maps_again, maps), equiv / 2


def cycle(raw, running):
  """Computes Eq. 1 of both images of a pair from `raw` and running means."""
  return 2 * torch.stack([raw[tap] / running[tap] for tap in raw]).mean()


def variables(model, paths):
  """Reads a model's tensors under c3_jax's paths: dict path -> array."""
  state = model.state_dict()
  return {
    path: _layout(state[_name(path)].numpy(), back=True) for path in paths
  }


def assign(model, variables):
  """Gives a model c3_jax's variables: dict path -> array, nothing missing."""
  state = {
    _name(path): torch.tensor(_layout(np.asarray(value)))
    for path, value in variables.items()
  }
  missing, unexpected = model.load_state_dict(state, strict=False)
  missing = [name for name in missing if not name.endswith("batches_tracked")]
  if missing or unexpected:
    raise ValueError(f"missing {missing}, unexpected {unexpected}")


def _layout(value, back=False):
  """[h, w, in, out] of a kernel to [out, in, h, w], or back; a copy."""
  if value.ndim == 4:
    value = value.transpose((2, 3, 1, 0) if back else (3, 2, 0, 1))
  return value.copy()


def _name(path):
  """Names the variable "params/MODULE/../LEAF" of c3_jax in `C3`."""
  _, *modules, leaf = path.split("/")
  leaf = {
    **{"kernel": "weight", "scale": "weight", "bias": "bias"},
    **{"mean": "running_mean", "var": "running_var"},
  }[leaf]
  if modules[0] == "backbone" and modules[1].startswith("layer"):
    modules[1] = modules[1].replace("_", ".")
    modules[2] = modules[2].replace("downsample_conv", "downsample.0")
    modules[2] = modules[2].replace("downsample_bn", "downsample.1")
  elif modules[0] in ("appearance", "pose"):
    modules[1] = {"conv1": "0", "conv2": "2", "maps": "4"}[modules[1]]
  elif modules[0] == "decoder" and modules[1] != "image":
    block, layer = modules[1].removeprefix("block").split("_")
    index = 3 * int(layer[-1]) + layer.startswith("norm")
    modules[1] = f"blocks.{block}.{index}"
  elif modules[0] == "flow":
    modules = ["flow", modules[2], modules[1].removeprefix("layer")]
  return ".".join([*modules, leaf])
