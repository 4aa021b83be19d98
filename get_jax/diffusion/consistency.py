"""The consistency function: a network that maps a noisy state to the data.

Data is noised as x = x0 + sigma n. The states of a trajectory of the
probability flow have the same image f(x, sigma), which is the trajectory's
state at sigma_min. There f is the identity.

Source: Song et al., "Consistency Models", 2023, Section 3 and Appendix C.
"""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.edm import EDM
from get_jax.diffusion.preconditioning import (
  Coefficients,
  PreconditionedProcess,
)
from get_jax.diffusion.process import as_float32
from get_jax.diffusion.registry import check_choice
from get_jax.diffusion.typing import Array
from get_jax.errors import UsageError

DISTRIBUTIONS = ("grid", "log_normal")


class Pair(NamedTuple):
  """Two noise levels of one trajectory.

  Attributes:
    high: (B,) level at which the network is trained.
    low: (B,) lower level, at which its target is computed.
  """

  high: Array
  low: Array


@dataclasses.dataclass(frozen=True)
class Consistency(PreconditionedProcess):
  """EDM's preconditioning with f(x, sigma_min) = x.

  n noise levels divide the range so that sigma^(1/rho) is equally spaced.

  Attributes:
    sigma_data: standard deviation of the data.
    sigma_min: lowest noise level.
    sigma_max: highest noise level, where sampling starts.
    rho: exponent of the spacing of the levels.
    distribution: distribution of the levels in training: "grid" (sigma^(1/rho)
      is uniform) or "log_normal", truncated to the range.
    p_mean: mean of ln(sigma) of "log_normal".
    p_std: standard deviation of ln(sigma) of "log_normal".
  """

  description: ClassVar[str] = "the process consistency"

  sigma_data: float = 0.5
  sigma_min: float = 0.002
  sigma_max: float = 80.0
  rho: float = 7.0
  distribution: str = "grid"
  p_mean: float = -1.1
  p_std: float = 2.0

  def __post_init__(self):
    check_choice("process", "distribution", self.distribution, DISTRIBUTIONS)
    if not 0 < self.sigma_min < self.sigma_max:
      raise UsageError(
        f"process: sigma_min is {self.sigma_min!r} and sigma_max is "
        f"{self.sigma_max!r}: expected 0 < sigma_min < sigma_max"
      )

  @property
  def parameterisation(self) -> dict[str, Any]:
    """See `Process.parameterisation`."""
    return {
      "sigma_data": self.sigma_data,
      "sigma_min": self.sigma_min,
      "time_scale": self.time_scale,
    }

  @property
  def edm(self) -> EDM:
    """The process of the denoisers that are preconditioned alike."""
    return EDM(time_scale=self.time_scale, sigma_data=self.sigma_data)

  @property
  def sigma_range(self):
    """See `PreconditionedProcess.sigma_range`."""
    return self.sigma_min, self.sigma_max

  def coefficients(self, sigma):
    """See `PreconditionedProcess.coefficients`; c_noise = ln(sigma) / 4."""
    sigma = as_float32(sigma)
    above = sigma - np.float32(self.sigma_min)
    total = above**2 + self.sigma_data**2
    c_in = 1 / jnp.sqrt(sigma**2 + self.sigma_data**2)
    return Coefficients(
      c_skip=self.sigma_data**2 / total,
      one_minus_c_skip=above**2 / total,
      c_out=above * self.sigma_data * c_in,
      c_in=c_in,
      c_noise=jnp.log(sigma) / 4,
    )

  def sigma_of(self, t):
    """See `Process.sigma_of`."""
    return self.edm.sigma_of(t)

  @property
  def _roots(self) -> tuple[float, float]:
    """The range of sigma^(1/rho)."""
    return self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)

  def sigma_at(self, u: Array) -> jax.Array:
    """Returns the noise levels of uniform numbers in [0, 1]."""
    u, (low, high) = as_float32(u), self._roots
    if self.distribution == "log_normal":
      bounds = np.log([self.sigma_min, self.sigma_max])
      z = as_float32((bounds - self.p_mean) / self.p_std)
      start, end = jax.scipy.stats.norm.cdf(z)
      z = jax.scipy.stats.norm.ppf(start + u * (end - start))
      sigma = jnp.exp(self.p_mean + self.p_std * z)
      return jnp.clip(sigma, self.sigma_min, self.sigma_max)
    return (low + u * (high - low)) ** self.rho

  def sample_levels(self, key, batch):
    """Samples noise levels, (batch,)."""
    return self.sigma_at(jax.random.uniform(key, (batch,), jnp.float32))

  def level(self, index: Array | int, num_scales: Array | int) -> jax.Array:
    """Returns levels of the grid.

    Args:
      index: numbers of the levels, 0 (the highest) to num_scales - 1.
      num_scales: number of levels n, at least 2.
    """
    low, high = self._roots
    share = as_float32(index) / (as_float32(num_scales) - 1)
    return (high + share * (low - high)) ** self.rho

  def pair_around(self, sigma: Array, num_scales: Array | int) -> Pair:
    """Returns the neighbouring levels of the grid around sigma.

    Args:
      sigma: (B,) noise levels in the range of the process.
      num_scales: number of levels n, at least 2.
    """
    low, high = self._roots
    position = (high - as_float32(sigma) ** (1 / self.rho)) / (high - low)
    last = as_float32(num_scales) - 2
    index = jnp.clip(jnp.floor(position * (last + 1)), 0, last)
    return Pair(
      self.level(index, num_scales), self.level(index + 1, num_scales)
    )

  def loss_at(self, net, x0, levels, noise):
    """Not supported: a consistency function is not learned by denoising.

    Raises:
      UsageError: always.
    """
    raise UsageError(
      "the process consistency has no denoising loss; expected a task such as "
      "'consistency_training' or 'consistency_distillation'"
    )
