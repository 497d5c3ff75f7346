"""PNG figures of a run, and landmarks drawn over image files.

`draw_run` draws all figures of a run, `two_runs` one figure of two; `grids` and
`curves` hold figures one by one, `canvas` their parts, `overlay` the drawings
over files. This room imports matplotlib: import it inside the function that
draws.
"""

from c3_jax.figures.draw import draw_run
from c3_jax.figures.side_by_side import two_runs
