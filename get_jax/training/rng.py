"""Derives the random keys of a run from its seed."""

import zlib

import jax

from get_jax.errors import UsageError


def named_key(seed: int, purpose: str) -> jax.Array:
  """Returns the key of a run for one purpose.

  Keys of different purposes are independent. For example, the noise that a
  student is evaluated on differs from the noise of its training pairs.

  Args:
    seed: the seed of the run.
    purpose: name of the key: "init", "step", "sample" or "pairs".

  Raises:
    UsageError: the seed does not fit in 32 bits.
  """
  if not 0 <= seed < 2**32:
    raise UsageError(f"the seed is {seed}; expected one of 0 to {2**32 - 1}")
  return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))
