"""The grammar of functions: `key` first, types, and a docstring with a verb."""

import importlib
import inspect
import pkgutil
import re

import pytest

import c3_jax
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
  if function.__module__ == "c3_jax.models.weight_files":
    return  # It draws nothing; its `key` is one of a config.
  assert "rng" not in names
  assert "key" not in names[1:]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_docstring_opens_with_one_sentence(function):
  """The first line is a whole sentence, and nothing follows it directly."""
  first, *rest = inspect.getdoc(function).splitlines()
  assert first[0].isupper() or first[0] == "`" or "=" in first, first
  assert first.endswith((".", ":")) and (not rest or not rest[0]), first


def doors():
  """Yields the face and the door of each room, and of each room within one."""
  yield c3_jax
  for found in pkgutil.walk_packages(c3_jax.__path__, "c3_jax."):
    if found.ispkg:
      yield importlib.import_module(found.name)


def offered():
  """Yields what doors offer: classes, functions and their public methods."""
  for door in doors():
    for name in getattr(door, "__all__", vars(door)):
      thing = getattr(door, name)
      module = getattr(thing, "__module__", None) or ""
      if name[0] == "_" or not module.startswith("c3_jax"):
        continue
      yield pytest.param(thing, id=f"{door.__name__}.{name}")
      if inspect.isclass(thing):
        for part, method in inspect.getmembers(thing, inspect.isroutine):
          own = getattr(method, "__module__", "") == module
          if part[0] != "_" and own and part in vars(thing):
            yield pytest.param(method, id=f"{door.__name__}.{name}.{part}")


OFFERED = list(offered())


@pytest.mark.parametrize("thing", OFFERED)
def test_what_a_door_offers_says_what_it_does(thing):
  """A function begins with a verb, "Makes", and whatever it is with a text."""
  first = inspect.getdoc(thing).splitlines()[0]
  verb = "[A-Z][a-z]+s" if inspect.isroutine(thing) else ".+"
  assert re.match(rf"{verb}\b", first), first


@pytest.mark.parametrize(
  "function",
  [
    each
    for each in OFFERED
    if inspect.isfunction(each.values[0])
    and "." not in each.values[0].__qualname__
  ],
)
def test_a_function_of_a_door_says_its_types(function):
  """What it takes, and what it gives."""
  signature = inspect.signature(function)
  types = [each.annotation for each in signature.parameters.values()]
  assert inspect.Signature.empty not in [*types, signature.return_annotation]


def test_doors_are_found():
  """The rooms within rooms are among them."""
  names = {door.__name__ for door in doors()}
  assert {"c3_jax", "c3_jax.data", "c3_jax.evaluation.pairs"} <= names
  assert len(OFFERED) > 100
