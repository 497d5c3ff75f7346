"""The command that ports weights: kinds of files, and hostile ones."""

import hashlib
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch

from c3_jax import port_weights
from c3_jax.errors import UserError
from c3_jax.models import porting
from tests.conftest import ROOT
from tests.reference.golden import weights


class RunsCode:
  """Pickled, it makes a folder when it is read."""

  def __init__(self, path):
    self._path = str(path)

  def __reduce__(self):
    return os.mkdir, (self._path,)


@pytest.fixture(scope="module")
def vgg16():
  """(state dict of tensors with a classifier, the variables it must become)."""
  state = weights.state("vgg16")
  module, table = porting.NETWORKS["vgg16"]
  variables = porting.port(state, module, table, origin="test", title="vgg16")
  state = {name: torch.tensor(value) for name, value in state.items()}
  return state | {"classifier.6.bias": torch.zeros(1000)}, variables


def save(state, path):
  """Writes a state dict in the format that the name asks for."""
  if path.suffix == ".safetensors":
    safetensors.torch.save_file(state, path)
  else:
    torch.save(state, path)
  return path


@pytest.mark.parametrize("name", ["vgg16.safetensors", "vgg16.pth"])
def test_both_formats(vgg16, tmp_path, name):
  """.safetensors and .pth give the same variables; the hash is the file's."""
  state, want = vgg16
  path = save(state, tmp_path / name)
  got, about = port_weights.port_file(path, "vgg16")
  assert got.keys() == want.keys()
  for key, value in want.items():
    np.testing.assert_array_equal(got[key], value)
  digest = hashlib.sha256(path.read_bytes()).hexdigest()
  assert about["source_sha256"] == digest
  assert (about["network"], about["source"]) == ("vgg16", name)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_from_data_parallel(tmp_path, suffix, dtype):
  """Half precision and a `module.` prefix are read, in both formats."""
  value = torch.linspace(-1, 1, 6)
  state = {"module.conv1.weight": value.to(dtype)}
  got = port_weights.read(save(state, tmp_path / f"x{suffix}"))
  want = value.to(dtype).float().numpy()
  np.testing.assert_array_equal(
    np.asarray(got["module.conv1.weight"], np.float32), want
  )


@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_training_checkpoints(tmp_path, key):
  """A state dict inside a checkpoint of a training is found."""
  state = {key: {"conv1.weight": torch.ones(2)}, "epoch": 3}
  got = port_weights.read(save(state, tmp_path / "x.pth"))
  assert list(got) == ["conv1.weight"]


@pytest.mark.parametrize("kind", ["zip", "pickle", "tensors and code"])
def test_a_pickle_that_runs_code_is_refused_unrun(tmp_path, kind):
  """Nothing of the file runs; the message says so."""
  mark, path = tmp_path / "it_ran", tmp_path / "weights.pth"
  if kind == "pickle":
    path.write_bytes(pickle.dumps(RunsCode(mark)))
  elif kind == "zip":
    torch.save(RunsCode(mark), path)
  else:
    torch.save({"conv1.weight": torch.ones(1), "bn1": RunsCode(mark)}, path)
  with pytest.raises(UserError, match="weights.pth .*nothing of it was run"):
    port_weights.read(path)
  assert not mark.exists()
  # To read it in full does run it.
  if kind == "pickle":
    pickle.loads(path.read_bytes())
  else:
    torch.load(path, weights_only=False)
  assert mark.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.99])
def test_cut_off_files(tmp_path, suffix, share):
  """A file that is not whole gets one line that names it."""
  path = save({"a": torch.ones(1000)}, tmp_path / f"x{suffix}")
  content = path.read_bytes()
  path.write_bytes(content[: int(share * len(content))])
  with pytest.raises(UserError, match=rf"x\{suffix} is ") as error:
    port_weights.read(path)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.ones(2)])
def test_files_of_something_else(tmp_path, content):
  """A list, numbers, a bare tensor: no state dict, and the line says so."""
  path = save(content, tmp_path / "x.pth")
  with pytest.raises(UserError, match="x.pth is not a sound file of a state"):
    port_weights.read(path)


@pytest.mark.parametrize(
  "name, message", [("no.pth", "is not a file"), ("w.npz", "neither")]
)
def test_wrong_paths(tmp_path, name, message):
  """A file that is not there, or of a format that is not read."""
  (tmp_path / "w.npz").write_bytes(b"x")
  with pytest.raises(UserError, match=f"{name} .*{message}|{name} {message}"):
    port_weights.read(tmp_path / name)


def test_without_pytorch(tmp_path, monkeypatch):
  """.pth then says what is missing; .safetensors needs nothing."""
  state = {"a": torch.ones(2)}
  paths = [save(state, tmp_path / name) for name in ("x.pth", "x.safetensors")]
  monkeypatch.setitem(sys.modules, "torch", None)
  with pytest.raises(UserError, match="x.pth .*PyTorch.*pip install torch"):
    port_weights.read(paths[0])
  assert list(port_weights.read(paths[1])) == ["a"]


def test_an_old_pytorch_is_not_trusted(tmp_path, monkeypatch):
  """Before 2.6 a pickle could run programs in spite of weights_only."""
  monkeypatch.setattr(torch, "__version__", "2.5.1+cpu")
  path = tmp_path / "x.pth"
  path.write_bytes(b"never looked at")
  with pytest.raises(UserError, match="update it to 2.6"):
    port_weights.read(path)


def test_numbers_that_numpy_lacks_are_named(tmp_path):
  """Weights of 8 bits are no weights of a published network."""
  path = tmp_path / "x.safetensors"
  safetensors.torch.save_file(
    {"a": torch.zeros(2).to(torch.float8_e4m3fn)}, path
  )
  with pytest.raises(UserError, match="of a type that cannot be read"):
    port_weights.read(path)


def run(*arguments):
  """The command as a user types it: (status, stdout, stderr)."""
  done = subprocess.run(
    [sys.executable, "-m", "c3_jax.port_weights", *arguments],
    cwd=ROOT,
    env=os.environ | {"JAX_PLATFORMS": "cpu"},
    capture_output=True,
    text=True,
  )
  return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_command(vgg16, tmp_path):
  """The files of a folder, or one line and no folder."""
  file = str(save(vgg16[0], tmp_path / "vgg16-abc.safetensors"))
  out = tmp_path / "ported"
  # The first fits, the second does not: nothing is written.
  status, stdout, stderr = run(
    f"--vgg16={file}", f"--resnet50={file}", f"--out={out}"
  )
  assert (status, stdout) == (2, "")
  (line,) = stderr.splitlines()
  assert "vgg16-abc.safetensors holds no resnet50" in line
  assert "--vgg16" in line and not out.exists()

  status, stdout, stderr = run(f"--vgg16={file}", f"--out={out}")
  assert (status, stderr) == (0, "")
  assert stdout == (
    f"{out}/vgg16.safetensors: 14,714,688 numbers from vgg16-abc.safetensors\n"
  )
  about = json.loads((out / "vgg16.json").read_text())
  assert about.keys() == {"network", "source", "source_sha256", "date"}
  assert {path.name for path in out.iterdir()} == {
    "vgg16.json",
    "vgg16.safetensors",
  }
