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

EPSILON_S = 1e-3  # The smallest time of the VP discretization.

# Default lowest and highest noise levels of every discretization.
RANGES = {
  "vp": (float(EDMVP().sigma(EPSILON_S)), float(EDMVP().sigma(1.0))),
  "ve": (0.02, 100.0),
  "iddpm": (0.002, 81.0),
  "edm": (0.002, 80.0),
}


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


def vp_of_range(low: float, high: float) -> EDMVP:
  """Returns the VP process with sigma(EPSILON_S) = low and sigma(1) = high."""
  at_low, at_high = math.log1p(low**2), math.log1p(high**2)
  beta_d = 2 * (at_low / EPSILON_S - at_high) / (EPSILON_S - 1)
  return EDMVP(beta_d=beta_d, beta_min=at_high - 0.5 * beta_d)


def noise_levels(
  discretization: str, num_steps: int, low: float, high: float, rho: float
) -> np.ndarray:
  """Returns the noise levels of the steps, (num_steps,), decreasing.

  Args:
    discretization: "edm", "vp", "ve" or "iddpm".
    num_steps: number of noise levels.
    low: lowest noise level.
    high: highest noise level.
    rho: exponent of the "edm" discretization.
  """
  fraction = np.linspace(0, 1, num_steps)
  match discretization:
    case "vp":
      return vp_of_range(low, high).sigma(1 + fraction * (EPSILON_S - 1))
    case "ve":
      return high * (low / high) ** fraction
    case "iddpm":
      levels = iddpm_levels(1000)
      levels = levels[(levels >= low) & (levels <= high)]
      return levels[np.round((len(levels) - 1) * fraction).astype(int)]
    case _:
      ends = high ** (1 / rho), low ** (1 / rho)
      return np.linspace(*ends, num_steps) ** rho


def make_sigma_schedule(
  schedule: str, scaling: str, low: float, high: float
) -> SigmaSchedule:
  """Returns sigma(t) and s(t) by name.

  Args:
    schedule: sigma(t): "vp", "ve" or "linear".
    scaling: s(t): "vp" or "none".
    low: lowest noise level.
    high: highest noise level.
  """
  if schedule == "vp":
    vp = vp_of_range(low, high)
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
