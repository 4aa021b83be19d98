"""Samplers on data whose optimal denoiser is known in closed form.

To test the order, the data are a mixture of two normal distributions at -m and
m: in one dimension, the probability flow preserves the quantile of every
sample, which gives the exact solution. To test the distribution of samples, the
data are a correlated normal variable.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from fast_compile import fast_compile_jit, sample_together

from get_jax.diffusion import create_process, create_sampler
from get_jax.diffusion.noise import SampleNoise

M, SD = 0.6, 0.35
SHAPE = (1, 1, 8)
NOISE = SampleNoise.create(jax.random.key(5), np.arange(32))


def two_modes(x, alpha, sigma):
  """The optimal noise estimate of x = alpha x0 + sigma n."""
  v = alpha**2 * SD**2 + sigma**2
  return sigma * (x - alpha * M * jnp.tanh(alpha * M * x / v)) / v


MEAN = np.array([0.3, -0.2])
COVARIANCE = np.array([[0.5, 0.3], [0.3, 0.4]])


def correlated(x, alpha, sigma):
  """The optimal noise estimate for normal data of two channels."""
  values, vectors = np.linalg.eigh(COVARIANCE)
  along = (x - alpha * MEAN.astype(np.float32)) @ vectors.astype(np.float32)
  best = sigma * along / (alpha**2 * values.astype(np.float32) + sigma**2)
  return best @ vectors.T.astype(np.float32)


def network(process, noise_at=two_modes):
  """The network of a process with the optimal estimate."""

  def of_sigma(scaled, t):
    sigma = process.sigma_of(t)
    c = process.coefficients(sigma)
    sigma, rest, out, inside = (
      a[:, None, None, None]
      for a in (sigma, c.one_minus_c_skip, c.c_out, c.c_in)
    )
    x = scaled / inside
    return (rest * x - sigma * noise_at(x, 1.0, sigma)) / out

  def of_time(x, t):
    sigma = process.sigma_of(t)[:, None, None, None]
    alpha = 1 / jnp.sqrt(1 + sigma**2)
    return noise_at(x, alpha, sigma * alpha)

  return of_sigma if hasattr(process, "denoiser") else of_time


def quantile(x, alpha, sigma):
  """The probability that noised data are below x, float64."""
  x, std = np.asarray(x, np.float64), np.hypot(alpha * SD, sigma)
  sides = [(x - s * alpha * M) / std for s in (-1, 1)]
  return sum(scipy.special.ndtr(side) for side in sides) / 2


def exact_end(x, start, end):
  """The exact solution of the probability flow between two (alpha, sigma)."""
  target = quantile(x, *start)
  low = np.full(x.shape, -5.0 * np.hypot(*end))
  high = -low
  for _ in range(60):
    middle = (low + high) / 2
    below = quantile(middle, *end) < target
    low, high = np.where(below, middle, low), np.where(below, high, middle)
  return (low + high) / 2


def ends_of(sampler):
  """(alpha, sigma) at the start and the end of a sampler."""
  process, scheme = sampler.process, sampler.scheme
  if hasattr(process, "denoiser"):
    return (1.0, scheme.start), (1.0, 0.0)
  schedule = process.schedule
  if hasattr(sampler, "respaced"):
    alpha_bar = process.tables.alpha_bar[-1]
    return (np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar)), (1.0, 0.0)
  ends = [schedule.t_first, 0.0]
  if hasattr(sampler, "order"):
    ends[1] = schedule.t_last if sampler.t_last is None else sampler.t_last
  return [(schedule.alpha(t), schedule.sigma(t)) for t in ends]


def error(sampler, x):
  """The root mean square error of samples."""
  start, end = ends_of(sampler)
  x0 = sampler.scheme.start * np.asarray(NOISE(0, SHAPE), np.float64)
  return np.sqrt(np.mean((x - exact_end(x0, start, end)) ** 2))


EDM, VP = create_process("edm", sigma_data=0.5), create_process("vp")
ADM = create_process("adm", variance="fixed_small")
SD_PROCESS = create_process("stable_diffusion")
SHORT, MIDDLE, LONG = (32, 64), (48, 96), (100, 200)
LAMBDA = {"spacing": "lambda", "t_last": 1e-2}
SINGLE = {**LAMBDA, "method": "singlestep"}
MULTI = {**LAMBDA, "method": "multistep"}
TAYLOR = {"solver_type": "taylor"}
# Nominal order, numbers of steps, settings. The cases of one sampler and one
# process run as one program.
ORDERS = {
  ("heun", EDM): {
    "Euler": (1, SHORT, {"solver": "euler"}),
    "Heun": (2, SHORT, {}),
    "Heun, alpha 1/2": (2, SHORT, {"alpha": 0.5}),
    "VP schedule and scaling": (2, SHORT, {"schedule": "vp", "scaling": "vp"}),
  },
  ("probability_flow", VP): {"probability flow": (1, LONG, {})},
  ("ddim", ADM): {"DDIM": (1, LONG, {})},
  ("dpm_solver", VP): {
    "DPM-Solver-1": (1, SHORT, {**SINGLE, "order": 1}),
    "DPM-Solver-2": (2, SHORT, {**SINGLE, "order": 2}),
    "DPM-Solver-3": (3, MIDDLE, {**SINGLE, "order": 3}),
  },
  ("dpm_solver++", VP): {
    "2S": (2, SHORT, {**SINGLE, "order": 2}),
    "3S": (3, MIDDLE, {**SINGLE, "order": 3}),
    "2M": (2, SHORT, {**MULTI, "order": 2}),
    "3M": (3, MIDDLE, {**MULTI, **TAYLOR, "order": 3}),
    # The official weights of three predictions are of second order.
    "3M, official": (2, MIDDLE, {**MULTI, "order": 3}),
  },
}


@pytest.mark.parametrize("name, process", ORDERS)
def test_errors_fall_with_the_order(name, process):
  cases = ORDERS[name, process]
  samplers = [
    create_sampler(name, process, num_steps=count, **settings)
    for _, counts, settings in cases.values()
    for count in counts
  ]
  net = network(process)
  if name == "ddim":  # Every number of steps has its own table.
    samples = [
      fast_compile_jit(lambda s=s: s(net, NOISE, SHAPE))() for s in samplers
    ]
  else:
    samples = sample_together(samplers, net, NOISE, SHAPE)
  errors = [error(s, x) for s, x in zip(samplers, samples, strict=True)]
  slopes = np.log2(np.divide(errors[0::2], errors[1::2]))
  for (case, (order, *_)), slope in zip(cases.items(), slopes, strict=True):
    assert order - 0.35 < slope < order + 0.8, (case, slope)


DISTRIBUTIONS = {
  "DDPM": ("ddpm", ADM, {"num_steps": 250}),
  "DDIM, eta 1": ("ddim", ADM, {"num_steps": 250, "eta": 1.0}),
  "DDIM": ("ddim", ADM, {"num_steps": 250}),
  "Euler-Maruyama": ("euler_maruyama", VP, {"num_steps": 500}),
  "probability flow": ("probability_flow", VP, {"num_steps": 200}),
  "DPM-Solver": ("dpm_solver", VP, {"num_steps": 20}),
  "DPM-Solver++": ("dpm_solver++", SD_PROCESS, {"num_steps": 20}),
  "adaptive": ("dpm_solver_adaptive", VP, {}),
  "Heun": ("heun", EDM, {}),
  "Heun with churn": ("heun", EDM, {"num_steps": 64, "s_churn": 20.0}),
}


@pytest.mark.parametrize("case", DISTRIBUTIONS)
def test_mean_and_covariance(case):
  name, process, settings = DISTRIBUTIONS[case]
  sampler = create_sampler(name, process, **settings)
  net = network(process, correlated)
  noise = SampleNoise.create(jax.random.key(1), np.arange(256))
  x = np.asarray(fast_compile_jit(lambda: sampler(net, noise, (4, 4, 2)))())
  x = x.reshape(-1, 2)  # 4096 independent samples
  np.testing.assert_allclose(x.mean(0), MEAN, atol=0.04)
  np.testing.assert_allclose(np.cov(x.T), COVARIANCE, atol=0.04)


def test_adaptive_step_sizes_are_per_sample():
  sampler = create_sampler("dpm_solver_adaptive", VP, t_last=1e-2)
  net = network(VP)
  solve = fast_compile_jit(lambda noise: sampler.solve(net, noise, SHAPE))
  x, evaluations = solve(NOISE)
  alone, fewer = solve(SampleNoise(NOISE.keys[3:5]))
  np.testing.assert_allclose(x[3:5], alone, rtol=1e-5, atol=1e-6)
  assert 0 < fewer <= evaluations and evaluations % 3 == 0
  schedule = VP.schedule
  ends = [(schedule.alpha(t), schedule.sigma(t)) for t in (1.0, 1e-2)]
  exact = exact_end(NOISE(0, SHAPE), *ends)
  assert np.sqrt(np.mean((x - exact) ** 2)) < 0.03
  short = create_sampler("dpm_solver_adaptive", VP, max_evaluations=9)
  assert np.isnan(fast_compile_jit(lambda: short(net, NOISE, SHAPE))()).any()


def test_sampling_inverts_the_encoding_of_ddim():
  sampler = create_sampler("ddim", ADM, num_steps=200)
  net = network(ADM)
  x0 = M + SD * np.asarray(NOISE(0, SHAPE))
  encoded = fast_compile_jit(lambda: sampler.encode(net, x0))()
  again = fast_compile_jit(
    lambda: sampler(net, lambda stream, shape: encoded, SHAPE)
  )()
  assert np.sqrt(np.mean((again - x0) ** 2)) < 0.02
