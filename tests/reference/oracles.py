"""PyTorch's side of the parity tests: torchvision's networks and their maps.

Images are [b, H, W, 3] in [0, 1], maps [b, h, w, c]: both as ours, NumPy.
"""

import numpy as np
import torch

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


def import_torchvision():
  """Imports torchvision, also with a CPU build of torch."""
  try:
    import torchvision
  except RuntimeError as error:
    # torchvision's wheels hold CUDA operators, which a CPU build of torch
    # cannot load; the import stops where it describes two of them, which no
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
  return torchvision


def torchvision_models():
  """Imports `torchvision.models`; call its networks with `weights=None`."""
  return import_torchvision().models


def dilation(output_stride):
  """Gives `replace_stride_with_dilation` for output stride 32, 16 or 8."""
  return [False, output_stride < 16, output_stride < 32]


def randomise(model):
  """Gives batch norms and biases values that a test can see."""
  for module in model.modules():
    if isinstance(module, torch.nn.BatchNorm2d):
      torch.nn.init.uniform_(module.weight, 0.5, 1.5)
      torch.nn.init.normal_(module.bias, std=0.2)
      torch.nn.init.normal_(module.running_mean, std=0.2)
      torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    elif isinstance(module, torch.nn.Conv2d):
      torch.nn.init.kaiming_normal_(module.weight)
      if module.bias is not None:
        torch.nn.init.normal_(module.bias, std=0.3)
  return model


def resnet50(output_stride=32, state=None):
  """Makes a ResNet-50 for evaluation, random or from a state dict."""
  model = torchvision_models().resnet50(
    weights=None, replace_stride_with_dilation=dilation(output_stride)
  )
  if state is None:
    randomise(model)
  else:
    model.load_state_dict(state)
  return model.eval()


def vgg_features(arch):
  """Makes random `features` of "vgg16" or "vgg19", without the classifier.

  The classifier has most of the weights and is not compared.
  """
  library = torchvision_models().vgg
  layers = library.make_layers(library.cfgs[{"vgg16": "D", "vgg19": "E"}[arch]])
  return randomise(layers).requires_grad_(False)


def numpy_state(model, prefix=""):
  """Gives a module's state dict as NumPy arrays, a prefix before each name."""
  return {f"{prefix}{k}": v.numpy() for k, v in model.state_dict().items()}


def to_torch(images):
  """Turns images into torchvision's input: normalised, [b, 3, H, W]."""
  x = torch.as_tensor((images - MEAN) / STD, dtype=torch.float32)
  return x.permute(0, 3, 1, 2)


def to_numpy(x):
  """Turns a map [b, c, h, w] of PyTorch into ours."""
  return x.detach().permute(0, 2, 3, 1).numpy()


def resnet_layers(model, images):
  """Runs torchvision's ResNet: dict layer1 .. layer4 -> map."""
  maps, hooks = {}, []
  for name in ("layer1", "layer2", "layer3", "layer4"):

    def keep(module, args, out, name=name):
      maps[name] = to_numpy(out)

    hooks.append(getattr(model, name).register_forward_hook(keep))
  with torch.no_grad():
    model(to_torch(images))
  for hook in hooks:
    hook.remove()
  return maps


def vgg_taps(features, x, taps=None):
  """Computes maps of torchvision's `features` after their ReLU.

  Args:
    features: of `vgg_features`.
    x: normalised images [b, 3, H, W].
    taps: our names of the maps; all by default. Nothing beyond the last of
      them is computed.

  Returns:
    dict "input", "convB_I" -> map [b, c, h, w].
  """
  maps, block, count = {"input": x}, 1, 0
  for layer in features:
    x = layer(x)
    if isinstance(layer, torch.nn.Conv2d):
      count += 1
    elif isinstance(layer, torch.nn.ReLU):
      name = f"conv{block}_{count}"
      if taps is None or name in taps:
        maps[name] = x
      if taps is not None and all(tap in maps for tap in taps):
        break
    else:
      block, count = block + 1, 0
  return maps
