"""Number of evaluations of the solvers where plain iteration is slow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.equilibrium import Anderson, Broyden, fixed_point


def spectral_map(size, symmetric, seed, radius=0.95):
  """A random matrix with a given spectral radius, and a batch of shifts."""
  rng = np.random.default_rng(seed)
  w = rng.normal(size=(size, size))
  if symmetric:
    w = (w + w.T) / 2
  return w * radius / np.abs(np.linalg.eigvals(w)).max(), rng.normal(
    size=(4, size)
  )


def plain_evaluations(w, x, tolerance):
  """Plain iteration until all residuals are below the tolerance."""
  z, count = np.zeros_like(x), 0
  while True:
    image, count = z @ w.T + x, count + 1
    if np.linalg.norm(image - z, axis=1).max() < tolerance:
      return count
    z = image


@pytest.mark.parametrize("size", [16, 64])
def test_a_third_of_plain_iteration_at_radius_095(size):
  with jax.enable_x64(True):
    for solver in (Anderson(120, 1e-6), Broyden(120, 1e-6)):
      solve = jax.jit(
        lambda w, x, s=solver: fixed_point(
          lambda w, x, z: z @ w.T + x, w, x, jnp.zeros_like(x), solver=s
        )
      )
      for symmetric in (True, False):
        for seed in range(3):
          w, x = spectral_map(size, symmetric, seed)
          solution = solve(jnp.asarray(w), jnp.asarray(x))
          assert solution.converged.all()
          plain = plain_evaluations(w, x, 1e-6)
          assert 3 * solution.steps.max() <= plain


def test_broyden_solves_a_map_that_is_no_contraction():
  """Spectral radius 2: plain iteration diverges."""
  with jax.enable_x64(True):
    w, x = spectral_map(16, False, 0, radius=2.0)
    solution = fixed_point(
      lambda w, x, z: z @ w.T + x,
      jnp.asarray(w),
      jnp.asarray(x),
      jnp.zeros_like(x),
      solver=Broyden(60, 1e-6),
    )
    assert solution.converged.all()
    exact = np.linalg.solve(np.eye(16) - w, x.T).T
    np.testing.assert_allclose(solution.value, exact, rtol=1e-4, atol=1e-5)


def test_line_search_saves_a_step_that_overshoots():
  """f(z) = z - 5 arctan(5 z): full steps from far away diverge."""

  def f(params, x, z):
    return z - 5 * jnp.arctan(5 * z)

  z0 = jnp.array([[1.0], [-2.0]])
  full = fixed_point(f, (), (), z0, solver=Broyden(12, 1e-5))
  searched = fixed_point(
    f, (), (), z0, solver=Broyden(40, 1e-5, line_search=True)
  )
  assert searched.converged.all()
  np.testing.assert_allclose(searched.value, 0, atol=1e-5)
  assert not full.converged.all()
