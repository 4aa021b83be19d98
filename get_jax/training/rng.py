"""All randomness of a run grows from one seed and a purpose."""

import zlib

import jax


def named_key(seed: int, purpose: str) -> jax.Array:
  """The key for one purpose ("init", "step", "sample", "pairs") of a run.

  Keys of different purposes are independent, so that, for instance, the noise
  a student is tested on is not the noise of its training pairs.
  """
  return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))
