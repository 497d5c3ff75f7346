"""The grammar of pure functions: `key` first, and a docstring with a verb."""

import importlib
import inspect
import pkgutil

import pytest

from c3_jax import geometry, models
from c3_jax.training import augment, objectives


def functions():
  """Yields the public functions of the rooms of pure functions, by name."""
  modules = [augment, objectives]
  for room in (geometry, models):
    for found in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
      modules.append(importlib.import_module(found.name))
  for module in modules:
    for name, function in inspect.getmembers(module, inspect.isfunction):
      # Not those that are imported there; classes' methods are not listed.
      if function.__module__ == module.__name__ and name[0] != "_":
        yield pytest.param(function, id=f"{module.__name__}.{name}")


FUNCTIONS = list(functions())


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_key_comes_first(function):
  """A function that draws random numbers takes `key` as its first argument."""
  names = list(inspect.signature(function).parameters)
  if function.__module__ == "c3_jax.models.porting":
    return  # It draws nothing; its `key` is one of a config.
  assert "rng" not in names
  assert "key" not in names[1:]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_docstring_opens_with_one_sentence(function):
  """The first line is a whole sentence, and nothing follows it directly."""
  first, *rest = inspect.getdoc(function).splitlines()
  assert first[0].isupper() or first[0] == "`" or "=" in first, first
  assert first.endswith((".", ":")) and (not rest or not rest[0]), first
