"""Sharding of activations over the mesh in context."""

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, PartitionSpec

from get_jax.nn.sharding import shard_batch


def test_the_batch_is_split_and_the_rest_whole():
  mesh = jax.make_mesh(
    (2, 2, 2), ("data", "fsdp", "tensor"), axis_types=(AxisType.Auto,) * 3
  )
  with jax.set_mesh(mesh):
    x = jax.jit(shard_batch)(jnp.ones((8, 3)))
    assert x.sharding.spec == PartitionSpec(("data", "fsdp"))
    # A batch that the axes do not divide is unchanged.
    assert jax.jit(shard_batch)(jnp.ones((6, 3))).shape == (6, 3)


def test_without_a_mesh_the_batch_is_unchanged():
  x = jnp.ones((8, 3))
  assert shard_batch(x) is x
