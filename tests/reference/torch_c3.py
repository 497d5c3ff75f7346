"""A compact C3 in PyTorch: the forward pass and Eq. 1, 2 and 4, as an oracle.

Nothing is shared with c3_jax. Tensors are [b, c, h, w]; images lie in [0, 1];
points are (x, y) in [-1, 1] with -1 and 1 at the edges of the picture, which is
the convention of `grid_sample(align_corners=False)`.
"""

import torch
import torch.nn.functional as F
from torch import nn

from tests.reference import oracles


def extractor(inputs, features, outputs=0):
  """Two 3x3 convolutions with ReLU; a 1x1 convolution where asked for."""
  layers = [
    nn.Conv2d(inputs, features, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(features, features, 3, padding=1),
    nn.ReLU(),
  ]
  return nn.Sequential(
    *layers, *([nn.Conv2d(features, outputs, 1)] if outputs else [])
  )


class TorchC3(nn.Module):
  """N, E_a, E_p and D; the batch norms of N keep their statistics.

  Args:
    blocks: of each layer of the ResNet, bottlenecks.
    features: channels of E_a and E_p.
    channels: of each block of D.
    k: landmarks.
  """

  def __init__(self, *, blocks, output_stride, features, channels, k):
    super().__init__()
    library = oracles.torchvision_models().resnet
    self.backbone = library.ResNet(
      library.Bottleneck,
      list(blocks),
      replace_stride_with_dilation=oracles.dilation(output_stride),
    ).eval()
    self.appearance = extractor(2048, features)
    self.pose = extractor(2048, features, k)
    self.decoder, self.norms = nn.ModuleList(), nn.ModuleList()
    before = features + k
    for width in channels:
      for inputs in (before, width):
        conv = nn.Conv2d(inputs, width, 3, padding=1, bias=False)
        self.decoder.append(conv)
        self.norms.append(nn.BatchNorm2d(width))
      before = width
    self.image = nn.Conv2d(before, 3, 3, padding=1)

  def encode(self, images):
    """(a, p): the appearance map and the gaussian maps of the landmarks."""
    n, x = self.backbone, normalise(images)
    x = n.maxpool(n.relu(n.bn1(n.conv1(x))))
    f = n.layer4(n.layer3(n.layer2(n.layer1(x))))
    logits = self.pose(f)
    b, k, h, w = logits.shape
    probability = logits.flatten(2).softmax(-1).view(b, k, h, w)
    x, y = ((2 * torch.arange(n) + 1) / n - 1 for n in (w, h))
    x_mean = (probability.sum(2) * x).sum(-1)[..., None, None]
    y_mean = (probability.sum(3) * y).sum(-1)[..., None, None]
    # 0.8 of a cell, which is 2 / h wide.
    sigma = 0.8 * 2 / max(h, w)
    square = (x - x_mean) ** 2 + (y[:, None] - y_mean) ** 2
    return self.appearance(f), torch.exp(-square / sigma**2)

  def decode(self, a, p):
    """D: images of appearance and pose, by the statistics of this batch."""
    x = torch.cat([a, p], 1)
    for i, (conv, norm) in enumerate(zip(self.decoder, self.norms)):
      if i and i % 2 == 0:
        x = F.interpolate(x, scale_factor=2, mode="bilinear")
      norm.train()
      x = F.relu(norm(conv(x)))
    return self.image(x) + 0.5


def normalise(images):
  """ImageNet's zero mean and unit deviation."""
  mean, std = (
    torch.tensor(x, dtype=torch.float32)[:, None, None]
    for x in (oracles.MEAN, oracles.STD)
  )
  return (images - mean) / std


def losses(model, vgg, images, t_ij, t_ji, running):
  """Eq. 1, 2 and 4 of pairs; means over the pairs.

  Args:
    model: `TorchC3`.
    vgg: torchvision's `features`.
    images: [2 m, 3, H, W]; 2m and 2m + 1 are i and j of a pair.
    t_ij, t_ji: [m, h, w, 2]; at each cell of j its match in i, and of i in j.
    running: dict tap -> what the distance of the tap is divided by.

  Returns:
    (raw, cycle, inv, equiv): dict tap -> mean squared difference, scalars.
  """
  image_i, image_j = images[0::2], images[1::2]
  m = len(image_i)
  (a_i, p_i), (a_j, p_j) = model.encode(image_i), model.encode(image_j)
  # First swap: appearance of one, pose of the other; no gradient from here.
  swapped = model.decode(torch.cat([a_i, a_j]), torch.cat([p_j, p_i])).detach()
  (a_i2, p_j2), (a_j2, p_i2) = (
    model.encode(swapped[:m]),
    model.encode(swapped[m:]),
  )
  # Second swap: each appearance meets its own pose again.
  again = model.decode(torch.cat([a_i2, a_j2]), torch.cat([p_i2, p_j2]))
  maps = [
    oracles.vgg_taps(vgg, normalise(x))
    for x in (torch.cat([image_i, image_j]), again)
  ]
  square = {tap: (maps[0][tap] - maps[1][tap]) ** 2 for tap in running}
  raw = {tap: x.mean() for tap, x in square.items()}
  cycle = 0
  for part in (slice(0, m), slice(m, None)):
    ratios = [square[tap][part].mean() / running[tap] for tap in running]
    cycle = cycle + sum(ratios) / len(ratios)

  def difference(p, q):
    return ((p - q) ** 2).mean((2, 3)).sum(1).mean()

  inv = difference(p_i2, p_i) + difference(p_j2, p_j)
  carry = lambda p, t: F.grid_sample(  # noqa: E731
    p, t, padding_mode="border", align_corners=False
  )
  equiv = difference(p_i, carry(p_j, t_ji)) + difference(p_j, carry(p_i, t_ij))
  return raw, cycle, inv, equiv


def variables(model):
  """E_a, E_p and D under the names of c3_jax: {"params", "batch_stats"}."""

  def conv(layer):
    kernel = layer.weight.detach().permute(2, 3, 1, 0).numpy()
    if layer.bias is None:
      return {"kernel": kernel}
    return {"kernel": kernel, "bias": layer.bias.detach().numpy()}

  a, p = model.appearance, model.pose
  decoder, statistics = {"image": conv(model.image)}, {}
  for i, (layer, norm) in enumerate(zip(model.decoder, model.norms)):
    block = f"block{i // 2}"
    decoder[f"{block}_conv{i % 2}"] = conv(layer)
    decoder[f"{block}_norm{i % 2}"] = {
      "scale": norm.weight.detach().numpy(),
      "bias": norm.bias.detach().numpy(),
    }
    statistics[f"{block}_norm{i % 2}"] = {
      # Copies: PyTorch moves its own.
      "mean": norm.running_mean.numpy().copy(),
      "var": norm.running_var.numpy().copy(),
    }
  return {
    "params": {
      "appearance": {"conv1": conv(a[0]), "conv2": conv(a[2])},
      "pose": {"conv1": conv(p[0]), "conv2": conv(p[2]), "maps": conv(p[4])},
      "decoder": decoder,
    },
    "batch_stats": {"decoder": statistics},
  }
