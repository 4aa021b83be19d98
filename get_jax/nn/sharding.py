"""Sharding of parameters and activations on a mesh with the axes `AXES`.

The networks carry no annotations: the sharding of a parameter follows from its
path and shape. Activations are sharded over samples only; each layer gathers
its parameters when it uses them.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec

# From the axis that communicates least to the one that communicates most.
AXES = ("replica", "data", "fsdp", "tensor")
BATCH_AXES = ("replica", "data", "fsdp")

# Tensor parallelism as in Megatron: the projection into heads or hidden units
# is sharded over its outputs, the projection back over its inputs. The number
# is the dimension.
TENSOR_RULES = (
  (re.compile(r"(^|/)(qkv|query|key|value|gate|fc1)/(kernel|bias)$"), -1),
  (re.compile(r"(^|/)(proj|fc2)/kernel$"), -2),
)
# Arrays with fewer elements are not sharded.
MIN_SHARDED_SIZE = 2**12
# Stacks of equal blocks, which gather their own parameters.
BLOCK = re.compile(r"(^|/)((in_|out_|u_|v_)?blocks_\d+|mid_block)/")


def path_name(path: Any) -> str:
  """Returns a pytree path as a string: "params/blocks_0/attn/qkv/kernel"."""
  return jax.tree_util.keystr(path, simple=True, separator="/")


def partition_spec(
  path: str,
  shape: Sequence[int],
  sizes: Mapping[str, int],
  axes: Sequence[str] = ("fsdp",),
) -> tuple[PartitionSpec, list[str]]:
  """Returns the partition spec of a parameter or of an array like it.

  The "tensor" axis follows TENSOR_RULES. Each of `axes` shards the largest
  dimension that it divides, preferably one that is not sharded yet. Arrays with
  fewer than MIN_SHARDED_SIZE elements are replicated.

  Args:
    path: Path that ends in the names of the layer and of the parameter.
    shape: Shape of the array.
    sizes: Sizes of the mesh axes.
    axes: Mesh axes to shard over besides "tensor".

  Returns:
    The partition spec, and the axes that divide none of the dimensions that
    they could shard.
  """
  assigned: list[list[str]] = [[] for _ in shape]
  local_shape, indivisible = list(shape), []
  if math.prod(shape) < MIN_SHARDED_SIZE:
    return PartitionSpec(), []

  def assign(axis, dimensions):
    size = sizes.get(axis, 1)
    if size == 1:
      return
    divisible = [i for i in dimensions if local_shape[i] % size == 0]
    if not divisible:
      indivisible.append(axis)
      return
    best = max(divisible, key=lambda i: (not assigned[i], local_shape[i]))
    assigned[best].append(axis)
    local_shape[best] //= size

  for pattern, dimension in TENSOR_RULES:
    if -dimension <= len(shape) and pattern.search(path):
      assign("tensor", [len(shape) + dimension])
  for axis in axes:
    assign(axis, range(len(shape)))
  names = (tuple(a) if len(a) > 1 else a[0] if a else None for a in assigned)
  return PartitionSpec(*names), indivisible


def gather_params(params: Any, dtype: Any = None) -> Any:
  """Gathers the parameters of a layer over "fsdp" for their use.

  Their gradients are summed and sharded like the parameters. Without the
  gathering the partitioner would communicate activations in every layer.
  Without a mesh with these axes (`jax.set_mesh`) the parameters are returned
  unchanged.

  Args:
    params: Tree whose paths hold the names of layers and parameters.
    dtype: Dtype in which kernels are gathered and used; None keeps theirs.
  """
  if not is_sharded_over("fsdp"):
    return params
  sizes = mesh_axis_sizes()

  def gather(path, x):
    name = path_name(path)
    stored, _ = partition_spec(name, x.shape, sizes)
    used, _ = partition_spec(name, x.shape, sizes, axes=())
    if stored == used:
      return x
    if dtype is not None and name.endswith("kernel"):
      x = x.astype(dtype)
    # The transpose applies the constraints in reverse order: it sums the
    # gradients over the samples, then shards them. With the sharded constraint
    # alone XLA would communicate the products instead.
    x = jax.lax.with_sharding_constraint(x, stored)
    return jax.lax.with_sharding_constraint(x, used)

  return jax.tree_util.tree_map_with_path(gather, params)


def save_all_but_gathered(primitive: Any, *_: Any, **__: Any) -> bool:
  """Policy of `jax.checkpoint` that saves all but the resharded values.

  These include the gathered parameters.
  """
  return primitive.name != "sharding_constraint"


def gather_outside_blocks(params: Any) -> Any:
  """Applies `gather_params` to all parameters of a network outside blocks."""

  def gather(path, x):
    name = path_name(path)
    return x if BLOCK.search(name) else gather_params({name: x})[name]

  return jax.tree_util.tree_map_with_path(gather, params)


def shard_batch(x: jax.Array) -> jax.Array:
  """Shards the first axis over `BATCH_AXES` and replicates the others.

  If parameters are sharded over "fsdp", the partitioner tends to shard
  activations the same way. With this constraint on the activations it gathers
  the parameters of a layer instead. Without a mesh with these axes
  (`jax.set_mesh`), or if they do not divide the batch, `x` is returned
  unchanged.
  """
  sizes = mesh_axis_sizes()
  axes = tuple(axis for axis in BATCH_AXES if axis in sizes)
  num_shards = math.prod(sizes[axis] for axis in axes)
  if num_shards == 1 or x.shape[0] % num_shards:
    return x
  return jax.lax.with_sharding_constraint(x, PartitionSpec(axes))


def shard_features(x: jax.Array) -> jax.Array:
  """Shards the last axis over "tensor" and replicates the others.

  Returns `x` unchanged if "tensor" does not divide the axis.
  """
  spec = PartitionSpec(*[None] * (x.ndim - 1), "tensor")
  if x.shape[-1] % mesh_axis_sizes()["tensor"]:
    return x
  return jax.lax.with_sharding_constraint(x, spec)


def mesh_axis_sizes() -> dict[str, int]:
  """Returns the sizes of the automatic axes of the mesh in context."""
  mesh = jax.sharding.get_abstract_mesh()
  return {
    axis: mesh.shape[axis]
    for axis, axis_type in zip(mesh.axis_names, mesh.axis_types, strict=True)
    if axis_type == AxisType.Auto
  }


def is_sharded_over(axis: str) -> bool:
  """Returns whether the mesh in context has this axis with a size above 1."""
  return mesh_axis_sizes().get(axis, 1) > 1
