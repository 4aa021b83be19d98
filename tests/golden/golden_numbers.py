"""What the tests of diffusion share: layouts, errors and replayed noise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.scheme import Scheme, integrate

# Tiny networks run for a moment and compile for long: skip the optimiser.
_OPTIONS = {"xla_backend_optimization_level": 0}
if jax.__version_info__ < (0, 11):
  _OPTIONS["xla_cpu_use_fusion_emitters"] = False
quick_jit = functools.partial(jax.jit, compiler_options=_OPTIONS)


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


def sample_together(samplers, predict, noise, shape):
  """Samples of many schemes from one program, idle rows behind the short."""
  length = max(s.evaluations for s in samplers)

  def filled(scheme):
    count = length - scheme.evaluations

    def fill(column, value):
      idle = np.full((count, *column.shape[1:]), value, column.dtype)
      return np.concatenate([column, idle])

    still = np.zeros(scheme.evaluations)
    stream = still if scheme.stream is None else scheme.stream
    return {
      "start": np.float32(scheme.start),
      "time": fill(scheme.time, scheme.time[-1]).astype(np.float32),
      "begins": fill(scheme.begins, True),
      "base_weight": fill(scheme.base_weight, 1.0).astype(np.float32),
      "weights": fill(scheme.weights, 0.0).astype(np.float32),
      "kick": fill(still if scheme.kick is None else scheme.kick, 0.0),
      "stream": fill(stream, 0).astype(np.int32),
    }

  def run(columns):
    scheme = Scheme(**columns)
    return integrate(scheme, predict, noise, shape, denoised=None)

  tables = [filled(s.scheme) for s in samplers]
  stacked = jax.tree.map(lambda *columns: np.stack(columns), *tables)
  return quick_jit(jax.vmap(run))(stacked)
