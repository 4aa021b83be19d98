"""Float32 on the device against float64 on the host."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from fast_compile import sample_together

from get_jax.diffusion import create_process, create_sampler

NEAR_ONE = 1 - np.geomspace(1e-6, 0.1, 50)
NEAR_ZERO = np.geomspace(1e-4, 0.1, 50)
TIMES = np.concatenate([NEAR_ZERO, np.linspace(0.1, 0.9, 200), NEAR_ONE])
SCHEDULES = {
  "linear": create_process("vp"),
  "cosine": create_process("vp", beta_schedule="cosine"),
  "cosine, s = 0.05": create_process(
    "vp", beta_schedule="cosine", cosine_s=0.05
  ),
  "discrete": create_process("adm"),
  "discrete cosine": create_process("adm", beta_schedule="cosine"),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
  schedule = SCHEDULES[name].schedule
  # Before its first knot a discrete process has no noise level of its own.
  first = schedule.t_last if "discrete" in name else 0.0
  times = TIMES[first <= TIMES].astype(np.float32)
  for function in ("alpha", "sigma", "log_alpha"):
    found = getattr(schedule, function)(times, jnp)
    expected = getattr(schedule, function)(times.astype(np.float64))
    np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=function)
  lam = schedule.lam(times.astype(np.float64)).astype(np.float32)
  expected = schedule.time(lam.astype(np.float64))
  np.testing.assert_allclose(schedule.time(lam, jnp), expected, rtol=1e-5)


def test_the_noise_level_of_a_cosine_near_the_end():
  """sigma / alpha has a pole at t = 1."""
  process = SCHEDULES["cosine"]
  times = np.float32(999 * NEAR_ONE)
  t, s = times.astype(np.float64) / 999, 0.008
  right = np.sin((1 - t) / (1 + s) * math.pi / 2)
  right /= math.sin(math.pi / 2 / (1 + s))
  expected = np.sqrt(1 - right**2) / right
  np.testing.assert_allclose(process.sigma_of(times), expected, rtol=1e-6)


def test_training_noise_levels_of_vp_near_the_smallest_time():
  process = create_process("edm_vp")
  u = np.float32(1 - 2.0 ** -np.arange(1, 25))
  t = 1 + u.astype(np.float64) * (1e-5 - 1)
  np.testing.assert_allclose(process.sigma_at(u), process.sigma(t), rtol=1e-6)


SHAPE = (4, 4, 3)
RNG = np.random.default_rng(0)
MEAN = RNG.uniform(-1, 1, SHAPE).astype(np.float32)
STD = RNG.uniform(0.05, 1, SHAPE).astype(np.float32)
INITIAL = RNG.standard_normal((2, *SHAPE)).astype(np.float32)


def exact_iddpm_levels(count=1000, c_1=0.001, c_2=0.008):
  """The levels with the cosine in float64."""
  alpha_bar = np.sin(np.pi / 2 * np.arange(count + 1) / count / (1 + c_2)) ** 2
  u = [0.0]
  for j in range(count, 0, -1):
    ratio = max(alpha_bar[j - 1] / alpha_bar[j], c_1)
    u.append(math.sqrt((u[-1] ** 2 + 1) / ratio - 1))
  return np.array(u[::-1])


def levels_in_float64(name, n):
  i = np.arange(n) / (n - 1)
  match name:
    case "edm":
      return (80 ** (1 / 7) + i * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    case "vp":
      t = 1 + i * (1e-3 - 1)
      return np.sqrt(np.exp(19.9 / 2 * t**2 + 0.1 * t) - 1)
    case "ve":
      return 100 * (0.02 / 100) ** i
    case _:
      u = exact_iddpm_levels()
      u = u[(u >= 0.002) & (u <= 81)]
      return u[np.round((len(u) - 1) / (n - 1) * np.arange(n)).astype(int)]


def sample_in_float64(discretization, schedule, scaling, solver, n):
  """The paper's sampler with the states x of the scaled time s(t)."""
  levels = levels_in_float64(discretization, n)
  ranges = {"edm": (0.002, 80), "ve": (0.02, 100), "iddpm": (0.002, 81)}
  low, high = ranges.get(discretization, (levels[-1], levels[0]))
  at_low, at_high = math.log(low**2 + 1), math.log(high**2 + 1)
  beta_d = 2 * (at_low / 1e-3 - at_high) / (1e-3 - 1)
  beta_min = at_high - beta_d / 2
  if schedule == "vp":

    def sigma(t):
      return math.sqrt(math.expm1(beta_d / 2 * t**2 + beta_min * t))

    def slope(t):
      return (beta_min + beta_d * t) * (sigma(t) + 1 / sigma(t)) / 2

    def time(x):
      root = math.sqrt(beta_min**2 + 2 * beta_d * math.log1p(x**2))
      return (root - beta_min) / beta_d

  elif schedule == "ve":
    sigma, time = math.sqrt, lambda x: x**2
    slope = lambda t: 0.5 / math.sqrt(t)  # noqa: E731
  else:
    sigma = time = lambda x: x
    slope = lambda t: 1.0  # noqa: E731

  def scale(t):
    return 1 / math.sqrt(1 + sigma(t) ** 2) if scaling == "vp" else 1.0

  def scale_slope(t):
    if scaling == "none":
      return 0.0
    return -sigma(t) * slope(t) * scale(t) ** 3

  def derivative(x, t):
    denoised = (x / scale(t)) * STD**2.0 + sigma(t) ** 2 * MEAN
    denoised = denoised / (STD**2.0 + sigma(t) ** 2)
    by_x = slope(t) / sigma(t) + scale_slope(t) / scale(t)
    return by_x * x - slope(t) * scale(t) / sigma(t) * denoised

  times = [*map(time, levels), 0.0]
  x = INITIAL.astype(np.float64) * sigma(times[0]) * scale(times[0])
  for start, end in itertools.pairwise(times):
    first = derivative(x, start)
    following = x + (end - start) * first
    if solver == "heun" and end:
      second = derivative(following, end)
      following = x + (end - start) * (first + second) / 2
    x = following
  return x


def test_ablations_of_edm():
  """Every discretization with every schedule and solver, also iDDPM's.

  The levels of iDDPM have a cosine in float32, as the official ones.
  """
  process = create_process("edm")

  def net(scaled, t):
    sigma = process.sigma_of(t)[:, None, None, None]
    norm = jnp.sqrt(sigma**2 + 0.25)
    target = (STD**2 - 0.25) * scaled + norm * MEAN
    return sigma * target / ((STD**2 + sigma**2) * 0.5)

  cases = [
    (discretization, *schedule, solver, n)
    for discretization in ("edm", "vp", "ve", "iddpm")
    for schedule in (("linear", "none"), ("vp", "vp"), ("ve", "none"))
    for solver in ("euler", "heun")
    for n in (7, 18)
  ]
  samplers = [
    create_sampler(
      "heun",
      process,
      discretization=discretization,
      schedule=schedule,
      scaling=scaling,
      solver=solver,
      num_steps=n,
    )
    for discretization, schedule, scaling, solver, n in cases
  ]
  found = sample_together(samplers, net, lambda stream, shape: INITIAL, SHAPE)
  for case, x in zip(cases, found, strict=True):
    expected = sample_in_float64(*case)
    error = np.linalg.norm(x - expected) / np.linalg.norm(expected)
    assert error < 1e-4, case


def test_levels_of_iddpm():
  """The rounding of the cosine changes the lowest levels by less than 1e-3."""
  levels = create_process("edm_iddpm").levels[:-1]
  exact = exact_iddpm_levels()[:-1]
  np.testing.assert_allclose(levels, exact, rtol=5e-4)
  np.testing.assert_allclose(levels[:900], exact[:900], rtol=1e-4)


@pytest.mark.parametrize("name", ["vp", "edm"])
def test_predictions_of_a_batch_of_noise_levels(name):
  """A time per sample gives the same as a scalar time, sample by sample."""
  process = create_process(name)
  x = jnp.asarray(INITIAL)
  times = jnp.array([0.3, 0.7])
  predict = process.predictor(lambda x, t: jnp.tanh(x))
  together = predict(x, times)
  for i in range(2):
    alone = predict(x[i : i + 1], times[i])
    np.testing.assert_allclose(together[i], alone[0], rtol=1e-6)
