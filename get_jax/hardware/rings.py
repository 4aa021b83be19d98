"""Arranges the devices of a TPU slice so that every mesh axis is a ring.

A collective over a part of a slice passes data from device to device, in the
order of the mesh axis and from the last device back to the first. If each
device is a neighbour of the next in the slice, a transfer uses one link, and no
other group uses that link.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from get_jax.hardware.chips import CHIPS, DEVICE_KINDS

Box = tuple[int, ...]


def arrange_on_rings(
  devices: Sequence[jax.Device], sizes: Sequence[int]
) -> np.ndarray:
  """Arranges the devices of a TPU slice in an array of mesh axes.

  Each axis takes a box of the slice, the last axis first, and its devices are
  ordered along a ring through that box. Two devices of a chip are neighbours.
  The devices of a box without a ring, such as a row of a slice whose rows do
  not close, are ordered along a path.

  Args:
    devices: devices of one slice.
    sizes: number of devices along each mesh axis, from the axis that
      communicates least to the one that communicates most. The product is the
      number of devices.

  Returns:
    Array of devices of the given sizes. Devices that do not fill a box keep
    their order.
  """
  grid = _device_grid(devices)
  if grid is None:
    return _object_array(devices).reshape(sizes)
  closed = _closed_sides(devices[0], grid.shape)
  taken: Box = (1,) * grid.ndim  # by the axes after the current one
  positions = np.zeros((1,) * len(sizes) + (grid.ndim,), int)
  for axis in reversed(range(len(sizes))):
    box = _best_box(sizes[axis], grid.shape, taken, closed)
    steps = np.array(_ring(box)) * taken
    shape = [1] * len(sizes) + [grid.ndim]
    shape[axis] = sizes[axis]
    positions = positions + steps.reshape(shape)
    taken = tuple(t * b for t, b in zip(taken, box, strict=True))
  return grid[tuple(np.moveaxis(positions, -1, 0))]


def _device_grid(devices: Sequence[Any]) -> np.ndarray | None:
  """Returns the devices by core and coordinates; None if the grid has holes."""
  places = np.array([(d.core_on_chip, *d.coords) for d in devices])
  places -= places.min(axis=0)
  grid = np.full(places.max(axis=0) + 1, None)
  for place, device in zip(places, devices, strict=True):
    grid[tuple(place)] = device
  if grid.size != len(devices) or any(d is None for d in grid.flat):
    return None
  return grid


def _object_array(devices: Sequence[Any]) -> np.ndarray:
  array = np.empty(len(devices), object)
  array[:] = devices
  return array


def _closed_sides(device: Any, sides: Box) -> tuple[bool, ...]:
  """Returns whether the links along each side of the grid close to a ring."""
  name = DEVICE_KINDS.get(device.device_kind)
  if name is None:
    return (False,) * len(sides)
  multiple = CHIPS[name].ring_multiple
  return (False, *(side % multiple == 0 for side in sides[1:]))


def _best_box(size: int, sides: Box, taken: Box, closed: Sequence[bool]) -> Box:
  """Returns the box of `size` devices with the best links.

  It prefers the devices of whole chips, boxes with a ring, boxes that span
  whole sides of the grid, and square ones, in this order.

  Args:
    size: number of devices.
    sides: sides of the grid; the first one is the devices of a chip.
    taken: sides of the part that other axes divide.
    closed: whether the links along each side of the grid close to a ring.
  """

  def quality(box: Box) -> tuple:
    whole = [b * t == s for b, t, s in zip(box, taken, sides, strict=True)]
    return (
      box[0],
      _has_ring(box, [w and c for w, c in zip(whole, closed, strict=True)]),
      math.prod(b for b, w in zip(box, whole, strict=True) if w),
      -sum(box),
      box,
    )

  free = [s // t for s, t in zip(sides, taken, strict=True)]
  return max(_boxes(size, free), key=quality)


def _boxes(size: int, free: Sequence[int]) -> Iterator[Box]:
  """Yields the boxes of `size` devices whose sides divide the free ones."""
  divisors = ([n for n in range(1, f + 1) if f % n == 0] for f in free)
  for box in itertools.product(*divisors):
    if math.prod(box) == size:
      yield box


def _has_ring(box: Box, closed: Sequence[bool]) -> bool:
  """Returns whether a ring of neighbours visits every device of a box once."""
  extended = [i for i, side in enumerate(box) if side > 1]
  if len(extended) == 1:
    (only,) = extended
    return box[only] == 2 or closed[only]
  return not extended or any(side % 2 == 0 for side in box)


def _ring(box: Box) -> list[Box]:
  """Returns the positions of a box along a ring, or else along a path.

  The ring runs through all lanes along an even side, forward and backward in
  turn, except for the first position of each lane, which are its way back.
  """
  even = next((i for i, side in enumerate(box) if side % 2 == 0), None)
  if even is None or math.prod(box) == box[even]:
    return _path(box)
  first, *lane = _path((*box[:even], 1, *box[even + 1 :]))

  def at(position: Box, i: int) -> Box:
    return (*position[:even], i, *position[even + 1 :])

  ring = [first]
  for i in range(box[even]):
    ring += [at(position, i) for position in lane]
    lane.reverse()
  return ring + [at(first, i) for i in range(box[even] - 1, 0, -1)]


def _path(box: Box) -> list[Box]:
  """Returns the positions of a box, each one a neighbour of the one before."""
  if not box:
    return [()]
  inner = _path(box[1:])
  path = []
  for i in range(box[0]):
    path += [(i, *position) for position in inner]
    inner.reverse()
  return path
