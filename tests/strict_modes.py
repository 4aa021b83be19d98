"""JAX's strict modes, for tests of dtypes."""

import contextlib

import jax


@contextlib.contextmanager
def strict_modes():
  """Numbers of 64 bits are on, and every implicit promotion is an error.

  Each promotion that one of the modes alone finds is found with all of them.
  """
  with (
    jax.numpy_rank_promotion("raise"),
    jax.numpy_dtype_promotion("strict"),
    jax.enable_x64(True),
  ):
    yield
