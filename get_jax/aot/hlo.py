"""The text of a compiled program: its computations, and how often each runs."""

import collections
import dataclasses
import functools
import re

HEADER = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
INSTRUCTION = re.compile(r"^  (?:ROOT )?%?([\w.-]+) = ")
OPCODE = re.compile(r" ([a-z][a-z0-9-]*)\(")
CALLEES = re.compile(
  r"\b(condition|body|calls|to_apply|true_computation|false_computation"
  r"|branch_computations|called_computations)=(\{[^}]*\}|%?[\w.-]+)"
)
KNOWN_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
BYTES = {"pred": 1, "token": 0, "opaque": 0}
ARRAY = re.compile(r"\b([a-z]+\d*)(?:e\d+m\d+\w*)?\[([\d,<= ]*)\]")


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a computation.

  Attributes:
    name: without the percent sign.
    type: of the result, such as "f32[8,128]{1,0}" or a tuple of such.
    opcode: such as "all-gather-start".
    rest: operands and attributes.
  """

  name: str
  type: str
  opcode: str
  rest: str

  @functools.cached_property
  def operands(self) -> list[str]:
    """Names of the operands."""
    return re.findall(r"%([\w.-]+)", self.rest.partition(")")[0])


@dataclasses.dataclass(frozen=True)
class Program:
  """A module, by computation.

  Attributes:
    computations: instructions of each.
    runs: how often each runs in one call of the module.
    fused: which of them are fusions.
    unbounded: loops whose number of turns is decided at run time; their
      bodies are counted once.
    partitions: devices that run it together: all, or those of a slice.
  """

  computations: dict[str, list[Instruction]]
  runs: dict[str, int]
  fused: set[str]
  unbounded: int
  partitions: int


def parse(text: str) -> Program:
  """Reads `compiled.as_text()` of any backend."""
  computations, entry, current = {}, None, None
  for line in text.splitlines():
    if line.startswith("  ") and current is not None:
      instruction = _instruction(line)
      if instruction is not None:
        current.append(instruction)
    elif match := HEADER.match(line):
      current = computations[match[2]] = []
      entry = match[2] if match[1] else entry
  if entry is None:
    raise ValueError("this text has no ENTRY computation")
  partitions = re.search(r"num_partitions=(\d+)", text.partition("\n")[0])
  return Program(
    computations,
    *_count_runs(computations, entry),
    int(partitions[1]) if partitions else 1,
  )


def size(shape: str) -> int:
  """Bytes of a type without its padding: arrays, and tuples of them."""
  total = 0
  for kind, dimensions in ARRAY.findall(shape):
    entries = 1
    for dimension in filter(None, dimensions.split(",")):
      entries *= int(dimension.strip("<= "))
    total += entries * _width(kind)
  return total


def elements(shape: str) -> list[str]:
  """The types in a tuple; a type that is no tuple is its only element."""
  if not shape.startswith("("):
    return [shape]
  parts, depth, start = [], 0, 1
  for i, character in enumerate(shape):
    if character in "({[":
      depth += 1
    elif character in ")}]":
      depth -= 1
    if (character == "," and depth == 1) or (depth == 0 and i > start):
      part = re.sub(r"/\*.*?\*/", "", shape[start:i]).strip()
      parts += [part] if part else []
      start = i + 1
  return parts


def _width(kind: str) -> float:
  if kind in BYTES:
    return BYTES[kind]
  bits = int(re.sub(r"\D", "", kind) or 0)
  return bits // 8 if bits >= 8 else bits / 8


def _instruction(line: str) -> Instruction | None:
  match = INSTRUCTION.match(line)
  if match is None:
    return None
  start = match.end()
  if line[start] == "(":
    depth, end = 0, start
    for end in range(start, len(line)):
      depth += {"(": 1, ")": -1}.get(line[end], 0)
      if depth == 0:
        break
    end += 1
  else:
    end = line.index(" ", start)
  opcode = OPCODE.match(line, end)
  if opcode is None:
    return None
  return Instruction(match[1], line[start:end], opcode[1], line[opcode.end() :])


def _count_runs(computations, entry: str):
  """What `Program` tells of computations, by going down from the entry."""
  calls, fused, unbounded = {}, set(), 0
  for name, instructions in computations.items():
    calls[name] = []
    for instruction in instructions:
      callees = {}
      for role, named in CALLEES.findall(instruction.rest):
        for callee in re.findall(r"[\w.-]+", named):
          callees[callee] = role
      times = 1
      if instruction.opcode == "while":
        condition = next(c for c, r in callees.items() if r == "condition")
        found = _trips(instruction, computations[condition])
        unbounded += found is None
        times = 1 if found is None else found
      if instruction.opcode == "fusion":
        fused |= set(callees)
      if not instruction.opcode.endswith(("-done", "-update")):
        calls[name] += [(c, times) for c in callees if c in computations]
  runs = collections.Counter({entry: 1})
  for name in _callers_first(calls, entry):
    for callee, times in calls[name]:
      runs[callee] += runs[name] * times
  return dict(runs), fused, unbounded


def _callers_first(calls, entry: str) -> list[str]:
  """Topological order of what the entry reaches."""
  order, seen, stack = [], set(), [(entry, False)]
  while stack:
    name, done = stack.pop()
    if done:
      order.append(name)
    elif name not in seen:
      seen.add(name)
      stack.append((name, True))
      stack += [(callee, False) for callee, _ in calls[name]]
  return order[::-1]


def _trips(loop: Instruction, condition: list[Instruction]) -> int | None:
  """Turns of a loop that counts from 0 by 1, as those of JAX do.

  Where the compiler does not note the number it is the constant that the
  condition compares its counter with.
  """
  if known := KNOWN_TRIPS.search(loop.rest):
    return int(known[1])
  constants = {
    i.name: int(i.rest.partition(")")[0])
    for i in condition
    if i.opcode == "constant" and re.match(r"-?\d+\)", i.rest)
  }
  for instruction in condition:
    if instruction.opcode == "compare" and "direction=LT" in instruction.rest:
      bound = constants.get(instruction.operands[-1])
      if bound is not None:
        return bound
  return None
