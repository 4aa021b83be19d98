"""Helpers of the tests: layouts, errors, replayed noise and processes."""

import dataclasses

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
  expected = np.asarray(expected, np.float64)
  assert np.shape(got) == expected.shape
  return np.linalg.norm(got - expected) / (np.linalg.norm(expected) or 1.0)


def replay(initial, steps=()):
  """A noise source of stored NCHW noise, in place of SampleNoise."""
  table = jnp.asarray(np.stack([nhwc(z) for z in [initial, initial, *steps]]))
  return lambda stream, shape: table[stream]


# Arguments of the official noise schedules, as our fields.
_SCHEDULE_FIELDS = {
  "beta_0": "beta_min",
  "beta_1": "beta_max",
  "n_timestep": "num_timesteps",
}


def official_process(name, arguments=None, **fields):
  """Builds a process from the arguments of an official noise schedule.

  Args:
    name: "vp" or "stable_diffusion".
    arguments: arguments by their official names; None for the defaults.
    **fields: other fields of the process.
  """
  default = create_process(name, **fields)
  for key, value in (arguments or {}).items():
    field = _SCHEDULE_FIELDS.get(key, key)
    # A process without the field has the official default.
    if field in {f.name for f in dataclasses.fields(default)}:
      fields[field] = value
    else:
      assert value == _FIXED[field], f"{name} has no field {field}"
  return create_process(name, **fields)


_FIXED = {"linear_start": 0.00085, "linear_end": 0.012, "s": 0.008}
