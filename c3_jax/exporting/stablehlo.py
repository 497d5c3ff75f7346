"""A detector as StableHLO: bytes that JAX runs without this package."""

import jax
import jax.export


def dump(detect, size, dtype):
  """Serialises a function images -> (points, confidence), weights inside.

  It runs on CPUs, GPUs and TPUs, on any number of images.
  """
  (n,) = jax.export.symbolic_shape("n")
  images = jax.ShapeDtypeStruct((n, size, size, 3), dtype)
  # The name stays in the file, by which it is known again.
  detect.__name__ = "c3_jax_detect"
  exported = jax.export.export(
    jax.jit(detect), platforms=("cpu", "cuda", "tpu")
  )(images)
  return bytes(exported.serialize())


def load(data):
  """Makes the function images -> (points, confidence) of these bytes."""
  return jax.jit(jax.export.deserialize(bytearray(data)).call)
