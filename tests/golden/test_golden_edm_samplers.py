"""EDM's samplers against the official ones on an analytic denoiser."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_numbers import nhwc, relative, replay, sample_together

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


def settings(run):
  """The official arguments of a run as our fields."""
  return {k.lower(): v for k, v in run.items() if k != "fn"}


@pytest.mark.parametrize("case", ["sampler_gaussian", "sampler_gaussian_churn"])
def test_heun(golden, case):
  data = golden(f"edm/{case}")
  given = data.under("in")
  process = create_process("edm")
  net = gaussian_network(process, given["mu"], given["std"])
  noise = replay(given["latents"], given.get("noise", []))
  for run, fields in data.meta["runs"].items():
    sampler = create_sampler("heun", process, **settings(fields))
    out, mid = data.under(f"out/{run}"), data.under(f"mid/{run}")
    np.testing.assert_allclose(sampler.sigmas, out["t_steps"], rtol=1e-11)
    assert sampler.evaluations == len(out["call_sigma"])
    times, begins = sampler.scheme.time, sampler.scheme.starts_step
    np.testing.assert_allclose(times, out["call_sigma"], rtol=1e-11)
    run = jax.jit(lambda s=sampler: s(net, noise, (6, 6, 3), trajectory=True))
    x, states = run()
    assert relative(x, nhwc(out["x"])) < 1e-5
    if mid:
      shown = nhwc(mid["call_x"])[np.flatnonzero(begins)]
      assert relative(states[:-1], shown) < 1e-5


def test_ablations(golden):
  data = golden("edm/ablation_gaussian")
  given = data.under("in")
  process = create_process("edm")
  net = gaussian_network(process, given["mu"], given["std"])
  noise = replay(given["latents"], given["noise"])
  runs = data.meta["runs"]
  samplers = [
    create_sampler("heun", process, **settings(run)) for run in runs.values()
  ]
  found = sample_together(samplers, net, noise, (6, 6, 3))
  for run, sampler, x in zip(runs, samplers, found, strict=True):
    out = data.under(f"out/{run}")
    # iDDPM's levels come from a cosine in float32, there and here.
    rtol = 1e-5 if sampler.discretization == "iddpm" else 1e-6
    np.testing.assert_allclose(
      sampler.sigmas[:-1], out["sigma_steps"], rtol=rtol
    )
    times = np.append(sampler.sigma_schedule.time(sampler.sigmas[:-1]), 0)
    np.testing.assert_allclose(times, out["t_steps"], rtol=rtol)
    np.testing.assert_allclose(
      sampler.scheme.time, out["call_sigma"], rtol=rtol
    )
    assert relative(x, nhwc(out["x"])) < 1e-4, run
