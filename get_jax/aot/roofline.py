"""An estimate of a step's time from what it computes, touches and sends.

Every figure rests on the assumptions below; none is measured.
"""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from get_jax.aot.collectives import Collective
from get_jax.hardware.topology import Topology

# Shares of the stated peaks that a good program attains. Matrix products: what
# diffusion transformers of 12 billion parameters reach on v5p (MaxDiffusion:
# Flux, 55%); a width of 1152 is no easier.
COMPUTE = 0.5
BANDWIDTH = 0.8
# Seconds from neighbour to neighbour, and between slices or hosts.
HOP = 1e-6
NETWORK = 1e-5


@dataclasses.dataclass(frozen=True)
class Roofline:
  """Seconds of a step on one device.

  Attributes:
    compute: of its matrix products and convolutions.
    memory: of reading and writing arguments, results and temporaries once.
    sending: of its collectives, one after the other.
    floor: of the products at the full stated peak.
  """

  compute: float
  memory: float
  sending: float
  floor: float

  @property
  def alone(self) -> float:
    """Of the same work without anything sent."""
    return max(self.compute, self.memory)

  @property
  def overlapped(self) -> float:
    """With everything sent behind the work, as far as it is that long."""
    return max(self.alone, self.sending)

  @property
  def serial(self) -> float:
    """With nothing of that overlapped."""
    return self.alone + self.sending

  @property
  def efficiency(self) -> tuple[float, float]:
    """Least and most of `alone` in a step: 1 is perfect scaling."""
    return self.alone / self.serial, self.alone / self.overlapped


def estimate(
  topology: Topology,
  devices: Sequence[jax.Device],
  flops: float,
  touched: float,
  collectives: Sequence[Collective],
) -> Roofline:
  """The roofline of a step.

  Args:
    topology: what runs it.
    devices: of it, in the order of the mesh.
    flops: operations of one device, recomputations included.
    touched: bytes of its memory read or written.
    collectives: what it sends.
  """
  chip = topology.chip
  peak = chip.peak_flops / chip.devices
  bandwidth = chip.memory_bandwidth / chip.devices
  islands, places = topology.islands(devices), topology.coordinates(devices)
  sending = sum(
    one.runs * _seconds(one, topology, islands, places) for one in collectives
  )
  return Roofline(
    compute=flops / (COMPUTE * peak),
    memory=touched / (BANDWIDTH * bandwidth),
    sending=sending,
    floor=flops / peak,
  )


def _seconds(
  one: Collective, topology: Topology, islands: np.ndarray, places: np.ndarray
) -> float:
  """Of one run of a collective, in the group that takes the longest.

  Between slices it is hierarchical: within each slice first, then each device
  with its partners in the others.
  """
  chip = topology.chip
  slowest = 0.0
  for parts, *extents in {_spread(g, islands, places) for g in one.groups}:
    within = one.groups.shape[1] // parts
    seconds = 0.0
    if within > 1:
      links, hops = _links(topology, extents)
      rate = BANDWIDTH * links * chip.link_bandwidth / chip.devices
      seconds += one.sent(within) / rate + hops * HOP
    if parts > 1:
      rate = BANDWIDTH * chip.network_bandwidth / chip.devices
      seconds += one.sent(parts, 1 / within) / rate + NETWORK
    slowest = max(slowest, seconds)
  return slowest


def _spread(
  group: np.ndarray, islands: np.ndarray, places: np.ndarray
) -> tuple[int, ...]:
  """Slices that a group spans, and its extent along each direction."""
  extents = (len(set(column)) for column in places[group].T.tolist())
  return len(set(islands[group].tolist())), *extents


def _links(topology: Topology, extents: Sequence[int]) -> tuple[int, int]:
  """Links that each chip of a group sends over, and hops to the farthest.

  Along a direction that is closed to a ring there are two, else one.
  """
  links = hops = 0
  for extent, side in zip(extents, topology.grid, strict=True):
    if extent > 1:
      ring = extent == side > 2 and side % topology.chip.ring == 0
      links += 2 if ring else 1
      hops += extent // 2 if ring else extent - 1
  return max(links, 1), max(hops, 1)
