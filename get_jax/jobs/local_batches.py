"""Applies a function to batches that are sharded over the local devices."""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def make_batch_fn(
  fn: Callable[[Any, jax.Array], jax.Array], params: Any, batch_size: int
) -> Callable[[np.ndarray], np.ndarray]:
  """Compiles a function for batches on the devices of this process.

  Args:
    fn: maps (params, x) to y, both with a leading batch axis.
    params: parameters, replicated on every device.
    batch_size: size that batches are padded to. The largest number of local
      devices that divide it evenly is used.

  Returns:
    A function from x (n, ...) to y (n, ...), with n <= batch_size.
  """
  devices = jax.local_devices()
  num_devices = math.gcd(batch_size, len(devices))
  mesh = Mesh(np.array(devices[:num_devices]), "data")
  data_sharding = NamedSharding(mesh, PartitionSpec("data"))
  params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
  jitted = jax.jit(fn)

  def batch_fn(x: np.ndarray) -> np.ndarray:
    size = len(x)
    padding = [(0, batch_size - size), *[(0, 0)] * (x.ndim - 1)]
    padded = jax.device_put(np.pad(x, padding), data_sharding)
    return np.asarray(jitted(params, padded))[:size]

  return batch_fn
