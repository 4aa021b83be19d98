"""Devices with the attributes of TPU devices, and the links between them."""

import dataclasses
import itertools

from get_jax.hardware.chips import CHIPS, DEVICE_KINDS

KINDS = {name: kind for kind, name in DEVICE_KINDS.items()}


@dataclasses.dataclass(frozen=True)
class FakeTpu:
  device_kind: str
  coords: tuple[int, int, int]
  core_on_chip: int = 0
  slice_index: int | None = None
  platform: str = "tpu"


def fake_slice(name, slice_index=None):
  """Returns the devices of a slice such as "v5e:4x4", x first."""
  chip, _, grid = name.partition(":")
  x, y, z = (*map(int, grid.split("x")), 1)[:3]
  return [
    FakeTpu(KINDS[chip], (i, j, k), core, slice_index)
    for k, j, i in itertools.product(range(z), range(y), range(x))
    for core in range(CHIPS[chip].num_devices)
  ]


def hops(name, one, other):
  """Returns the number of links between two devices of the slice `name`."""
  chip, _, grid = name.partition(":")
  total = 0
  for i, side in enumerate(map(int, grid.split("x"))):
    distance = abs(one.coords[i] - other.coords[i])
    if side % CHIPS[chip].ring_multiple == 0:
      distance = min(distance, side - distance)
    total += distance
  return total


def ring_hops(name, ring):
  """Returns the links between the neighbours of a ring, last to first too."""
  return [
    hops(name, one, other)
    for one, other in zip(ring, (*ring[1:], ring[0]), strict=True)
  ]
