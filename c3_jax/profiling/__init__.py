"""Measuring programs: `timing`, `breakdown` by part, `flops`, and the `table`.

`c3_jax.benchmark` runs these on a config; training does not import them.
"""
