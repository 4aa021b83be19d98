"""What the tests of diffusion share: layouts, errors and replayed noise."""

import jax.numpy as jnp
import numpy as np
from fast_compile import fast_compile_jit, sample_together

__all__ = ["fast_compile_jit", "nhwc", "relative", "replay", "sample_together"]


def nhwc(x):
  """(..., C, H, W) to float32 (..., H, W, C)."""
  return np.moveaxis(np.asarray(x, np.float32), -3, -1)


def relative(got, expected):
  """Relative L2 error over a whole array."""
  expected = np.asarray(expected, np.float64)
  assert np.shape(got) == expected.shape
  return np.linalg.norm(got - expected) / np.linalg.norm(expected)


def replay(initial, steps=()):
  """A noise source of stored NCHW draws, in place of SampleNoise."""
  table = jnp.asarray(np.stack([nhwc(z) for z in [initial, initial, *steps]]))
  return lambda stream, shape: table[stream]
