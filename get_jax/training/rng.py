"""Derives the random keys of a run from its seed."""

import zlib

import jax


def named_key(seed: int, purpose: str) -> jax.Array:
  """Returns the key of a run for one purpose.

  Keys of different purposes are independent. For example, the noise that a
  student is evaluated on differs from the noise of its training pairs.

  Args:
    seed: the seed of the run.
    purpose: name of the key: "init", "step", "sample" or "pairs".
  """
  return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))
