"""Where things are: coordinates, warps, splines, landmarks as maps.

The coordinates and their conversions are named here; `warp`, `spline` and
`landmarks` are modules of their own.
"""

from c3_jax.geometry.frame import (
  CROPS,
  AnyArray,
  Frame,
  aligned_to_one_based_pixels,
  cell_centres,
  centre_crop,
  coords_to_corner_pixels,
  coords_to_one_based_pixels,
  coords_to_pixels,
  corner_pixels_to_coords,
  crop_box,
  grid,
  network_input,
  one_based_pixels_to_aligned,
  pixels_to_coords,
)
