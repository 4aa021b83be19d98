"""Where each array of a run lives on a mesh ("data", "fsdp", "tensor").

Nothing is annotated in the networks: the place of a parameter follows from its
path and shape, and the optimiser's and the average's copies follow theirs.
"""

import logging
import math
import re
from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from get_jax.errors import UsageError

AXES = ("data", "fsdp", "tensor")
BATCH = PartitionSpec(("data", "fsdp"))

# Megatron's pairing: split what a projection into heads or hidden units
# produces, then what the projection back consumes.
TENSOR_RULES = (
  (re.compile(r"(^|/)(qkv|fc1)/(kernel|bias)$"), -1),
  (re.compile(r"(^|/)(proj|fc2)/kernel$"), -2),
)
MIN_SIZE = 2**12


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


def path_name(path) -> str:
  """A pytree path as "params/blocks_0/attn/qkv/kernel"."""
  return jax.tree_util.keystr(path, simple=True, separator="/")


def partition(path: str, shape: tuple[int, ...], mesh: Mesh) -> PartitionSpec:
  """The split of one array of the state, from its path and shape.

  The "tensor" axis follows TENSOR_RULES; "fsdp" takes the largest dimension
  that it divides and that is free. Arrays under MIN_SIZE elements stay whole.
  """
  spec: list[str | None] = [None] * len(shape)
  if math.prod(shape) >= MIN_SIZE:
    for pattern, axis in TENSOR_RULES:
      if (
        mesh.shape["tensor"] > 1
        and -axis <= len(shape)
        and pattern.search(path)
      ):
        if shape[axis] % mesh.shape["tensor"]:
          _report(path, shape, "tensor", mesh)
        else:
          spec[axis] = "tensor"
    if mesh.shape["fsdp"] > 1:
      free = [
        i
        for i, size in enumerate(shape)
        if spec[i] is None and size % mesh.shape["fsdp"] == 0
      ]
      if free:
        spec[max(free, key=lambda i: shape[i])] = "fsdp"
      else:
        _report(path, shape, "fsdp", mesh)
  return PartitionSpec(*spec)


def _report(path: str, shape: tuple[int, ...], axis: str, mesh: Mesh) -> None:
  logging.getLogger(__name__).warning(
    "%s of shape %s stays whole: no free dimension is divisible by %s=%d",
    path,
    shape,
    axis,
    mesh.shape[axis],
  )


def state_sharding(abstract_state, mesh: Mesh):
  """A NamedSharding for every array of a (shape-only) state."""

  def place(path, leaf):
    return NamedSharding(mesh, partition(path_name(path), leaf.shape, mesh))

  return jax.tree_util.tree_map_with_path(place, abstract_state)


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Batches are split over "data" and "fsdp" together."""
  return NamedSharding(mesh, BATCH)


def batch_parts(mesh: Mesh) -> int:
  """Into how many parts a batch is split."""
  return mesh.shape["data"] * mesh.shape["fsdp"]


def check_batch_size(batch_size: int, mesh: Mesh, key: str = "batch_size"):
  """Refuses a batch that the mesh cannot split evenly.

  Raises:
    UsageError: `batch_size` is not a positive multiple of data*fsdp.
  """
  parts = batch_parts(mesh)
  if batch_size < 1 or batch_size % parts:
    raise UsageError(
      f"{key} is {batch_size}; expected a positive multiple of {parts}, the "
      f"number of parts of the mesh (data={mesh.shape['data']} x "
      f"fsdp={mesh.shape['fsdp']})"
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
