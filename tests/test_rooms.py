"""The rooms of c3_jax: what they may import, and how they are kept."""

import ast

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "c3_jax"
# From bottom to top; those of one line do not import each other. The commands
# and the public face beside the rooms are the top.
ORDER = (
  ("errors",),
  ("settings",),
  ("runtime",),
  ("geometry",),
  ("models",),
  ("data",),
  ("runs",),
  ("evaluation",),
  ("figures",),
  ("inference",),
  ("exporting",),
  ("reporting",),
  ("training",),
  ("choosing", "profiling"),
)
FLOOR = {room: floor for floor, line in enumerate(ORDER) for room in line}
TOP = len(ORDER)
ROOMS = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
# Rooms within rooms, from bottom to top.
INNER = {"data": ("synthetic", "datasets"), "evaluation": ("pairs",)}


def imports(path):
  """Yields "a.b.c" for each name of c3_jax that a file imports, anywhere."""
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.ImportFrom):
      assert not node.level, f"{path}: a relative import"
      names = [f"{node.module}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    else:
      continue
    yield from (name for name in names if name.split(".")[0] == "c3_jax")


def files():
  """Yields (path, room) of each file; a file beside the rooms is its own."""
  for path in sorted(PACKAGE.rglob("*.py")):
    yield path, path.relative_to(PACKAGE).with_suffix("").parts[0]


def test_no_import_runs_up():
  """A room imports from itself and from rooms below it."""
  assert {"errors", *ROOMS} == set(FLOOR)
  for path, room in files():
    for name in imports(path):
      if name == "c3_jax.__version__":
        continue  # A text that depends on nothing.
      # Without a room it is the public face, which is for the commands.
      other = (name.split(".") + ["__init__"])[1]
      allowed = FLOOR.get(other, TOP) < FLOOR.get(room, TOP) or other == room
      allowed = allowed or (room, other) == ("__main__", "__init__")
      assert allowed, f"{path.relative_to(ROOT)} imports {name}"


def graph():
  """Finds what modules import: dict name -> set of names."""
  paths = {}
  for path, _ in files():
    parts = path.relative_to(ROOT).with_suffix("").parts
    paths[".".join(part for part in parts if part != "__init__")] = path
  # `from a.b import c` has the module a.b.c, or the name c of a.b.
  module = lambda name: name if name in paths else name.rpartition(".")[0]  # noqa: E731
  return {n: {module(x) for x in imports(path)} for n, path in paths.items()}


def without_order(needs):
  """Takes away, again and again, what needs nothing else: what is left."""
  left = {name: found - {name} for name, found in needs.items()}
  while free := {m for m, found in left.items() if not found & left.keys()}:
    left = {m: found for m, found in left.items() if m not in free}
  return left


def test_no_import_cycle():
  """Modules can be put in an order in which each imports earlier ones only."""
  assert not without_order(graph())


def test_inner_rooms_have_an_order():
  """Seen as one thing each, too, they and the files beside them have one."""
  inner = [f"c3_jax.{room}.{x}" for room, names in INNER.items() for x in names]
  doors = PACKAGE.glob("*/*/__init__.py")
  assert {".".join(x.parent.relative_to(ROOT).parts) for x in doors} == {*inner}

  def whole(name):
    return next((x for x in inner if f"{name}.".startswith(f"{x}.")), name)

  needs = {}
  for name, found in graph().items():
    needs.setdefault(whole(name), set()).update(map(whole, found))
  assert not without_order(needs)
  for i, name in enumerate(inner):
    assert needs[name].isdisjoint(inner[i + 1 :]), name


def test_few_files_stand_beside_the_rooms():
  """At most ten: the public face, the errors and the commands."""
  assert len(list(PACKAGE.glob("*.py"))) <= 10


@pytest.mark.parametrize(
  "room",
  ROOMS + [f"{room}/{x}" for room, names in INNER.items() for x in names],
)
def test_a_room_has_a_door_and_content(room):
  """A docstring says what the room is for; it has three files or more."""
  door = ast.parse((PACKAGE / room / "__init__.py").read_text())
  assert ast.get_docstring(door)
  modules = set((PACKAGE / room).rglob("*.py"))
  assert len({path for path in modules if path.name != "__init__.py"}) >= 3
