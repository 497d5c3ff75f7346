"""Synthetic faces: an exact world, in which every correspondence is known."""

from c3_jax.data.synthetic.faces import (
  Faces as Faces,
)
from c3_jax.data.synthetic.faces import (
  dataset as dataset,
)
from c3_jax.data.synthetic.faces import (
  points as points,
)
from c3_jax.data.synthetic.faces import (
  poses as poses,
)
