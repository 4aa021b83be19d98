"""EDM's samplers against the official ones on an analytic denoiser."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_numbers import nhwc, relative, replay

from get_jax.diffusion import create_process, create_sampler


def gaussian_network(process, mu, std):
  """The raw network of `EDM` whose denoiser is that of a Gaussian."""
  mu, var = jnp.asarray(nhwc(mu)), jnp.asarray(nhwc(std)) ** 2
  data_var = process.sigma_data**2

  def net(scaled, t):
    # F = (D - c_skip x) / c_out, written without its cancellations.
    sigma = process.sigma_of(t)[:, None, None, None]
    norm = jnp.sqrt(sigma**2 + data_var)
    target = (var - data_var) * scaled + norm * mu
    return sigma * target / ((var + sigma**2) * process.sigma_data)

  return net


SETTINGS = {"num_steps": "num_steps", "S_churn": "s_churn", "S_min": "s_min"}
SETTINGS |= {"S_max": "s_max", "S_noise": "s_noise", "rho": "rho"}
SETTINGS |= {"sigma_min": "sigma_min", "sigma_max": "sigma_max"}


@pytest.mark.parametrize(
  "case, run",
  [
    ("sampler_gaussian", "heun"),
    ("sampler_gaussian", "heun_range"),
    ("sampler_gaussian", "two_steps"),
    ("sampler_gaussian_churn", "churn40"),
    ("sampler_gaussian_churn", "churn_small"),
  ],
)
def test_heun(golden, case, run):
  data = golden(f"edm/{case}")
  inputs, out = data.under("in"), data.under(f"out/{run}")
  process = create_process("edm")
  settings = {SETTINGS[k]: v for k, v in data.meta["runs"][run].items()}
  sampler = create_sampler("heun", process, **settings)
  np.testing.assert_allclose(sampler.sigmas, out["t_steps"], rtol=1e-12)
  assert sampler.evaluations == len(out["call_sigma"])
  np.testing.assert_allclose(sampler.scheme.time, out["call_sigma"], rtol=1e-12)
  noise = replay(inputs["latents"], inputs.get("noise", []))
  net = gaussian_network(process, inputs["mu"], inputs["std"])
  x, states = jax.jit(lambda: sampler(net, noise, (6, 6, 3), trajectory=True))()
  assert relative(x, nhwc(out["x"])) < 1e-5
  calls = data.under(f"mid/{run}")
  if calls:
    shown = nhwc(calls["call_x"])[np.flatnonzero(sampler.scheme.begins)]
    for got, expected in zip(states, shown, strict=False):
      assert relative(got, expected) < 1e-5
