"""Settings of a run: the paper's, small ones, and how a config is chosen.

A config file needs this room alone, so that a copy of it works anywhere. One of
your own may start from another:

  config = settings.load("celeba:k=10").unlock()
"""

from c3_jax.settings.arguments import parse
from c3_jax.settings.base import paper
from c3_jax.settings.find import load
from c3_jax.settings.small import (
  from_scratch,
  learn_finely,
  learn_longer,
  quick,
  shrink,
  trained_vgg,
)
from c3_jax.settings.stages import select, terms
