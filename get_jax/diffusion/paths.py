"""Paths of flow matching, from noise (t = 0) to data (t = 1).

x_t = alpha(t) data + sigma(t) noise. Every function takes `xp`: numpy (float64,
for tables on the host) or jax.numpy (float32, inside jit).

Source: Ma et al., "SiT: Exploring Flow and Diffusion-based Generative Models
with Scalable Interpolant Transformers", and its official code.
"""

import abc
import dataclasses
import math
from typing import Any, NamedTuple

import numpy as np


class Scales(NamedTuple):
  """The coefficients of a path at times t, each shaped as t.

  Attributes:
    alpha: scale of the data.
    d_alpha: derivative of alpha in t.
    sigma: scale of the noise.
    d_sigma: derivative of sigma in t.
  """

  alpha: Any
  d_alpha: Any
  sigma: Any
  d_sigma: Any

  @property
  def determinant(self):
    """alpha' sigma - alpha sigma', of the map to x and its velocity.

    From x = alpha data + sigma noise and dx/dt = alpha' data + sigma' noise
    follow both data and noise.
    """
    return self.d_alpha * self.sigma - self.alpha * self.d_sigma

  @property
  def score_rate(self):
    """The weight lambda of the score in the velocity.

    velocity = (alpha' / alpha) x + lambda score. It is half the squared
    diffusion coefficient of the forward SDE.
    """
    return self.determinant * self.sigma / self.alpha


class Path(abc.ABC):
  """Interface of a path."""

  def scales(self, t, xp=np, remaining=None) -> Scales:
    """Returns the coefficients at times t.

    Args:
      t: times in [0, 1].
      xp: numpy or jax.numpy.
      remaining: 1 - t, if it is known more precisely than t.
    """
    dtype = np.float64 if xp is np else np.float32
    t = xp.asarray(t, dtype)
    remaining = 1 - t if remaining is None else xp.asarray(remaining, dtype)
    return self._scales(t, remaining, xp)

  @abc.abstractmethod
  def _scales(self, t, remaining, xp) -> Scales:
    """Returns `scales`; the arguments are arrays of one dtype."""


@dataclasses.dataclass(frozen=True)
class LinearPath(Path):
  """alpha = t, sigma = 1 - t."""

  def _scales(self, t, remaining, xp):
    one = xp.ones_like(t)
    return Scales(t, one, remaining, -one)


@dataclasses.dataclass(frozen=True)
class GVPPath(Path):
  """alpha = sin(pi t / 2), sigma = cos(pi t / 2)."""

  def _scales(self, t, remaining, xp):
    # The sine of the remaining time is precise near t = 1.
    rate = math.pi / 2
    alpha, sigma = xp.sin(rate * t), xp.sin(rate * remaining)
    return Scales(alpha, rate * sigma, sigma, -rate * alpha)


@dataclasses.dataclass(frozen=True)
class VPPath(Path):
  """The variance-preserving path with beta linear in 1 - t.

  Attributes:
    beta_min: beta at t = 1.
    beta_max: beta at t = 0.
  """

  beta_min: float = 0.1
  beta_max: float = 20.0

  def _scales(self, t, remaining, xp):
    slope = self.beta_max - self.beta_min
    log_alpha = -remaining * (0.25 * slope * remaining + 0.5 * self.beta_min)
    half_beta = 0.5 * (self.beta_min + slope * remaining)
    alpha = xp.exp(log_alpha)
    # expm1 is precise near t = 1, where 1 - alpha^2 cancels.
    sigma = xp.sqrt(-xp.expm1(2 * log_alpha))
    return Scales(
      alpha, half_beta * alpha, sigma, -half_beta * alpha**2 / sigma
    )
