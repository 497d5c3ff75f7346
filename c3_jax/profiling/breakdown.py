"""Splits the time of a compiled train step into parts of the network.

JAX's profiler traces the step itself, not pieces of it compiled alone: nothing
is missing or counted twice. Each instruction that ran belongs to the part that
its path names (the names that Flax and `jax.named_scope` give).

This relies on what XLA does not promise: on the text of a compiled program (one
instruction a line, `name = shape opcode(operands)`, the path in
`metadata={op_name="..."}`, fused computations before their use) and on profiler
events with the instruction's name in the statistic `hlo_op`. A version of XLA
that changes them moves time to "losses and other" or fails the tests.
"""

import itertools
import pathlib
import re
import tempfile
from collections import Counter

import jax

# Part -> pattern in the paths of its instructions; the first that matches.
PARTS = {
  "augmentation": r"augmentation",
  "optimiser": r"optimiser",
  "backbone": r"[/(]backbone[/)]",
  "heads": r"[/(](appearance|pose)[/)]",
  "decoder": r"[/(]decoder[/)]",
  "flow": r"/flow/|C3\.match|correspondence",
  "vgg": r"\bVGG\b",
}
OTHER = "losses and other"
COLLECTIVES = r"(all-reduce|all-gather|reduce-scatter|collective-permute)"
# Their events span the events of what they call.
CONTAINERS = ("while", "call", "conditional", "async-start", "async-done")

_NAME = r"%?([\w.\-]+)"
_INSTRUCTION = re.compile(rf"^\s+(?:ROOT )?{_NAME} = (.*)$")
# The opcode is the first word before a bracket after the shape, which has
# brackets itself only if it is a tuple.
_OPCODE = re.compile(r"(?:^|[\s)}\]])([a-z][a-z\-]*)\(")
_PATH = re.compile(r'op_name="([^"]*)"')
_OPERAND = re.compile(r"%([\w.\-]+)")
_CALLS = re.compile(rf"calls={_NAME}")
_COMPUTATION = re.compile(rf"^(?:ENTRY )?{_NAME} \(.*\{{$")


def part_of(path):
  """Finds the part that an instruction's path names, or None."""
  found = (part for part, pattern in PARTS.items() if re.search(pattern, path))
  return next(found, None)


def instruction_parts(text):
  """Assigns every instruction of a compiled program to a part.

  An instruction without a path (the compiler drops those of rewritten
  convolutions) gets the part of most of what it fuses, or else of most of its
  operands. Reads `compiled.as_text()`; the containers are left out of the dict
  instruction name -> part.
  """
  result, votes = {}, {}
  current = Counter()
  for line in text.splitlines():
    if opening := _COMPUTATION.match(line):
      current = votes.setdefault(opening[1], Counter())
      continue
    match = _INSTRUCTION.match(line)
    opcode = match and _OPCODE.search(match[2])
    if not opcode or opcode[1] in CONTAINERS:
      continue
    name, rest = match.groups()
    path, calls = _PATH.search(rest), _CALLS.search(rest)
    part = path and part_of(path[1])
    if re.match(COLLECTIVES, opcode[1]):
      part = "all-reduce"
    if not part:
      found = Counter(votes.get(calls[1]) if calls else None)
      operands = _OPERAND.findall(rest.partition(", kind=")[0])
      found = found or Counter(filter(None, map(result.get, operands)))
      del found["all-reduce"]
      part = found.most_common(1)[0][0] if found else None
    result[name] = part
    if part and path:
      current[part] += 1
  return {name: part or OTHER for name, part in result.items()}


def instruction_seconds(run):
  """Profiles one run: Counter of instruction name -> seconds on the device.

  Times of parallel threads add up.
  """
  options = jax.profiler.ProfileOptions()
  options.python_tracer_level = 0
  with tempfile.TemporaryDirectory() as folder:
    with jax.profiler.trace(folder, profiler_options=options):
      run()
    (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
    data = jax.profiler.ProfileData.from_file(str(path))
    planes = list(data.planes)
    # An accelerator has planes of its own; on the CPU the host does the work.
    devices = [p for p in planes if p.name.startswith("/device:")] or planes
    seconds = Counter()
    lines = (line for plane in devices for line in plane.lines)
    for event in itertools.chain.from_iterable(line.events for line in lines):
      if name := dict(event.stats).get("hlo_op"):
        seconds[name] += event.duration_ns / 1e9
  return seconds


def shares(compiled, run):
  """Measures the share of each part in the busy time of a compiled program.

  `run` runs the program and waits. The shares of all parts add up to 1.
  """
  parts = instruction_parts(compiled.as_text())
  total = Counter(dict.fromkeys([*PARTS, "all-reduce", OTHER], 0.0))
  for name, seconds in instruction_seconds(run).items():
    if name in parts:
      total[parts[name]] += seconds
  whole = sum(total.values())
  return {part: seconds / whole for part, seconds in total.items()}
