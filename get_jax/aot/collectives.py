"""What a compiled program sends between devices."""

import collections
import dataclasses
import math
import re

import numpy as np

from get_jax.aot.hlo import Instruction, Program, elements, size

KINDS = (
  "all-gather",
  "all-reduce",
  "reduce-scatter",
  "all-to-all",
  "ragged-all-to-all",
  "collective-permute",
  "collective-broadcast",
)

BETWEEN = " between slices"
# What the TPU's compiler makes of a collective's part between slices: each
# device sends to its partners in the others, by way of the hosts.
BETWEEN_SLICES = re.compile(r'_xla_megascale_transfer_type="(\w+)"')


@dataclasses.dataclass(frozen=True)
class Collective:
  """One collective of a program.

  Attributes:
    kind: one of KINDS, or what a part between slices is called.
    bytes: of the whole array on one device, each time: what a gather results
      in, what a reduction takes.
    runs: how often it runs in a call of the program.
    groups: device numbers that take part with each other, (groups, size);
      for a permute the pairs (source, target).
    where: the place in the model that it comes from.
    between_slices: whether it is the part of one that slices do together.
  """

  kind: str
  bytes: int
  runs: int
  groups: np.ndarray
  where: str
  between_slices: bool = False

  def sent(self, members: int, share: float = 1.0) -> float:
    """Bytes that one of `members` devices sends each time, round a ring.

    Args:
      members: among which the array is spread.
      share: of the array that they have to do with.
    """
    if self.kind == "collective-permute":
      return self.bytes
    rounds = 2 if self.kind == "all-reduce" else 1
    return rounds * share * self.bytes * (members - 1) / members


def find_collectives(program: Program, num_devices: int) -> list[Collective]:
  """All collectives of a program that runs.

  The TPU's compiler spreads a collective over the fusions that it overlaps
  with: it appears in each of them, with the same channel, and is counted once.

  Args:
    program: what the devices run; with several slices, what each slice runs.
    num_devices: in all slices.
  """
  found, stages = [], collections.defaultdict(list)
  for name, instructions in program.computations.items():
    runs = program.runs.get(name, 0)
    for instruction in instructions if runs else ():
      one = _collective(instruction, runs, program.partitions, num_devices)
      if one is None or one.groups.shape[1] < 2:
        continue
      channel = re.search(r"channel_id=(\d+)", instruction.rest)
      if channel and name in program.fused:
        stages[one.kind, channel[1]].append(one)
      else:
        found.append(one)
  found += [min(same, key=lambda c: c.runs) for same in stages.values()]
  return sorted(found, key=lambda c: (c.kind, -c.bytes * c.runs))


def totals(collectives: list[Collective]) -> dict[str, dict[str, int]]:
  """By kind: how many there are, how often they run, bytes in a call."""
  sums = {}
  for one in collectives:
    kind = one.kind + (BETWEEN if one.between_slices else "")
    row = sums.setdefault(kind, dict(count=0, runs=0, bytes=0))
    row["count"] += 1
    row["runs"] += one.runs
    row["bytes"] += one.runs * one.bytes
  return sums


def _collective(
  instruction: Instruction, runs: int, partitions: int, num_devices: int
) -> Collective | None:
  if between := BETWEEN_SLICES.search(instruction.rest):
    if instruction.opcode != "send":
      return None
    kind = between[1].lower().replace("_", "-")
    groups = np.arange(num_devices).reshape(-1, partitions).T
    payload = size(elements(instruction.type)[0])
    if kind == "all-gather":
      payload *= groups.shape[1]
    return Collective(kind, int(payload), runs, groups, "", True)
  kind = instruction.opcode.removesuffix("-start")
  if kind not in KINDS:
    return None
  groups = _groups(instruction.rest, partitions)
  parts = elements(instruction.type)
  if instruction.opcode.endswith("-start") and kind != "all-reduce":
    parts = elements(parts[1])  # operands, results, and what is internal
  payload = sum(map(size, parts))
  if kind == "reduce-scatter":
    payload *= groups.shape[1]
  where = re.search(r'op_name="([^"]*)"', instruction.rest)
  return Collective(kind, int(payload), runs, groups, where[1] if where else "")


def _groups(rest: str, partitions: int) -> np.ndarray:
  """Reads the four notations of groups and that of pairs."""
  if match := re.search(r"source_target_pairs=\{(.*?\})\}", rest):
    pairs = re.findall(r"\{(\d+),(\d+)\}", match[1])
    return np.array(pairs, int).reshape(-1, 2)
  if match := re.search(r"replica_groups=\{(\{.*?\})\}", rest):
    groups = re.findall(r"\{([\d,]*)\}", match[1])
    return np.array([g.split(",") for g in groups], int)
  shape = r"\[([\d,]+)\]"
  if match := re.search(
    rf"replica_groups={shape}<={shape}(?:T\(([\d,]+)\))?", rest
  ):
    target, source, order = (_numbers(part) for part in match.groups())
    ids = np.arange(math.prod(source)).reshape(source)
    return (ids.transpose(order) if order else ids).reshape(target)
  if match := re.search(r"replica_groups=mesh\[(.*?)\] \{(.*?)\}", rest):
    axes = dict(re.findall(r"'(\w+)'=(\d+)", match[1]))
    names, sizes = list(axes), [int(s) for s in axes.values()]
    used = [names.index(axis) for axis in re.findall(r"'(\w+)'", match[2])]
    others = [i for i in range(len(names)) if i not in used]
    ids = np.arange(math.prod(sizes)).reshape(sizes)
    within = math.prod(sizes[i] for i in used)
    return ids.transpose(others + used).reshape(-1, within)
  return np.arange(partitions)[None]


def _numbers(text: str | None) -> list[int]:
  return [int(n) for n in text.split(",")] if text else []
