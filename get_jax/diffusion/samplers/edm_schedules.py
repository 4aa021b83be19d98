"""Noise levels, noise schedules and scalings of EDM's sampler.

They are the discretization ("time steps"), sigma(t) and s(t), all computed on
the host in float64.

Source: Karras et al., Table 1 and Appendix C.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from get_jax.diffusion.edm import EDMVP, iddpm_levels
from get_jax.errors import UsageError

DISCRETIZATIONS = ("edm", "vp", "ve", "iddpm")


class SigmaSchedule(NamedTuple):
  """Noise level sigma and scale s as functions of time t.

  The state is x = s (x_0 + sigma n).

  Attributes:
    sigma: sigma(t).
    slope: derivative of sigma(t).
    time: t as a function of sigma.
    scale: s(t).
    log_scale_slope: derivative of log s(t).
  """

  sigma: Callable
  slope: Callable
  time: Callable
  scale: Callable
  log_scale_slope: Callable


class Discretization(NamedTuple):
  """Settings of the noise levels; see the fields of `Heun`."""

  name: str
  rho: float
  epsilon_s: float
  c_1: float
  c_2: float
  num_timesteps: int

  @property
  def default_range(self) -> tuple[float, float]:
    """The default lowest and highest noise level."""
    match self.name:
      case "vp":
        return float(EDMVP().sigma(self.epsilon_s)), float(EDMVP().sigma(1.0))
      case "ve":
        return 0.02, 100.0
      case "iddpm":
        return 0.002, 81.0
      case _:
        return 0.002, 80.0


def vp_of_range(low: float, high: float, epsilon_s: float) -> EDMVP:
  """Returns the VP process with sigma(epsilon_s) = low and sigma(1) = high."""
  at_low, at_high = math.log1p(low**2), math.log1p(high**2)
  beta_d = 2 * (at_low / epsilon_s - at_high) / (epsilon_s - 1)
  return EDMVP(beta_d=beta_d, beta_min=at_high - 0.5 * beta_d)


def noise_levels(
  discretization: Discretization, num_steps: int, low: float, high: float
) -> np.ndarray:
  """Returns the noise levels of the steps, (num_steps,), decreasing.

  Args:
    discretization: which noise levels.
    num_steps: number of noise levels.
    low: lowest noise level.
    high: highest noise level.

  Raises:
    UsageError: "iddpm" has fewer than two noise levels in the range.
  """
  fraction = np.linspace(0, 1, num_steps)
  rho = discretization.rho
  match discretization.name:
    case "vp":
      epsilon_s = discretization.epsilon_s
      vp = vp_of_range(low, high, epsilon_s)
      return vp.sigma(1 + fraction * (epsilon_s - 1))
    case "ve":
      return high * (low / high) ** fraction
    case "iddpm":
      levels = iddpm_levels(
        discretization.num_timesteps, discretization.c_1, discretization.c_2
      )
      levels = levels[(levels >= low) & (levels <= high)]
      if len(levels) < 2:
        raise UsageError(
          f"Heun: the discretization 'iddpm' has {len(levels)} noise levels "
          f"from sigma_min={low:g} to sigma_max={high:g}: expected 2 or more"
        )
      # In the order of the official code, which decides the rounding of halves.
      positions = (len(levels) - 1) / (num_steps - 1) * np.arange(num_steps)
      return levels[np.round(positions).astype(int)]
    case _:
      ends = high ** (1 / rho), low ** (1 / rho)
      return np.linspace(*ends, num_steps) ** rho


def make_sigma_schedule(
  schedule: str, scaling: str, low: float, high: float, epsilon_s: float
) -> SigmaSchedule:
  """Returns sigma(t) and s(t) by name.

  Args:
    schedule: sigma(t): "vp", "ve" or "linear".
    scaling: s(t): "vp" or "none".
    low: lowest noise level.
    high: highest noise level.
    epsilon_s: time of the lowest noise level, for "vp".
  """
  if schedule == "vp":
    vp = vp_of_range(low, high, epsilon_s)
    sigma, time = vp.sigma, vp.time

    def slope(t):
      return (vp.beta_min + vp.beta_d * t) * (sigma(t) + 1 / sigma(t)) / 2
  elif schedule == "ve":
    sigma, time = np.sqrt, np.square

    def slope(t):
      return 0.5 / np.sqrt(t)
  else:
    sigma = time = np.asarray
    slope = np.ones_like
  if scaling == "none":
    return SigmaSchedule(sigma, slope, time, np.ones_like, np.zeros_like)

  def scale(t):
    return 1 / np.sqrt(1 + sigma(t) ** 2)

  def log_scale_slope(t):
    return -sigma(t) * slope(t) * scale(t) ** 2

  return SigmaSchedule(sigma, slope, time, scale, log_scale_slope)
