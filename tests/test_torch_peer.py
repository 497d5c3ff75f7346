"""The PyTorch peer of the benchmark computes what c3_jax computes."""

import importlib.util
import pathlib
import sys

import jax
import numpy as np
import pytest

from c3_jax import build, objectives, steps
from configs import common

_BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def torch_model(torchvision_models, monkeypatch):
  """The module `benchmarks/torch_model.py`."""
  monkeypatch.syspath_prepend(str(_BENCHMARKS))
  sys.modules.pop("torch_model", None)
  spec = importlib.util.spec_from_file_location(
    "torch_model", _BENCHMARKS / "torch_model.py"
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module
