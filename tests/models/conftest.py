"""Parameters for tests of networks."""

import functools

import jax
import numpy as np
import pytest

from get_jax.models.parameters import abstract_params


@pytest.fixture(scope="session")
def random_params():
  """`random_params(model)`: small random numbers, without compilation.

  Initial parameters would hide errors: their heads and output layers are zero.
  """

  def make(model, scale=0.1):
    rng = np.random.default_rng(0)
    return jax.tree.map(
      lambda a: scale * rng.standard_normal(a.shape, np.float32),
      abstract_params(model),
    )

  return make


@pytest.fixture(scope="session")
def fast_compile_jit():
  """`jax.jit` without optimisation, for programs that run once or twice."""
  options = {"xla_backend_optimization_level": 0}
  return functools.partial(jax.jit, compiler_options=options)
