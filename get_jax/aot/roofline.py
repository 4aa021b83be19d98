"""Estimates the time of a step from its operations, memory and collectives.

The estimate rests on the constants below; nothing is measured.
"""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from get_jax.aot.collectives import Collective
from get_jax.hardware.topology import Topology

# Shares of the peaks in the data sheets that a good program attains. For matrix
# products: diffusion transformers of 12 billion parameters reach 55% on v5p
# (MaxDiffusion: Flux); a width of 1152 is not easier.
COMPUTE = 0.5
BANDWIDTH = 0.8
# Latency in seconds, between neighbours and between slices or hosts.
HOP = 1e-6
NETWORK = 1e-5


@dataclasses.dataclass(frozen=True)
class Roofline:
  """Estimated seconds of a step on one device.

  Attributes:
    compute: matrix products and convolutions.
    memory: reading and writing arguments, results and temporaries once.
    sending: collectives, one after the other.
    floor: matrix products and convolutions at the full peak.
  """

  compute: float
  memory: float
  sending: float
  floor: float

  @property
  def local(self) -> float:
    """Seconds of the same work without collectives."""
    return max(self.compute, self.memory)

  @property
  def overlapped(self) -> float:
    """Seconds if collectives overlap with the local work completely."""
    return max(self.local, self.sending)

  @property
  def serial(self) -> float:
    """Seconds if no collective overlaps with the local work."""
    return self.local + self.sending

  @property
  def efficiency(self) -> tuple[float, float]:
    """Bounds of the share of `local` in a step; 1 is perfect scaling."""
    return self.local / self.serial, self.local / self.overlapped


def estimate_roofline(
  topology: Topology,
  devices: Sequence[jax.Device],
  flops: float,
  memory_traffic: float,
  collectives: Sequence[Collective],
) -> Roofline:
  """Estimates the roofline of a step.

  Args:
    topology: topology that runs the step.
    devices: its devices, in the order of the mesh.
    flops: operations of one device, including recomputation.
    memory_traffic: bytes of its memory that one device reads and writes.
    collectives: collectives of the step.
  """
  chip = topology.chip
  peak = chip.peak_flops / chip.num_devices
  bandwidth = chip.memory_bandwidth / chip.num_devices
  slices = topology.slice_indices(devices)
  coordinates = topology.coordinates(devices)
  sending = sum(
    each.runs * _seconds(each, topology, slices, coordinates)
    for each in collectives
  )
  return Roofline(
    compute=flops / (COMPUTE * peak),
    memory=memory_traffic / (BANDWIDTH * bandwidth),
    sending=sending,
    floor=flops / peak,
  )


def _seconds(
  collective: Collective,
  topology: Topology,
  slices: np.ndarray,
  coordinates: np.ndarray,
) -> float:
  """Returns the seconds of one run of a collective, in its slowest group.

  Across slices it is hierarchical: first within each slice, then between each
  device and its partners in the other slices.

  Args:
    collective: the collective.
    topology: topology that runs it.
    slices: slice of each device, (devices,).
    coordinates: grid position of each device, (devices, grid_dims).
  """
  chip = topology.chip
  slowest = 0.0
  group_size = collective.groups.shape[1]
  for num_slices, *extents in {
    _extents(group, slices, coordinates) for group in collective.groups
  }:
    per_slice = group_size // num_slices
    seconds = 0.0
    if per_slice > 1:
      links, hops = _links_and_hops(topology, extents)
      rate = BANDWIDTH * links * chip.link_bandwidth / chip.num_devices
      seconds += collective.bytes_sent(per_slice) / rate + hops * HOP
    if num_slices > 1:
      rate = BANDWIDTH * chip.network_bandwidth / chip.num_devices
      sent = collective.bytes_sent(num_slices, 1 / per_slice)
      seconds += sent / rate + NETWORK
    slowest = max(slowest, seconds)
  return slowest


def _extents(
  group: np.ndarray, slices: np.ndarray, coordinates: np.ndarray
) -> tuple[int, ...]:
  """Returns the number of slices of a group and its extent per direction."""
  extents = (len(set(column)) for column in coordinates[group].T.tolist())
  return len(set(slices[group].tolist())), *extents


def _links_and_hops(
  topology: Topology, extents: Sequence[int]
) -> tuple[int, int]:
  """Returns links per chip that a group uses, and hops to the farthest chip.

  A direction that closes to a ring has two links per chip, another has one.
  """
  links = hops = 0
  for extent, side in zip(extents, topology.grid, strict=True):
    if extent > 1:
      ring = extent == side > 2 and side % topology.chip.ring_multiple == 0
      links += 2 if ring else 1
      hops += extent // 2 if ring else extent - 1
  return max(links, 1), max(hops, 1)
