"""The share of each part in a program's time."""

import jax
import jax.numpy as jnp
import pytest

from c3_jax.profiling import breakdown

_TEXT = """
HloModule jit_step

%fused (param_0: f32[8], param_1: f32[8]) -> f32[8] {
  %param_0 = f32[8]{0} parameter(0)
  %param_1 = f32[8]{0} parameter(1)
  ROOT %add.1 = f32[8]{0} add(%param_0, %param_1), metadata={op_name="jit(step)/jvp(C3.decode)/decoder/add"}
}

ENTRY %main (x: f32[8]) -> (f32[8], f32[8]) {
  %x = f32[8]{0} parameter(0), metadata={op_name="x"}
  %conv.1 = f32[8]{0} convolution(%x, %x), metadata={op_name="jit(step)/transpose(jvp(C3.features))/backbone/layer1_0/conv1/conv"}
  %conv.2 = f32[8]{0} convolution(%x, %conv.1), dim_labels=b01f_01io->b01f
  %fusion.1 = f32[8]{0} fusion(%conv.1, %conv.2), kind=kLoop, calls=%fused
  %sum.1 = f32[8]{0} all-reduce(%fusion.1), metadata={op_name="jit(step)/psum"}
  %map.1 = f32[8]{0} multiply(%sum.1, %x), metadata={op_name="jit(step)/jvp(appearance)/conv1/mul"}
  %loop.1 = f32[8]{0} while(%map.1), metadata={op_name="jit(step)/augmentation/while"}
  %loss.1 = f32[8]{0} negate(%x), metadata={op_name="jit(step)/neg"}
  ROOT %out = (f32[8]{0}, f32[8]{0}) tuple(%map.1, %loss.1)
}
"""  # noqa: E501


def test_an_instruction_belongs_to_the_part_in_its_path():
  """By its path, by what it fuses, by its operands; loops by their bodies."""
  parts = breakdown.instruction_parts(_TEXT)
  assert parts["conv.1"] == parts["conv.2"] == "backbone"
  assert parts["fusion.1"] == "decoder"
  assert parts["sum.1"] == "all-reduce"
  assert parts["map.1"] == "heads"
  assert parts["loss.1"] == breakdown.OTHER
  assert "loop.1" not in parts


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_part_that_works_most_has_the_largest_share():
  """Shares of a running program add up to 1 and follow the work."""

  def step(x):
    with jax.named_scope("augmentation"):
      x = jnp.sin(x @ x)
    with jax.named_scope("optimiser"):
      for _ in range(20):
        x = jnp.sin(x @ x)
    return x

  x = jnp.ones((256, 256))
  compiled = jax.jit(step).lower(x).compile()
  shares = breakdown.shares(compiled, lambda: compiled(x).block_until_ready())
  assert sum(shares.values()) == pytest.approx(1)
  assert shares["optimiser"] > 0.8 and shares["augmentation"] > 0
  assert shares["backbone"] == shares["all-reduce"] == 0
