"""The closed forms agree with each other and with a numerical solution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
from gaussian_flow import Gaussian

from get_jax.diffusion import create_process

DATA = Gaussian(mean=0.4, std=0.6)
X = np.random.default_rng(0).normal(size=5)


@pytest.fixture(scope="module", autouse=True)
def float64():
  with jax.enable_x64(True):
    yield


def solve(velocity, x, start, end):
  return scipy.integrate.solve_ivp(
    lambda t, x: np.asarray(velocity(x, t)),
    (start, end),
    x,
    rtol=1e-10,
    atol=1e-10,
  ).y[:, -1]


def test_linear_path():
  expected = solve(DATA.linear_velocity, X, 0.9, 0.2)
  np.testing.assert_allclose(DATA.linear_flow(X, 0.9, 0.2), expected, rtol=1e-7)
  average = DATA.average_velocity(X, 0.9, 0.2)
  np.testing.assert_allclose(X - 0.7 * average, expected, rtol=1e-7)
  general = DATA.velocity(X, 0.1, 0.9, -1.0, 1.0)
  np.testing.assert_allclose(DATA.linear_velocity(X, 0.9), general, rtol=1e-12)


def test_meanflow_identity():
  """u = v - (t - r) du/dt along the flow."""
  t, r = jnp.float64(0.8), jnp.float64(0.3)
  v = DATA.linear_velocity(X, t)
  tangents = v, jnp.ones_like(t), jnp.zeros_like(r)
  u, du = jax.jvp(DATA.average_velocity, (jnp.asarray(X), t, r), tangents)
  np.testing.assert_allclose(u, v - (t - r) * du, rtol=1e-12)


def test_consistency_and_denoiser():
  def noise(x, sigma):
    return DATA.noise(x, 1.0, sigma)

  expected = solve(noise, X, 3.0, 0.1)
  np.testing.assert_allclose(DATA.consistency(X, 3.0, 0.1), expected, rtol=1e-7)
  # Tweedie's formula, and the decomposition of x.
  alpha, sigma = 0.7, 0.5
  denoised = DATA.denoised(X, alpha, sigma)
  score = DATA.score(X, alpha, sigma)
  np.testing.assert_allclose(alpha * denoised, X + sigma**2 * score, rtol=1e-12)
  parts = alpha * denoised + sigma * DATA.noise(X, alpha, sigma)
  np.testing.assert_allclose(parts, X, rtol=1e-12)


def test_edm_network():
  process = create_process("edm", time_scale=3.0)
  x, sigma = X.reshape(5, 1, 1, 1), jnp.geomspace(0.1, 10.0, 5)
  got = process.denoiser(DATA.edm_network(process))(x, sigma)
  expected = DATA.denoised(x, 1.0, sigma.reshape(x.shape))
  np.testing.assert_allclose(got, expected, rtol=1e-4)
