"""Mesh axes on rings of links, for slices described by coordinates only."""

import numpy as np
import pytest

from get_jax.hardware.rings import arrange_on_rings
from tests.hardware.fake_tpu import fake_slice, ring_hops

# Slice, data x fsdp x tensor, and the chips of the first fsdp group.
FSDP_RINGS = [
  ("v5e:2x2", (1, 4, 1), (2, 2, 1)),
  ("v5e:2x4", (1, 8, 1), (2, 4, 1)),
  ("v5e:2x4", (2, 4, 1), (2, 2, 1)),
  ("v5e:8x8", (4, 16, 1), (8, 2, 1)),
  ("v5e:8x8", (16, 4, 1), (2, 2, 1)),
  ("v5e:8x8", (1, 64, 1), (8, 8, 1)),
  ("v5e:16x16", (16, 16, 1), (16, 1, 1)),
  ("v5e:16x16", (4, 64, 1), (16, 4, 1)),
  ("v5p:4x4x4", (4, 16, 1), (4, 4, 1)),
  ("v5p:4x4x4", (16, 4, 1), (4, 1, 1)),
  ("v5p:4x4x4", (8, 8, 1), (4, 2, 1)),
  ("v5p:4x4x12", (4, 48, 1), (4, 1, 12)),
  ("v6e:16x16", (16, 16, 1), (16, 1, 1)),
  ("tpu7x:4x4x4", (8, 16, 1), (4, 2, 1)),
  ("v3:4x4", (2, 16, 1), (4, 2, 1)),
]


def extents(group):
  return tuple(len({d.coords[i] for d in group}) for i in range(3))


@pytest.mark.parametrize(("name", "sizes", "box"), FSDP_RINGS)
def test_every_fsdp_group_is_a_ring(name, sizes, box):
  mesh = arrange_on_rings(fake_slice(name), sizes)
  assert mesh.shape == sizes
  assert set(mesh.flat) == set(fake_slice(name))
  for group in mesh[:, :, 0]:
    assert extents(group) == box
    assert max(ring_hops(name, group)) == 1


@pytest.mark.parametrize(
  ("name", "sizes"),
  [
    ("v5p:4x4x4", (4, 4, 4)),
    ("v5e:8x8", (2, 16, 2)),
    ("v5e:16x16", (1, 16, 16)),
  ],
)
def test_tensor_groups_come_first_and_are_rings(name, sizes):
  mesh = arrange_on_rings(fake_slice(name), sizes)
  groups = mesh.reshape(-1, sizes[2])
  assert all(max(ring_hops(name, group)) == 1 for group in groups)
  # A step along fsdp crosses at most two devices of a tensor group here.
  for group in np.moveaxis(mesh, 1, 2).reshape(-1, sizes[1]):
    assert max(ring_hops(name, group)) <= 2


@pytest.mark.parametrize("name", ["tpu7x:2x2x2", "v3:4x4"])
def test_the_two_devices_of_a_chip_are_in_one_group(name):
  mesh = arrange_on_rings(fake_slice(name), (len(fake_slice(name)) // 2, 2, 1))
  for one, other in mesh[:, :, 0]:
    assert one.coords == other.coords and one != other


def test_a_row_that_does_not_close_is_a_path():
  mesh = arrange_on_rings(fake_slice("v5e:1x4"), (1, 4, 1))
  assert ring_hops("v5e:1x4", mesh[0, :, 0]) == [1, 1, 1, 3]


def test_the_host_of_a_larger_slice_has_a_ring():
  host = [d for d in fake_slice("v5e:8x8") if min(d.coords[:2]) >= 6]
  mesh = arrange_on_rings(host, (1, 4, 1))
  assert ring_hops("v5e:8x8", mesh[0, :, 0]) == [1, 1, 1, 1]


def test_devices_that_fill_no_box_keep_their_order():
  devices = fake_slice("v5e:2x2")[:3]
  assert arrange_on_rings(devices, (1, 3, 1)).ravel().tolist() == devices
