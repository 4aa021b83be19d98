"""The activation of the MLP."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from get_jax.nn.mlp import gelu_erf

POINTS = np.linspace(-6, 6, 97)


def derivatives(x):
  """GELU and its first two derivatives in float64."""
  below, density = stats.norm.cdf(x), stats.norm.pdf(x)
  return x * below, below + x * density, (2 - x**2) * density


def test_gelu_and_its_derivatives():
  x = POINTS.astype(np.float32)
  value, slope, bend = derivatives(x.astype(np.float64))
  np.testing.assert_allclose(gelu_erf(x), value, atol=1e-6)
  np.testing.assert_allclose(jax.vmap(jax.grad(gelu_erf))(x), slope, atol=1e-6)
  forward_over_reverse = jax.vmap(jax.jacfwd(jax.grad(gelu_erf)))
  np.testing.assert_allclose(forward_over_reverse(x), bend, atol=2e-6)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_gelu_is_rounded_once(dtype):
  """Has at most one rounding error; 1 + erf in half precision has more."""
  x = jnp.asarray(POINTS, dtype)
  value, slope, _ = derivatives(np.asarray(x, np.float64))
  found, vjp = jax.vjp(gelu_erf, x)
  (found_slope,) = vjp(jnp.ones_like(x))
  assert found.dtype == found_slope.dtype == dtype
  # The float32 inside leaves 4e-7, half precision half a unit of the last bit.
  options = dict(rtol=0.51 * float(jnp.finfo(dtype).eps), atol=5e-7)
  np.testing.assert_allclose(np.asarray(found, np.float64), value, **options)
  np.testing.assert_allclose(
    np.asarray(found_slope, np.float64), slope, **options
  )
