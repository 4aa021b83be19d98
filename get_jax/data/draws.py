"""What is random about a record: 64 bits from the seed and its position.

A position in the endless training order has its own bits, so flips, posterior
samples and captions are drawn anew every epoch, and are the same for any
number of workers and hosts and after any restart.
"""

import numpy as np

_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_STEP = 0x9E3779B97F4A7C15


def draws(seed: int, positions: np.ndarray) -> np.ndarray:
  """Uniform uint64 (n,), one for each of the positions (n,).

  The mixing is that of SplitMix64 (Steele, Lea and Flood 2014).
  """
  with np.errstate(over="ignore"):
    start = _mix(np.uint64([seed % 2**64]) + np.uint64(_STEP))
    words = np.asarray(positions, np.uint64) * np.uint64(_STEP)
    return _mix(words + start)


def coin(words: np.ndarray) -> np.ndarray:
  """True or False (n,) with equal probability."""
  return (words >> np.uint64(63)).astype(bool)


def choice(words: np.ndarray, counts: np.ndarray) -> np.ndarray:
  """Numbers (n,) below `counts` (n,), all equally likely but for 2^-32."""
  high = words >> np.uint64(32)
  return (high * np.asarray(counts, np.uint64) >> np.uint64(32)).astype(int)


def normal(words: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
  """Standard normal float32 (n, *shape)."""
  rows = np.empty((len(words), *shape), np.float32)
  for row, word in zip(rows, words.tolist(), strict=True):
    # RandomState: its stream is frozen for all numpy versions.
    rng = np.random.RandomState([word % 2**32, word >> 32])
    row[...] = rng.standard_normal(shape)
  return rows


def _mix(x: np.ndarray) -> np.ndarray:
  for shift, multiplier in zip((30, 27), _MULTIPLIERS, strict=True):
    x = (x ^ (x >> np.uint64(shift))) * np.uint64(multiplier)
  return x ^ (x >> np.uint64(31))
