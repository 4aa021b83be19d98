"""Sharding of states and batches over the devices of one or several slices.

The modules carry no sharding annotations. The sharding of a parameter follows
from its path and shape; the optimizer state and the EMA are sharded by the same
rules over one more axis.
"""

import collections
import logging
import math
import re
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Int, PyTree

from get_jax.errors import UsageError
from get_jax.hardware.rings import arrange_on_rings
from get_jax.hardware.slices import split_into_slices
from get_jax.nn.sharding import (
  AXES,
  BATCH_AXES,
  mesh_axis_sizes,
  partition_spec,
  path_name,
)

BATCH_SPEC = PartitionSpec(BATCH_AXES)
# Axes that shard the fields of a `TrainState`, in addition to "tensor". None is
# sharded over "replica": only sums of gradients cross the network of slices.
OPTIMIZER_AXES = ("fsdp", "data")
STATE_AXES = {
  "params": ("fsdp",),
  "targets": ("fsdp",),
  "ema": OPTIMIZER_AXES,
  "opt_state": OPTIMIZER_AXES,
}
log = logging.getLogger(__name__)


def make_mesh(
  sizes: Sequence[int],
  devices: Sequence[jax.Device] | None = None,
  num_slices: int | None = None,
) -> Mesh:
  """Builds a mesh with the axes ("replica", "data", "fsdp", "tensor").

  "replica" has one position per slice, see `split_into_slices`. Within a TPU
  slice every axis lies on a ring of links, see `arrange_on_rings`. Other
  devices keep their order.

  Args:
    sizes: number of devices along "data", "fsdp" and "tensor" in each slice;
      one of them may be -1, which stands for all remaining devices.
    devices: the devices; None uses `jax.devices()`.
    num_slices: number of slices; None finds those of TPUs.

  Raises:
    UsageError: the devices do not form that many slices, or the product of the
      sizes is not the number of devices of a slice.
  """
  devices = jax.devices() if devices is None else list(devices)
  slices = split_into_slices(devices, num_slices)
  count, sizes = len(slices[0]), list(sizes)
  if sizes.count(-1) == 1:
    others = -math.prod(sizes)
    if others > 0 and count % others == 0:
      sizes[sizes.index(-1)] = count // others
  if min(sizes) < 1 or math.prod(sizes) != count:
    per_slice = " of each slice" if len(slices) > 1 else ""
    raise UsageError(
      f"mesh {dict(zip(AXES[1:], sizes, strict=True))} does not fit {count} "
      f"devices{per_slice}; expected sizes whose product is that number"
    )
  arrange = arrange_on_rings if devices[0].platform == "tpu" else _in_order
  grid = np.stack([arrange(each, sizes) for each in slices])
  return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def _in_order(
  devices: Sequence[jax.Device], sizes: Sequence[int]
) -> np.ndarray:
  return np.asarray(devices).reshape(sizes)


def state_sharding(abstract_state: PyTree, mesh: Mesh) -> PyTree:
  """Returns a NamedSharding for every array of an abstract `TrainState`.

  Parameters are sharded over "fsdp" and "tensor". The optimizer state and the
  EMA, which only the update uses, are sharded over "data" as well. Every slice
  has a copy of all of them. An array is replicated over an axis whose size
  divides none of its dimensions; a warning lists these arrays.
  """
  unsharded: dict[str, collections.Counter] = collections.defaultdict(
    collections.Counter
  )

  def sharding_of(path, leaf):
    name = path_name(path)
    field = name.split("/")[0]
    spec, replicated = partition_spec(
      name, leaf.shape, mesh.shape, STATE_AXES.get(field, ())
    )
    for axis in replicated:
      # The optimizer's arrays have the shapes of the EMA's.
      if (field, axis == "data") in (("params", False), ("ema", True)):
        unsharded[axis][re.sub(r"\d+", "*", name), leaf.shape] += 1
    return NamedSharding(mesh, spec)

  shardings = jax.tree_util.tree_map_with_path(sharding_of, abstract_state)
  for axis, arrays in unsharded.items():
    log.warning(
      "%s=%d divides no dimension that it could shard of: %s; these arrays are "
      "replicated over that axis",
      axis,
      mesh.shape[axis],
      ", ".join(f"{n} {s} (x{count})" for (n, s), count in arrays.items()),
    )
  return shardings


def shard_gradients(grads: PyTree) -> PyTree:
  """Returns the gradients, sharded like the optimizer state.

  The gradients are first constrained to the sharding of the parameters, where
  they are summed, and then to that of the optimizer state. With the second
  constraint alone, XLA propagates it backwards into the network and
  communicates the matrix products.
  """
  sizes = mesh_axis_sizes()
  if math.prod(sizes.values()) == 1:
    return grads

  def constrain(path, x):
    for axes in (STATE_AXES["params"], OPTIMIZER_AXES):
      spec, _ = partition_spec(path_name(path), x.shape, sizes, axes)
      x = jax.lax.with_sharding_constraint(x, spec)
    return x

  return jax.tree_util.tree_map_with_path(constrain, grads)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of batches: over all axes of `BATCH_AXES` together."""
  return NamedSharding(mesh, BATCH_SPEC)


def num_batch_shards(mesh: Mesh) -> int:
  """Returns the number of shards of a batch."""
  return math.prod(mesh.shape[axis] for axis in BATCH_AXES)


def check_batch_size(
  batch_size: int,
  mesh: Mesh,
  key: str = "batch_size",
  accumulation: int = 1,
) -> None:
  """Checks that a batch can be sharded evenly over the mesh.

  Args:
    batch_size: size of the global batch.
    mesh: the device mesh.
    key: config key of the batch size, for the message.
    accumulation: number of microbatches.

  Raises:
    UsageError: `batch_size` is not a positive multiple of the number of shards
      of a batch times `accumulation`.
  """
  if accumulation < 1:
    raise UsageError(
      f"accumulation is {accumulation}; expected a positive number"
    )
  divisor = num_batch_shards(mesh) * accumulation
  if batch_size < 1 or batch_size % divisor:
    factors = {axis: mesh.shape[axis] for axis in BATCH_AXES}
    if factors["replica"] == 1:
      del factors["replica"]
    if accumulation > 1:
      factors["accumulation"] = accumulation
    raise UsageError(
      f"{key} is {batch_size}; expected a positive multiple of {divisor}, the "
      "number of shards of a batch "
      f"({' x '.join(f'{axis}={size}' for axis, size in factors.items())})"
    )


def make_global_batch(batch: PyTree, mesh: Mesh) -> PyTree:
  """Builds global arrays on the mesh from this process's rows of a batch."""
  sharding = batch_sharding(mesh)
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)),
    batch,
  )


def local_batch_indices(batch_size: int, mesh: Mesh) -> Int[np.ndarray, " n"]:
  """Returns the positions in a batch that this process loads, ascending.

  They need not be contiguous. If "tensor" spans processes, several processes
  load the same positions.
  """
  shards = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
  positions = [
    np.arange(batch_size)[index] for index in shards.values() if index
  ]
  return np.unique(np.concatenate(positions))
