"""The packages of the wheel; pyproject.toml has everything else."""

from setuptools import find_packages, setup

# The configs travel along, so that --config=NAME works without a clone.
setup(
  packages=[*find_packages(include=["c3_jax*"]), "c3_jax.configs"],
  package_dir={"c3_jax.configs": "configs"},
  package_data={
    "c3_jax.exporting": ["page_files/*"],
    "c3_jax.reporting": ["style.css"],
  },
)
