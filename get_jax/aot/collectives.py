"""Finds the collectives of a compiled program and the bytes that they send."""

import collections
import dataclasses
import math
import re

import numpy as np

from get_jax.aot.hlo import Instruction, Program, tuple_elements, type_bytes

COLLECTIVES = (
  "all-gather",
  "all-reduce",
  "reduce-scatter",
  "all-to-all",
  "ragged-all-to-all",
  "collective-permute",
  "collective-broadcast",
)

BETWEEN_SLICES = " between slices"  # suffix of names in `totals_by_kind`
# Device numbers that are counted up in a shape and transposed.
_IOTA = r"\[([\d,]+)\](?:T\(([\d,]+)\))?"
# The TPU compiler turns the part of a collective between slices into sends:
# each device sends to its partners in the other slices through the hosts.
_MEGASCALE_TRANSFER = re.compile(r'_xla_megascale_transfer_type="(\w+)"')


@dataclasses.dataclass(frozen=True)
class Collective:
  """One collective of a program.

  Attributes:
    kind: one of `COLLECTIVES`, or the transfer type of a part between slices.
    bytes: bytes of the whole array on one device, per run: the result of a
      gather, the operand of a reduction.
    runs: how often it runs in one call of the program.
    groups: device numbers that communicate with each other, (groups, size);
      for a permute, pairs (source, target).
    op_name: operation of the model that it belongs to.
    between_slices: whether it is the part of a collective between slices.
  """

  kind: str
  bytes: int
  runs: int
  groups: np.ndarray
  op_name: str
  between_slices: bool = False

  def bytes_sent(self, group_size: int, share: float = 1.0) -> float:
    """Returns the bytes that one device sends per run, in a ring algorithm.

    Args:
      group_size: number of devices that the array is distributed over.
      share: share of the array that these devices handle.
    """
    if self.kind == "collective-permute":
      return self.bytes
    rounds = 2 if self.kind == "all-reduce" else 1
    return rounds * share * self.bytes * (group_size - 1) / group_size


def find_collectives(program: Program, num_devices: int) -> list[Collective]:
  """Returns all collectives that a program runs.

  The TPU compiler distributes a collective over the fusions that it overlaps
  with: it appears in each of them with the same channel, and is counted once.

  Args:
    program: program of the devices; for several slices, program of one slice.
    num_devices: number of devices in all slices.
  """
  found = []
  # Stages of the same collective, by kind and channel.
  stages: dict[tuple[str, str], list[Collective]] = collections.defaultdict(
    list
  )
  for name, instructions in program.computations.items():
    runs = program.runs.get(name, 0)
    for instruction in instructions if runs else ():
      collective = _parse_collective(
        instruction, runs, program.partitions, num_devices
      )
      if collective is None or collective.groups.shape[1] < 2:
        continue
      channel = re.search(r"channel_id=(\d+)", instruction.rest)
      if channel and name in program.fusions:
        stages[collective.kind, channel[1]].append(collective)
      else:
        found.append(collective)
  found += [min(same, key=lambda c: c.runs) for same in stages.values()]
  return sorted(found, key=lambda c: (c.kind, -c.bytes * c.runs))


def totals_by_kind(
  collectives: list[Collective],
) -> dict[str, dict[str, int]]:
  """Returns count, runs and bytes per call of each kind of collective."""
  totals: dict[str, dict[str, int]] = {}
  for each in collectives:
    kind = each.kind + (BETWEEN_SLICES if each.between_slices else "")
    row = totals.setdefault(kind, dict(count=0, runs=0, bytes=0))
    row["count"] += 1
    row["runs"] += each.runs
    row["bytes"] += each.runs * each.bytes
  return totals


def _parse_collective(
  instruction: Instruction, runs: int, partitions: int, num_devices: int
) -> Collective | None:
  """Returns the collective of an instruction; None if it is none."""
  if transfer := _MEGASCALE_TRANSFER.search(instruction.rest):
    if instruction.opcode != "send":
      return None
    kind = transfer[1].lower().replace("_", "-")
    groups = np.arange(num_devices).reshape(-1, partitions).T
    payload = type_bytes(tuple_elements(instruction.type)[0])
    if kind == "all-gather":
      payload *= groups.shape[1]
    return Collective(kind, int(payload), runs, groups, "", True)
  kind = instruction.opcode.removesuffix("-start")
  if kind not in COLLECTIVES:
    return None
  groups = _parse_groups(instruction.rest, partitions)
  elements = tuple_elements(instruction.type)
  if instruction.opcode.endswith("-start") and kind != "all-reduce":
    # The type consists of operands, results and internal buffers.
    elements = tuple_elements(elements[1])
  payload = sum(map(type_bytes, elements))
  if kind == "reduce-scatter":
    payload *= groups.shape[1]
  op_name = re.search(r'op_name="([^"]*)"', instruction.rest)
  return Collective(
    kind, int(payload), runs, groups, op_name[1] if op_name else ""
  )


def _parse_groups(rest: str, partitions: int) -> np.ndarray:
  """Parses the notations of device groups, and of pairs of a permute."""
  if match := re.search(r"source_target_pairs=\{(.*?\})\}", rest):
    pairs = re.findall(r"\{(\d+),(\d+)\}", match[1])
    return np.array(pairs, int).reshape(-1, 2)
  if match := re.search(r"replica_groups=\{(\{.*?\})\}", rest):
    groups = re.findall(r"\{([\d,]*)\}", match[1])
    return np.array([g.split(",") for g in groups], int)
  if match := re.search(rf"replica_groups=\[([\d,]+)\]<={_IOTA}", rest):
    return _iota(*match.groups()[1:]).reshape(_parse_ints(match[1]))
  if match := re.search(
    rf"replica_groups=mesh\[(.*?)\](?:, device_ids=\({_IOTA}\))? \{{(.*?)\}}",
    rest,
  ):
    mesh, source, order, group = match.groups()
    axes = dict(re.findall(r"'(\w+)'=(\d+)", mesh))
    names, sizes = list(axes), [int(s) for s in axes.values()]
    used = [names.index(axis) for axis in re.findall(r"'(\w+)'", group)]
    others = [i for i in range(len(names)) if i not in used]
    ids = _iota(source or str(math.prod(sizes)), order).reshape(sizes)
    group_size = math.prod(sizes[i] for i in used)
    return ids.transpose(others + used).reshape(-1, group_size)
  if match := re.search(r"replica_groups=(?!\{\}).{,80}", rest):
    raise ValueError(f"unknown notation of device groups: {match[0]}")
  return np.arange(partitions)[None]


def _iota(shape: str, order: str | None) -> np.ndarray:
  """Returns the device numbers of "[4,16]T(1,0)": counted up, transposed."""
  sizes = _parse_ints(shape)
  ids = np.arange(math.prod(sizes)).reshape(sizes)
  return ids.transpose(_parse_ints(order)) if order else ids


def _parse_ints(text: str) -> list[int]:
  return [int(n) for n in text.split(",")]
