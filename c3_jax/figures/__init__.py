"""PNG figures of a run, and landmarks drawn over image files.

`draw_run` draws all figures of a run; `grids` and `curves` hold them one by
one, `canvas` their parts, `overlay` the drawings over files. This room imports
matplotlib: import it inside the function that draws.
"""

from c3_jax.figures.canvas import landmark_colours
from c3_jax.figures.curves import curves_figure, error_curve_figure
from c3_jax.figures.draw import draw_run
from c3_jax.figures.grids import (
  landmarks_figure,
  swap_figure,
  template_figure,
  transfer_figure,
)

__all__ = [
  "curves_figure",
  "draw_run",
  "error_curve_figure",
  "landmark_colours",
  "landmarks_figure",
  "swap_figure",
  "template_figure",
  "transfer_figure",
]
