"""Deterministic random bits for records: 64 per (seed, position).

A position in the infinite training order has its own bits. Flips, posterior
samples and captions are therefore sampled anew in every epoch, and are the
same for any number of workers and hosts and after any restart.
"""

import numpy as np

_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_INCREMENT = 0x9E3779B97F4A7C15


def random_bits(seed: int, positions: np.ndarray) -> np.ndarray:
  """Returns uniform random bits, uint64 (n,), one word per position.

  The mixing function is that of SplitMix64 (Steele, Lea and Flood 2014).

  Args:
    seed: any integer.
    positions: non-negative integers (n,).
  """
  with np.errstate(over="ignore"):
    seeds = np.array([seed % 2**64], np.uint64)
    start = _mix(seeds + np.uint64(_INCREMENT))
    words = np.asarray(positions, np.uint64) * np.uint64(_INCREMENT)
    return _mix(words + start)


def bernoulli(bits: np.ndarray) -> np.ndarray:
  """Returns True or False with equal probability, (n,), from bits (n,)."""
  return (bits >> np.uint64(63)).astype(bool)


def randint(bits: np.ndarray, limits: np.ndarray) -> np.ndarray:
  """Returns integers (n,) in [0, limit), for each of the limits (n,).

  They are uniform up to an error of 2^-32.
  """
  high = bits >> np.uint64(32)
  return (high * np.asarray(limits, np.uint64) >> np.uint64(32)).astype(int)


def normal(bits: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Returns standard normal float32 (n, *shape) from bits (n,)."""
  rows = np.empty((len(bits), *shape), np.float32)
  for row, word in zip(rows, bits.tolist(), strict=True):
    # RandomState: its stream is frozen for all numpy versions.
    rng = np.random.RandomState([word % 2**32, word >> 32])
    row[...] = rng.standard_normal(shape)
  return rows


def _mix(x: np.ndarray) -> np.ndarray:
  for shift, multiplier in zip((30, 27), _MULTIPLIERS, strict=True):
    x = (x ^ (x >> np.uint64(shift))) * np.uint64(multiplier)
  return x ^ (x >> np.uint64(31))
