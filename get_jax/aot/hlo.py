"""Parses HLO text into computations with execution counts."""

import collections
import dataclasses
import functools
import re

_HEADER = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^  (?:ROOT )?%?([\w.-]+) = ")
_OPCODE = re.compile(r" ([a-z][a-z0-9-]*)\(")
_CALLEES = re.compile(
  r"\b(condition|body|calls|to_apply|true_computation|false_computation"
  r"|branch_computations|called_computations)=(\{[^}]*\}|%?[\w.-]+)"
)
_KNOWN_TRIP_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_ARRAY = re.compile(r"\b([a-z]+\d*)(?:e\d+m\d+\w*)?\[([\d,<= ]*)\]")
# Bytes of the dtypes whose name does not contain their number of bits.
_DTYPE_BYTES = {"pred": 1, "token": 0, "opaque": 0}


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One instruction of a computation.

  Attributes:
    name: without the percent sign.
    type: type of the result, such as "f32[8,128]{1,0}", or a tuple of types.
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
  """An HLO module.

  Attributes:
    computations: instructions of each computation, by name.
    runs: how often each computation runs in one call of the module.
    fusions: names of the computations that are fusions.
    unbounded_loops: number of loops whose trip count is decided at run time;
      their bodies count as run once.
    partitions: number of devices that run the module together: all devices, or
      those of one slice.
  """

  computations: dict[str, list[Instruction]]
  runs: dict[str, int]
  fusions: set[str]
  unbounded_loops: int
  partitions: int


def parse(text: str) -> Program:
  """Parses `compiled.as_text()` of any backend.

  Raises:
    ValueError: the text has no ENTRY computation.
  """
  computations: dict[str, list[Instruction]] = {}
  entry = current = None
  for line in text.splitlines():
    if line.startswith("  ") and current is not None:
      instruction = _parse_instruction(line)
      if instruction is not None:
        current.append(instruction)
    elif match := _HEADER.match(line):
      current = computations[match[2]] = []
      entry = match[2] if match[1] else entry
  if entry is None:
    raise ValueError("this text has no ENTRY computation")
  partitions = re.search(r"num_partitions=(\d+)", text.partition("\n")[0])
  runs, fusions, unbounded_loops = _count_runs(computations, entry)
  return Program(
    computations,
    runs,
    fusions,
    unbounded_loops,
    int(partitions[1]) if partitions else 1,
  )


def type_bytes(hlo_type: str) -> float:
  """Returns the bytes of an array or of a tuple of arrays, without padding."""
  total = 0.0
  for dtype, dimensions in _ARRAY.findall(hlo_type):
    entries = 1
    for dimension in filter(None, dimensions.split(",")):
      entries *= int(dimension.strip("<= "))
    total += entries * _dtype_bytes(dtype)
  return total


def tuple_elements(hlo_type: str) -> list[str]:
  """Returns the types in a tuple; another type is returned as one element."""
  if not hlo_type.startswith("("):
    return [hlo_type]
  parts, depth, start = [], 0, 1
  for i, character in enumerate(hlo_type):
    if character in "({[":
      depth += 1
    elif character in ")}]":
      depth -= 1
    if (character == "," and depth == 1) or (depth == 0 and i > start):
      part = re.sub(r"/\*.*?\*/", "", hlo_type[start:i]).strip()
      parts += [part] if part else []
      start = i + 1
  return parts


def _dtype_bytes(dtype: str) -> float:
  if dtype in _DTYPE_BYTES:
    return _DTYPE_BYTES[dtype]
  bits = int(re.sub(r"\D", "", dtype) or 0)
  return bits // 8 if bits >= 8 else bits / 8


def _parse_instruction(line: str) -> Instruction | None:
  match = _INSTRUCTION.match(line)
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
  opcode = _OPCODE.match(line, end)
  if opcode is None:
    return None
  return Instruction(match[1], line[start:end], opcode[1], line[opcode.end() :])


def _count_runs(
  computations: dict[str, list[Instruction]], entry: str
) -> tuple[dict[str, int], set[str], int]:
  """Returns `runs`, `fusions` and `unbounded_loops` of a `Program`."""
  calls: dict[str, list[tuple[str, int]]] = {}
  fusions: set[str] = set()
  unbounded_loops = 0
  for name, instructions in computations.items():
    calls[name] = []
    for instruction in instructions:
      callees = {}
      for role, names in _CALLEES.findall(instruction.rest):
        for callee in re.findall(r"[\w.-]+", names):
          callees[callee] = role
      times = 1
      if instruction.opcode == "while":
        condition = next(c for c, r in callees.items() if r == "condition")
        trip_count = _trip_count(instruction, computations[condition])
        unbounded_loops += trip_count is None
        times = 1 if trip_count is None else trip_count
      if instruction.opcode == "fusion":
        fusions |= set(callees)
      if not instruction.opcode.endswith(("-done", "-update")):
        calls[name] += [(c, times) for c in callees if c in computations]
  runs = collections.Counter({entry: 1})
  for name in _topological_order(calls, entry):
    for callee, times in calls[name]:
      runs[callee] += runs[name] * times
  return dict(runs), fusions, unbounded_loops


def _topological_order(
  calls: dict[str, list[tuple[str, int]]], entry: str
) -> list[str]:
  """Returns the computations that the entry reaches, callers first."""
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


def _trip_count(loop: Instruction, condition: list[Instruction]) -> int | None:
  """Returns the trip count of a loop; None if it is decided at run time.

  The loop counts from 0 by 1, as those of JAX do. If the compiler did not
  annotate the trip count, it is the constant that the condition compares the
  counter with.
  """
  if known := _KNOWN_TRIP_COUNT.search(loop.rest):
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
