"""States of every dtype, and JAX's modes."""

import contextlib
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.equilibrium import (
  Anderson,
  Broyden,
  Implicit,
  JacobianFree,
  Phantom,
  Simple,
  Unrolled,
  fixed_point,
)
from get_jax.equilibrium.correction import correction_loss
from get_jax.equilibrium.regularizers import (
  gaussian_like,
  jacobian_penalty,
  spectral_radius,
)
from tests.strict_modes import strict_modes

SOLVERS = (
  Simple(30, 1e-6, damping=0.9),
  Anderson(30, 1e-6, mixing=0.9),
  Anderson(8, absolute=True),
  Broyden(30, 1e-6, memory=4, line_search=True),
  Broyden(8, memory=3, restart=True),
)
GRADIENTS = (
  Unrolled(),
  Unrolled(steps=3, policy="nothing_saveable"),
  Phantom(2, tau=0.5),
  Implicit(),
  Implicit(Broyden(8, 1e-6, relative=True)),
  JacobianFree(),
)
RNG = np.random.default_rng(0)
# Halves and quarters: exact in every dtype.
MATRIX = RNG.integers(-1, 2, (6, 6)) / 8
INPUTS = RNG.integers(-1, 2, (4, 6))


def tanh_map(params, x, z):
  product = z.astype(params.dtype) @ params
  return jnp.tanh(product + x.astype(params.dtype)).astype(z.dtype)


def training_loss(params, x, z, solver, gradient):
  """A loss with taps and a trace."""
  solution = fixed_point(
    tanh_map,
    params,
    x,
    z,
    solver=solver,
    gradient=gradient,
    taps=(2, 4),
    trace=True,
  )
  distances = jnp.abs(solution.taps.astype(jnp.float32)).sum(axis=(1, 2))
  return correction_loss(distances), solution


def regularization(params, x, z):
  """A penalty and the spectral radius."""
  keys = jax.random.split(jax.random.key(0))
  probes = gaussian_like(keys[0], z, 2)
  start = gaussian_like(keys[1], z)
  radius = spectral_radius(tanh_map, params, x, z, start, 5)
  return jacobian_penalty(tanh_map, params, x, z, probes), radius


def gradient_dtypes(function, dtype):
  """Returns the dtypes of both gradients, and what the function returns."""
  params, z = (jax.ShapeDtypeStruct(s, dtype) for s in ((6, 6), (4, 6)))
  differentiate = jax.grad(function, argnums=(0, 1), has_aux=True)
  with strict_modes():
    grads, result = jax.eval_shape(differentiate, params, z, z)
  return {str(leaf.dtype) for leaf in grads}, result


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nothing_is_promoted_by_accident(dtype):
  """Shapes suffice to find a violation; statistics are float32."""
  for case in itertools.product(SOLVERS, GRADIENTS):

    def loss(params, x, z, case=case):
      return training_loss(params, x, z, *case)

    found, solution = gradient_dtypes(loss, dtype)
    assert found == {dtype}, case
    assert solution.value.dtype == solution.taps.dtype == dtype, case
    assert solution.residual.dtype == solution.trace.dtype == jnp.float32, case
    assert solution.steps.dtype == jnp.int32, case
  found, radius = gradient_dtypes(regularization, dtype)
  assert found == {dtype}
  assert radius.radius.dtype == jnp.float32


@pytest.mark.parametrize(
  "dtype, error",
  [
    ("bfloat16", 1e-2),
    ("float16", 2e-3),
    ("float32", 1e-5),
    ("float64", 1e-12),
  ],
)
@pytest.mark.parametrize("x_dtype", ["int32", "same"])
def test_the_fixed_point_of_every_dtype(dtype, error, x_dtype):
  z = np.zeros((4, 6))
  for _ in range(100):
    z = np.tanh(z @ MATRIX + INPUTS)
  solvers = (
    Simple(60, 0.0),
    Anderson(60, 0.0),
    Broyden(60, 0.0),
  )
  with contextlib.ExitStack() as stack:
    if dtype == "float64":
      stack.enter_context(jax.enable_x64(True))
    x = jnp.asarray(INPUTS, dtype if x_dtype == "same" else x_dtype)
    for solver in solvers:
      solution = fixed_point(
        tanh_map,
        jnp.asarray(MATRIX, dtype),
        x,
        jnp.zeros((4, 6), dtype),
        solver=solver,
        gradient=JacobianFree(),
      )
      assert solution.value.dtype == dtype
      found = np.asarray(solution.value, np.float64)
      np.testing.assert_allclose(found, z, atol=error)
