"""Noise levels, schedules and scalings that EDM's sampler chooses among.

Karras et al., Table 1 and Appendix C: "time steps" (discretization), sigma(t)
and s(t). All in host float64.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from get_jax.diffusion.edm import EDMVP, iddpm_levels

EPSILON_S = 1e-3  # the smallest time of VP's discretization

# Noise levels where a discretization starts and ends by default.
RANGES = {
  "vp": (float(EDMVP().sigma(EPSILON_S)), float(EDMVP().sigma(1.0))),
  "ve": (0.02, 100.0),
  "iddpm": (0.002, 81.0),
  "edm": (0.002, 80.0),
}


class Path(NamedTuple):
  """How the noise level and the state's scale go with time.

  Attributes:
    sigma: noise level of t.
    slope: its derivative.
    time: its inverse.
    scale: s of t, by which the state x = s (x_0 + sigma n) is scaled.
    log_scale_slope: the derivative of log s.
  """

  sigma: Callable
  slope: Callable
  time: Callable
  scale: Callable
  log_scale_slope: Callable


def vp_of_range(low: float, high: float) -> EDMVP:
  """The VP process whose noise is `low` at EPSILON_S and `high` at 1."""
  at_low, at_high = math.log1p(low**2), math.log1p(high**2)
  beta_d = 2 * (at_low / EPSILON_S - at_high) / (EPSILON_S - 1)
  return EDMVP(beta_d=beta_d, beta_min=at_high - 0.5 * beta_d)


def noise_levels(
  discretization: str, num_steps: int, low: float, high: float, rho: float
) -> np.ndarray:
  """The noise levels of every step, (num_steps,), falling."""
  share = np.linspace(0, 1, num_steps)
  match discretization:
    case "vp":
      return vp_of_range(low, high).sigma(1 + share * (EPSILON_S - 1))
    case "ve":
      return high * (low / high) ** share
    case "iddpm":
      known = iddpm_levels(1000)
      known = known[(known >= low) & (known <= high)]
      return known[np.round((len(known) - 1) * share).astype(int)]
    case _:
      ends = high ** (1 / rho), low ** (1 / rho)
      return np.linspace(*ends, num_steps) ** rho


def make_path(schedule: str, scaling: str, low: float, high: float) -> Path:
  """sigma(t) and s(t) by name: "vp", "ve", "linear"; "vp", "none"."""
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
    return Path(sigma, slope, time, np.ones_like, np.zeros_like)

  def scale(t):
    return 1 / np.sqrt(1 + sigma(t) ** 2)

  def log_scale_slope(t):
    return -sigma(t) * slope(t) * scale(t) ** 2

  return Path(sigma, slope, time, scale, log_scale_slope)
