"""EDM's samplers against the official ones on an analytic denoiser."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from cases import cases, each
from golden_numbers import (
  chw_to_hwc,
  nhwc,
  relative,
  replay,
  sample_together,
)
from tolerances import tolerance

from get_jax.diffusion import create_sampler
from get_jax.diffusion.edm import EDM


def process_of(case):
  """EDM's process, with the range of noise levels that `meta` states."""
  low = case.meta.get("net_sigma_min", 0.0)
  high = case.meta.get("net_sigma_max", math.inf)

  class Limited(EDM):
    @property
    def sigma_range(self):
      return low, high

  return Limited()


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


@each("edm/sampler_gaussian*.npz", lambda case: case.meta["runs"])
def test_heun(case, name):
  given = case.under("in")
  process = process_of(case)
  net = gaussian_network(process, given["mu"], given["std"])
  noise = replay(given["latents"], given.get("noise", []))
  shape = chw_to_hwc(given["latents"].shape)
  sampler = create_sampler("heun", process, **settings(case.meta["runs"][name]))
  out, mid = case.under(f"out/{name}"), case.under(f"mid/{name}")
  rtol = tolerance(case, "edm/sampler", "t_steps")
  np.testing.assert_allclose(sampler.sigmas, out["t_steps"], rtol=rtol)
  assert sampler.evaluations == len(out["call_sigma"])
  times, begins = sampler.scheme.time, sampler.scheme.starts_step
  np.testing.assert_allclose(times, out["call_sigma"], rtol=rtol)
  x, states = jax.jit(lambda: sampler(net, noise, shape, trajectory=True))()
  limit = tolerance(case, "edm/sampler", "x")
  assert relative(x, nhwc(out["x"])) < limit
  assert bool(mid) == (name in case.meta["full"])
  if mid:
    calls = nhwc(mid["call_x"])[np.flatnonzero(begins)]
    assert relative(states[:-1], calls) < limit


@cases("edm/ablation_gaussian*.npz")
def test_ablations(case):
  given = case.under("in")
  process = process_of(case)
  net = gaussian_network(process, given["mu"], given["std"])
  noise = replay(given["latents"], given["noise"])
  runs = case.meta["runs"]
  samplers = [
    create_sampler("heun", process, **settings(run)) for run in runs.values()
  ]
  shape = chw_to_hwc(given["latents"].shape)
  results = sample_together(samplers, net, noise, shape)
  for run, sampler, x in zip(runs, samplers, results, strict=True):
    out = case.under(f"out/{run}")
    # iDDPM's levels come from a cosine in float32, there and here.
    rounded = sampler.discretization == "iddpm"
    rtol = tolerance(
      case, "edm/ablation", "iddpm_sigma" if rounded else "sigma"
    )
    np.testing.assert_allclose(
      sampler.sigmas[:-1], out["sigma_steps"], rtol=rtol
    )
    times = np.append(sampler.sigma_schedule.time(sampler.sigmas[:-1]), 0)
    np.testing.assert_allclose(times, out["t_steps"], rtol=rtol)
    np.testing.assert_allclose(
      sampler.scheme.time, out["call_sigma"], rtol=rtol
    )
    limit = tolerance(case, "edm/ablation", "x")
    assert relative(x, nhwc(out["x"])) < limit, run
