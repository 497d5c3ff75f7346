"""What a checkpoint holds: arrays by name, notes, a digest of both."""

import hashlib
import json
import re

import jax
import numpy as np


def by_name(tree):
  """Flattens a tree of any containers: dict "params/pose/..." -> leaf."""
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in jax.tree.leaves_with_path(tree)
  }


def older_name(name):
  """Names a leaf as older checkpoints do: all terms shared running/TAP."""
  return re.sub("^running/[^/]+/", "running/", name)


def digest(arrays, notes):
  """Digests arrays by name, and their notes: hexadecimal."""
  result = hashlib.blake2b(digest_size=16)
  rest = {name: notes[name] for name in notes if name != "digest"}
  result.update(json.dumps(rest, sort_keys=True).encode())
  for name in sorted(arrays):
    array = np.ascontiguousarray(arrays[name])
    result.update(f"{name} {array.dtype} {array.shape}".encode())
    result.update(array.data)
  return result.hexdigest()
