"""Where the arrays of a network live on a mesh ("data", "fsdp", "tensor").

Nothing is annotated in the networks: the place of a parameter follows from its
path and shape. Activations are split by samples and by nothing else; a layer
gathers its parameters when it comes to use them.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, PartitionSpec

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")

# Megatron's pairing: split what a projection into heads or hidden units
# produces, then what the projection back consumes.
TENSOR_RULES = (
  (re.compile(r"(^|/)(qkv|fc1)/(kernel|bias)$"), -1),
  (re.compile(r"(^|/)(proj|fc2)/kernel$"), -2),
)
MIN_SIZE = 2**12
# The networks' runs of equal blocks, which gather for themselves.
BLOCK = re.compile(r"(^|/)((in_|out_)?blocks_\d+|mid_block)/")


def path_name(path) -> str:
  """A pytree path as "params/blocks_0/attn/qkv/kernel"."""
  return jax.tree_util.keystr(path, simple=True, separator="/")


def partition(
  path: str,
  shape: Sequence[int],
  sizes: Mapping[str, int],
  axes: Sequence[str] = ("fsdp",),
) -> tuple[PartitionSpec, list[str]]:
  """The split of one parameter, or of a copy of it.

  The "tensor" axis follows TENSOR_RULES. Each of `axes` takes the largest
  dimension that it divides, one that is not split yet if there is one. Arrays
  under MIN_SIZE elements stay whole.

  Args:
    path: ends in the names of the layer and of the parameter.
    shape: of the array.
    sizes: of the mesh's axes.
    axes: what splits it besides "tensor".

  Returns:
    The split, and the axes that divide none of the dimensions they might
    take.
  """
  taken: list[list[str]] = [[] for _ in shape]
  left, misfits = list(shape), []
  if math.prod(shape) < MIN_SIZE:
    return PartitionSpec(), []

  def take(axis, candidates):
    size = sizes.get(axis, 1)
    if size == 1:
      return
    fitting = [i for i in candidates if left[i] % size == 0]
    if not fitting:
      misfits.append(axis)
      return
    best = max(fitting, key=lambda i: (not taken[i], left[i]))
    taken[best].append(axis)
    left[best] //= size

  for pattern, dimension in TENSOR_RULES:
    if -dimension <= len(shape) and pattern.search(path):
      take("tensor", [len(shape) + dimension])
  for axis in axes:
    take(axis, range(len(shape)))
  names = (tuple(t) if len(t) > 1 else t[0] if t else None for t in taken)
  return PartitionSpec(*names), misfits


def gather(params: Any, dtype: Any = None) -> Any:
  """The parameters of a layer, no longer split over "fsdp", for their use.

  Their gradients are summed into the split. Without the gathering the
  partitioner would rather move activations about, layer by layer. Without a
  mesh of these axes (`jax.set_mesh`) the parameters are returned as they are.

  Args:
    params: a tree, the names of layers and parameters in its paths.
    dtype: what the kernels are used in, and travel in; None is as they are.
  """
  if not splits("fsdp"):
    return params
  sizes = context_sizes()

  def whole(path, x):
    name = path_name(path)
    stored, _ = partition(name, x.shape, sizes)
    used, _ = partition(name, x.shape, sizes, axes=())
    if stored == used:
      return x
    if dtype is not None and name.endswith("kernel"):
      x = x.astype(dtype)
    # The transpose meets them the other way round: it sums over the samples,
    # then splits. With the split alone XLA sends the products about instead.
    x = jax.lax.with_sharding_constraint(x, stored)
    return jax.lax.with_sharding_constraint(x, used)

  return jax.tree_util.tree_map_with_path(whole, params)


def keep_split(primitive, *_, **__) -> bool:
  """Policy of `jax.checkpoint`: keeps all but what was only moved, which
  includes gathered parameters."""
  return primitive.name != "sharding_constraint"


def gather_outside_blocks(params: Any) -> Any:
  """`gather` for all parameters of a network but those of its blocks."""

  def whole(path, x):
    name = path_name(path)
    return x if BLOCK.search(name) else gather({name: x})[name]

  return jax.tree_util.tree_map_with_path(whole, params)


def pin_batch(x: jax.Array) -> jax.Array:
  """`x` with its first axis split over "data" and "fsdp", the others whole.

  Parameters that are split over "fsdp" tempt the partitioner to split the
  activations the same way; pinned activations make it gather the parameters
  of a layer instead. Without a mesh of these axes (`jax.set_mesh`), or where
  the batch does not divide, `x` is returned as it is.
  """
  sizes = context_sizes()
  axes = tuple(axis for axis in BATCH_AXES if axis in sizes)
  parts = math.prod(sizes[axis] for axis in axes)
  if parts == 1 or x.shape[0] % parts:
    return x
  return jax.lax.with_sharding_constraint(x, PartitionSpec(axes))


def pin_features(x: jax.Array) -> jax.Array:
  """`x` with its last axis split over "tensor", the others whole."""
  spec = PartitionSpec(*[None] * (x.ndim - 1), "tensor")
  if x.shape[-1] % context_sizes()["tensor"]:
    return x
  return jax.lax.with_sharding_constraint(x, spec)


def context_sizes() -> dict[str, int]:
  """Axes of the mesh in context that the partitioner may split over."""
  mesh = jax.sharding.get_abstract_mesh()
  return {
    axis: mesh.shape[axis]
    for axis, kind in zip(mesh.axis_names, mesh.axis_types, strict=True)
    if kind == AxisType.Auto
  }


def splits(axis: str) -> bool:
  """Whether the mesh in context splits arrays over this axis."""
  return context_sizes().get(axis, 1) > 1
