"""Samplers on data whose best denoiser is known in closed form.

For their order, the data are two normal modes at -m and m: in one dimension
the probability flow keeps every sample's quantile, which gives the exact end
of its path. For their distribution, they are a correlated normal variable.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from get_jax.diffusion import create_process, create_sampler
from get_jax.diffusion.noise import SampleNoise

M, SD = 0.6, 0.35
SHAPE = (1, 1, 8)
NOISE = SampleNoise.of(jax.random.key(5), np.arange(32))
# Programs of a moment: compile them carelessly.
jit = functools.partial(
  jax.jit, compiler_options={"xla_backend_optimization_level": 0}
)


def two_modes(x, alpha, sigma):
  """The best guess at the noise in x = alpha x0 + sigma n."""
  v = alpha**2 * SD**2 + sigma**2
  return sigma * (x - alpha * M * jnp.tanh(alpha * M * x / v)) / v


MEAN = np.array([0.3, -0.2])
COVARIANCE = np.array([[0.5, 0.3], [0.3, 0.4]])


def correlated(x, alpha, sigma):
  """The same for normal data of two channels."""
  values, vectors = np.linalg.eigh(COVARIANCE)
  along = (x - alpha * MEAN.astype(np.float32)) @ vectors.astype(np.float32)
  best = sigma * along / (alpha**2 * values.astype(np.float32) + sigma**2)
  return best @ vectors.T.astype(np.float32)


def network(process, noise_at=two_modes):
  """The raw network of a process that has learned the data."""

  def of_sigma(scaled, t):
    sigma = process.sigma_of(t)
    c = process.coefficients(sigma)
    sigma, rest, out, inside = (
      a[:, None, None, None] for a in (sigma, c.rest, c.out, c.inside)
    )
    x = scaled / inside
    return (rest * x - sigma * noise_at(x, 1.0, sigma)) / out

  def of_time(x, t):
    sigma = process.sigma_of(t)[:, None, None, None]
    alpha = 1 / jnp.sqrt(1 + sigma**2)
    return noise_at(x, alpha, sigma * alpha)

  return of_sigma if hasattr(process, "denoiser") else of_time


def quantile(x, alpha, sigma):
  """The probability that a noised datum is below x, float64."""
  x, std = np.asarray(x, np.float64), np.hypot(alpha * SD, sigma)
  sides = [(x - s * alpha * M) / std for s in (-1, 1)]
  return sum(scipy.special.ndtr(side) for side in sides) / 2


def exact_end(x, start, end):
  """Where the probability flow takes x between two (alpha, sigma)."""
  wanted = quantile(x, *start)
  low = np.full(x.shape, -5.0 * np.hypot(*end))
  high = -low
  for _ in range(60):
    middle = (low + high) / 2
    below = quantile(middle, *end) < wanted
    low, high = np.where(below, middle, low), np.where(below, high, middle)
  return (low + high) / 2


def ends_of(sampler):
  """(alpha, sigma) where a sampler begins and ends, and its start's scale."""
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


def errors(name, process, counts, **settings):
  """Root mean square distances from the exact ends, by number of steps."""
  found = []
  for count in counts:
    sampler = create_sampler(name, process, num_steps=count, **settings)
    net = network(process)
    x = jit(lambda s=sampler, n=net: s(n, NOISE, SHAPE))()
    start, end = ends_of(sampler)
    x0 = sampler.scheme.start * np.asarray(NOISE(0, SHAPE), np.float64)
    gaps = x - exact_end(x0, start, end)
    found.append(float(np.sqrt(np.mean(gaps**2))))
  return np.array(found)


EDM, VP = create_process("edm", sigma_data=0.5), create_process("vp")
ADM = create_process("adm", variance="fixed_small")
SD_PROCESS = create_process("stable_diffusion")
ORDERS = {
  "Euler": (1, "heun", EDM, (16, 32, 64), {"solver": "euler"}),
  "Heun": (2, "heun", EDM, (16, 32, 64), {}),
  "Heun, alpha 1/2": (2, "heun", EDM, (16, 32, 64), {"alpha": 0.5}),
  "probability flow": (1, "probability_flow", VP, (100, 200, 400), {}),
  "DDIM": (1, "ddim", ADM, (50, 100, 200), {}),
  "DPM-Solver-1": (1, "dpm_solver", VP, (16, 32, 64), {"order": 1}),
  "DPM-Solver-2": (2, "dpm_solver", VP, (16, 32, 64), {"order": 2}),
  "DPM-Solver-3": (3, "dpm_solver", VP, (24, 48, 96), {"order": 3}),
  "DPM-Solver++ 2S": (2, "dpm_solver++", VP, (16, 32, 64), {"order": 2}),
  "DPM-Solver++ 3S": (3, "dpm_solver++", VP, (24, 48, 96), {"order": 3}),
  "DPM-Solver++ 2M": (
    2,
    "dpm_solver++",
    VP,
    (16, 32, 64),
    {"order": 2, "method": "multistep", "solver_type": "taylor"},
  ),
  "DPM-Solver++ 3M": (
    3,
    "dpm_solver++",
    VP,
    (24, 48, 96),
    {"order": 3, "method": "multistep", "solver_type": "taylor"},
  ),
  # The official weights of three predictions are of second order.
  "DPM-Solver++ 3M, official": (
    2,
    "dpm_solver++",
    VP,
    (24, 48, 96),
    {"order": 3, "method": "multistep"},
  ),
}


@pytest.mark.parametrize("case", ORDERS)
def test_errors_fall_with_the_order(case):
  order, name, process, counts, settings = ORDERS[case]
  if "solver" in name:
    settings = {"spacing": "lambda", "t_last": 1e-2, **settings}
    settings.setdefault("method", "singlestep")
  found = errors(name, process, counts, **settings)
  slopes = np.log2(found[:-1] / found[1:])
  assert slopes[-1] > order - 0.35, (found, slopes)
  assert slopes[-1] < order + 0.8, (found, slopes)


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
  noise = SampleNoise.of(jax.random.key(1), np.arange(256))
  x = np.asarray(jit(lambda: sampler(net, noise, (4, 4, 2)))())
  x = x.reshape(-1, 2)  # 4096 independent samples
  np.testing.assert_allclose(x.mean(0), MEAN, atol=0.04)
  np.testing.assert_allclose(np.cov(x.T), COVARIANCE, atol=0.04)


def test_adaptive_steps_belong_to_single_samples():
  sampler = create_sampler("dpm_solver_adaptive", VP, t_last=1e-2)
  net = network(VP)
  solve = jit(lambda noise: sampler.solve(net, noise, SHAPE))
  x, evaluations = solve(NOISE)
  alone, fewer = solve(SampleNoise(NOISE.keys[3:5]))
  np.testing.assert_allclose(x[3:5], alone, rtol=1e-5, atol=1e-6)
  assert 0 < fewer <= evaluations and evaluations % 3 == 0
  schedule = VP.schedule
  ends = [(schedule.alpha(t), schedule.sigma(t)) for t in (1.0, 1e-2)]
  exact = exact_end(NOISE(0, SHAPE), *ends)
  assert np.sqrt(np.mean((x - exact) ** 2)) < 0.03
  short = create_sampler("dpm_solver_adaptive", VP, max_evaluations=9)
  assert np.isnan(jit(lambda: short(net, NOISE, SHAPE))()).any()


def test_encoding_by_ddim_is_undone_by_sampling():
  sampler = create_sampler("ddim", ADM, num_steps=200)
  net = network(ADM)
  x0 = M + SD * np.asarray(NOISE(0, SHAPE))
  encoded = jit(lambda: sampler.encode(net, x0))()
  again = jit(lambda: sampler(net, lambda stream, shape: encoded, SHAPE))()
  assert np.sqrt(np.mean((again - x0) ** 2)) < 0.02
