"""The front door: values, taps, diagnostics and bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.equilibrium import (
  Simple,
  Unrolled,
  fixed_point,
)


def tanh_map(params, x, z):
  return jnp.tanh(z @ params + x)


@pytest.fixture(scope="module")
def problem():
  keys = jax.random.split(jax.random.key(0), 3)
  params = 0.15 * jax.random.normal(keys[0], (6, 6))
  x = jax.random.normal(keys[1], (4, 6))
  return params, x, jax.random.normal(keys[2], (4, 6))


def test_fixed_count_returns_every_iterate(problem):
  params, x, z0 = problem
  calls = []

  def counted(params, x, z):
    jax.debug.callback(lambda: calls.append(1))
    return tanh_map(params, x, z)

  solution = jax.jit(
    lambda: fixed_point(
      counted,
      params,
      x,
      z0,
      solver=Simple(max_steps=6),
      gradient=Unrolled(),
      taps=range(1, 7),
    )
  )()
  jax.effects_barrier()
  z, iterates = z0, []
  for _ in range(6):
    z = tanh_map(params, x, z)
    iterates.append(z)
  assert len(calls) == 6
  np.testing.assert_allclose(solution.taps, jnp.stack(iterates), rtol=1e-5)
  np.testing.assert_array_equal(solution.value, solution.taps[-1])
  np.testing.assert_array_equal(solution.steps, 6)
  assert not solution.converged.any()
