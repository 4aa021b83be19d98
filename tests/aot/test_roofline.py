"""Roofline estimates on synthetic topologies."""

import itertools
import types

import numpy as np
import pytest

from get_jax.aot.collectives import Collective
from get_jax.aot.roofline import (
  BANDWIDTH,
  COMPUTE,
  HOP,
  NETWORK,
  estimate_roofline,
)
from get_jax.hardware.chips import CHIPS
from get_jax.hardware.topology import Topology

MIB = 2**20


def pod(chip, grid, num_slices=1):
  """Returns a topology whose devices have coordinates only."""
  each = CHIPS[chip].num_devices
  places = list(itertools.product(*map(range, grid))) * each
  devices = [
    types.SimpleNamespace(coords=place, slice_index=i, process_index=0)
    for i in range(num_slices)
    for place in sorted(places)
  ]
  return Topology(chip, CHIPS[chip], grid, num_slices, devices)


def sending(topology, kind, groups, size=MIB, runs=1):
  one = Collective(kind, size, runs, np.asarray(groups), "")
  return estimate_roofline(topology, topology.devices, 1.0, 1.0, [one]).sending


def test_products_and_memory_take_their_share_of_the_peaks():
  topology = pod("v5e", (4, 4))
  line = estimate_roofline(topology, topology.devices, 197e12, 819e9, [])
  assert line.floor == pytest.approx(1.0)
  assert line.compute == pytest.approx(1 / COMPUTE)
  assert line.memory == pytest.approx(1 / BANDWIDTH)
  assert line.local == line.serial == line.overlapped == line.compute
  assert line.efficiency == (1.0, 1.0)


def test_two_devices_of_a_chip_share_it():
  topology = pod("tpu7x", (2, 2, 1))
  assert topology.num_chips == 4
  line = estimate_roofline(topology, topology.devices, 2307e12, 1.0, [])
  assert line.floor == pytest.approx(2.0)


def test_efficiency_is_between_all_and_nothing_overlapped():
  topology = pod("v5e", (4, 4))
  gather = Collective("all-gather", 2**33, 1, np.arange(16)[None], "")
  line = estimate_roofline(topology, topology.devices, 4e12, 1.0, [gather])
  low, high = line.efficiency
  assert line.sending > line.compute
  assert low == pytest.approx(line.compute / (line.compute + line.sending))
  assert high == pytest.approx(line.compute / line.sending)


def test_a_group_in_one_row_has_the_links_of_one_direction():
  """16 chips close to a ring of two links; 4 are a line of one."""
  rate = BANDWIDTH * 50e9
  row = np.arange(16)[None]
  assert sending(pod("v5e", (1, 16)), "all-gather", row) == pytest.approx(
    MIB * 15 / 16 / (2 * rate) + 8 * HOP
  )
  line = np.arange(4)[None]
  assert sending(pod("v5e", (1, 4)), "all-gather", line) == pytest.approx(
    MIB * 3 / 4 / rate + 3 * HOP
  )


def test_a_group_over_the_whole_grid_has_all_links():
  every = np.arange(16)[None]
  assert sending(pod("v5e", (4, 4)), "all-reduce", every) == pytest.approx(
    2 * MIB * 15 / 16 / (BANDWIDTH * 2 * 50e9) + 6 * HOP
  )
  cube = np.arange(64)[None]
  assert sending(pod("v5p", (4, 4, 4)), "all-reduce", cube) == pytest.approx(
    2 * MIB * 63 / 64 / (BANDWIDTH * 6 * 100e9) + 6 * HOP
  )


def test_every_run_counts_and_the_slowest_group_decides():
  topology = pod("v5e", (4, 4))
  groups = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14, 15]]
  once = sending(topology, "all-gather", groups)
  assert sending(topology, "all-gather", groups, runs=7) == pytest.approx(
    7 * once
  )
  squares = [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
  assert sending(topology, "all-gather", squares) < once


def test_between_slices_each_device_sends_its_share():
  topology = pod("v5e", (4, 4), num_slices=2)
  inside = sending(topology, "all-reduce", [np.arange(16), np.arange(16, 32)])
  network = BANDWIDTH * 3.125e9
  both = sending(topology, "all-reduce", np.arange(32)[None])
  assert both - inside == pytest.approx(
    2 * MIB / 16 / 2 / network + NETWORK, rel=1e-6
  )
  pairs = [[i, i + 16] for i in range(16)]
  assert sending(topology, "all-reduce", pairs) == pytest.approx(
    2 * MIB / 2 / network + NETWORK
  )


def test_gpus_have_no_grid():
  topology = Topology(
    "h100:2x2",
    CHIPS["h100"],
    (),
    1,
    [types.SimpleNamespace(process_index=i // 2) for i in range(4)],
  )
  assert sending(topology, "all-gather", [[0, 1], [2, 3]]) == pytest.approx(
    MIB / 2 / (BANDWIDTH * 450e9) + HOP
  )
  assert sending(topology, "all-gather", [[0, 2], [1, 3]]) == pytest.approx(
    MIB / 2 / (BANDWIDTH * 50e9) + NETWORK
  )
