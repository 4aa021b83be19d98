"""Helpers of the tests: layouts, errors, replayed noise and processes."""

import jax.numpy as jnp
import numpy as np
from fast_compile import fast_compile_jit, sample_together

from get_jax.diffusion import create_process

__all__ = [
  "chw_to_hwc",
  "fast_compile_jit",
  "nhwc",
  "official_process",
  "relative",
  "replay",
  "sample_together",
]


def nhwc(x):
  """(..., C, H, W) to float32 (..., H, W, C)."""
  return np.moveaxis(np.asarray(x, np.float32), -3, -1)


def chw_to_hwc(shape):
  """The shape (H, W, C) of images in an array (..., C, H, W)."""
  channels, height, width = shape[-3:]
  return height, width, channels


def relative(got, expected):
  """Relative L2 error over a whole array; absolute if all of it is zero."""
  got, expected = np.asarray(got), np.asarray(expected, np.float64)
  assert got.shape == expected.shape
  return np.linalg.norm(got - expected) / (np.linalg.norm(expected) or 1.0)


def replay(initial, steps=()):
  """A noise source of stored NCHW noise, in place of SampleNoise."""
  table = jnp.asarray(np.stack([nhwc(z) for z in [initial, initial, *steps]]))
  return lambda stream, shape: table[stream]


# Arguments of the official noise schedules, as fields of our processes.
_SCHEDULE_FIELDS = {
  "beta_0": "beta_min",
  "beta_1": "beta_max",
  "beta_min": "beta_min",
  "beta_max": "beta_max",
  "linear_start": "linear_start",
  "linear_end": "linear_end",
  "n_timestep": "num_timesteps",
  "s": "cosine_s",
}


def official_process(name, arguments=None, **fields):
  """Builds a process from the arguments of an official noise schedule.

  Args:
    name: "vp" or "stable_diffusion".
    arguments: arguments by their official names; None for the defaults.
    **fields: other fields of the process.
  """
  for key, value in (arguments or {}).items():
    fields[_SCHEDULE_FIELDS[key]] = value
  return create_process(name, **fields)
