"""Where each array of a run lives on a mesh ("data", "fsdp", "tensor").

Nothing is annotated in the networks: the place of a parameter follows from its
path and shape, and the optimiser's and the average's copies follow theirs.
"""

import collections
import logging
import math
import re
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from get_jax.errors import UsageError
from get_jax.nn.sharding import (
  AXES,
  BATCH_AXES,
  context_sizes,
  partition,
  path_name,
)

BATCH = PartitionSpec(BATCH_AXES)
# What splits the arrays of a state, besides "tensor".
UPDATE_AXES = ("fsdp", "data")
ROOMS = {"params": ("fsdp",), "ema": UPDATE_AXES, "opt_state": UPDATE_AXES}
log = logging.getLogger(__name__)


def make_mesh(
  sizes: Sequence[int], devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """A mesh of `sizes` over ("data", "fsdp", "tensor"); one -1 takes the rest.

  Raises:
    UsageError: the sizes do not multiply to the number of devices.
  """
  devices = jax.devices() if devices is None else list(devices)
  sizes = list(sizes)
  if sizes.count(-1) == 1:
    others = -math.prod(sizes)
    if others > 0 and len(devices) % others == 0:
      sizes[sizes.index(-1)] = len(devices) // others
  if min(sizes) < 1 or math.prod(sizes) != len(devices):
    raise UsageError(
      f"mesh {dict(zip(AXES, sizes, strict=True))} does not fit "
      f"{len(devices)} devices; expected sizes whose product is that number"
    )
  grid = np.asarray(devices).reshape(sizes)
  return Mesh(grid, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def state_sharding(abstract_state, mesh: Mesh):
  """A NamedSharding for every array of a (shape-only) `TrainState`.

  Parameters are split over "fsdp" and "tensor"; what only the update needs,
  optimiser and average, is split over "data" as well. An array that an axis
  cannot split stays whole there, and is named in the log.
  """
  misfits: dict[str, collections.Counter] = collections.defaultdict(
    collections.Counter
  )

  def place(path, leaf):
    name = path_name(path)
    room = name.split("/")[0]
    spec, whole = partition(name, leaf.shape, mesh.shape, ROOMS.get(room, ()))
    for axis in whole:
      # The optimiser's arrays are those of the average over again.
      if (room, axis == "data") in (("params", False), ("ema", True)):
        misfits[axis][re.sub(r"\d+", "*", name), leaf.shape] += 1
    return NamedSharding(mesh, spec)

  placed = jax.tree_util.tree_map_with_path(place, abstract_state)
  for axis, arrays in misfits.items():
    log.warning(
      "%s=%d divides no dimension that it might split of: %s; they stay whole",
      axis,
      mesh.shape[axis],
      ", ".join(f"{n} {s} (x{count})" for (n, s), count in arrays.items()),
    )
  return placed


def pin_update(grads):
  """Gradients, split as the optimiser's state is.

  They are summed where the parameters are and then split: with the split alone
  XLA carries it back into the network and sends the products about.
  """
  sizes = context_sizes()
  if math.prod(sizes.values()) == 1:
    return grads

  def pin(path, x):
    for axes in (ROOMS["params"], UPDATE_AXES):
      spec, _ = partition(path_name(path), x.shape, sizes, axes)
      x = jax.lax.with_sharding_constraint(x, spec)
    return x

  return jax.tree_util.tree_map_with_path(pin, grads)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Batches are split over "data" and "fsdp" together."""
  return NamedSharding(mesh, BATCH)


def batch_parts(mesh: Mesh) -> int:
  """Into how many parts a batch is split."""
  return mesh.shape["data"] * mesh.shape["fsdp"]


def check_batch_size(
  batch_size: int,
  mesh: Mesh,
  key: str = "batch_size",
  accumulation: int = 1,
) -> None:
  """Refuses a batch that the mesh cannot split evenly.

  Args:
    batch_size: over all devices.
    mesh: what splits it.
    key: of the config, for the message.
    accumulation: parts that the batch is worked through in.

  Raises:
    UsageError: `batch_size` is not a positive multiple of data*fsdp times
      `accumulation`.
  """
  if accumulation < 1:
    raise UsageError(
      f"accumulation is {accumulation}; expected a positive number"
    )
  parts = batch_parts(mesh) * accumulation
  if batch_size < 1 or batch_size % parts:
    times = f" x accumulation={accumulation}" if accumulation > 1 else ""
    raise UsageError(
      f"{key} is {batch_size}; expected a positive multiple of {parts}, the "
      f"number of parts of the mesh (data={mesh.shape['data']} x "
      f"fsdp={mesh.shape['fsdp']}{times})"
    )


def to_mesh(batch, mesh: Mesh):
  """This host's part of a batch as global arrays on the mesh."""
  sharding = batch_sharding(mesh)
  return jax.tree.map(
    lambda x: jax.make_array_from_process_local_data(sharding, np.asarray(x)),
    batch,
  )


def local_rows(batch_size: int, mesh: Mesh) -> np.ndarray:
  """The rows of a batch that this process's devices take, in order.

  They need not lie together, and where "tensor" spans processes several of
  them take the same.
  """
  shares = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
  rows = [np.arange(batch_size)[share] for (share,) in shares.values()]
  return np.unique(np.concatenate(rows))
