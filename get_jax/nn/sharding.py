"""Where activations live on the mesh in context, if there is one."""

import math

import jax
from jax.sharding import AxisType, PartitionSpec

BATCH_AXES = ("data", "fsdp")


def pin_batch(x: jax.Array) -> jax.Array:
  """`x` with its first axis split over "data" and "fsdp", the others whole.

  Parameters that are split over "fsdp" tempt the partitioner to split the
  activations the same way; pinned activations make it gather the parameters
  of a layer instead. Without a mesh of these axes (`jax.set_mesh`), or where
  the batch does not divide, `x` is returned as it is.
  """
  mesh = jax.sharding.get_abstract_mesh()
  axes = tuple(
    axis
    for axis, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
    if axis in BATCH_AXES and kind == AxisType.Auto
  )
  parts = math.prod(mesh.shape[axis] for axis in axes)
  if parts == 1 or x.shape[0] % parts:
    return x
  return jax.lax.with_sharding_constraint(x, PartitionSpec(axes))
