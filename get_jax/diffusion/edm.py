"""EDM processes, parameterised by the noise level: EDM, VP, VE and iDDPM.

The preconditioned network D is trained to predict x0.

Source: Karras et al., "Elucidating the Design Space of Diffusion-Based
Generative Models", Table 1.
"""

import dataclasses
import functools
import math
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.preconditioning import (
  Coefficients,
  PreconditionedProcess,
)
from get_jax.diffusion.process import as_float32, expand
from get_jax.diffusion.registry import check_choice
from get_jax.diffusion.typing import Array
from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class SigmaProcess(PreconditionedProcess):
  """Base class of the four preconditionings: the loss of the denoiser.

  Attributes:
    reduction: "sum" over pixels and channels, the official loss, or "mean".
  """

  description: ClassVar[str] = (
    "an EDM process (edm, edm_vp, edm_ve or edm_iddpm)"
  )

  reduction: str = "sum"

  def __post_init__(self):
    check_choice("process", "reduction", self.reduction, ("sum", "mean"))

  @property
  def metric_names(self):
    """See `Process.metric_names`."""
    return ("loss_per_dim",)

  def weight(self, sigma: Array) -> Array:
    """Returns the loss weight of the squared error at sigma, (B,)."""
    return 1 / as_float32(sigma) ** 2

  def loss_at(self, net, x0, sigma, noise):
    """See `Process.loss_at`; the weighted squared error of D."""
    x0, sigma, noise = as_float32(x0), as_float32(sigma), as_float32(noise)
    x = x0 + expand(sigma, x0) * noise
    error = (self.denoiser(net)(x, sigma) - x0) ** 2
    axes = tuple(range(1, x0.ndim))
    mean = self.weight(sigma) * error.mean(axes)
    size = math.prod(x0.shape[1:]) if self.reduction == "sum" else 1
    return mean * size, {"loss_per_dim": mean}


@dataclasses.dataclass(frozen=True)
class EDM(SigmaProcess):
  """EDM's preconditioning, noise distribution and loss weighting.

  Attributes:
    sigma_data: standard deviation of the data.
    p_mean: mean of ln(sigma) in training.
    p_std: standard deviation of ln(sigma) in training.
    sigma_min: lowest noise level that the network supports; None means 0.
    sigma_max: highest noise level that the network supports; None sets no
      limit.
  """

  description: ClassVar[str] = "the process edm"

  sigma_data: float = 0.5
  p_mean: float = -1.2
  p_std: float = 1.2
  sigma_min: float | None = None
  sigma_max: float | None = None

  def __post_init__(self):
    super().__post_init__()
    low, high = self.sigma_range
    if not 0 <= low < high:
      raise UsageError(
        f"process: sigma_min is {self.sigma_min!r} and sigma_max is "
        f"{self.sigma_max!r}: expected 0 <= sigma_min < sigma_max"
      )

  @property
  def parameterisation(self):
    """See `Process.parameterisation`."""
    return {"sigma_data": self.sigma_data, "time_scale": self.time_scale}

  @property
  def sigma_range(self):
    """See `PreconditionedProcess.sigma_range`."""
    return (
      0.0 if self.sigma_min is None else self.sigma_min,
      math.inf if self.sigma_max is None else self.sigma_max,
    )

  def coefficients(self, sigma):
    """See `PreconditionedProcess.coefficients`; c_noise = ln(sigma) / 4."""
    sigma = as_float32(sigma)
    total = sigma**2 + self.sigma_data**2
    c_in = 1 / jnp.sqrt(total)
    return Coefficients(
      c_skip=self.sigma_data**2 / total,
      one_minus_c_skip=sigma**2 / total,
      c_out=sigma * self.sigma_data * c_in,
      c_in=c_in,
      c_noise=jnp.log(sigma) / 4,
    )

  def sample_levels(self, key, batch):
    """Samples log-normal noise levels, (batch,)."""
    return self.sigma_at(jax.random.normal(key, (batch,), jnp.float32))

  def sigma_at(self, z):
    """Returns the noise level of a standard normal z."""
    return jnp.exp(self.p_mean + self.p_std * as_float32(z))

  def weight(self, sigma):
    """Returns 1 / c_out^2; the target of F has unit variance at every sigma."""
    sigma = as_float32(sigma)
    return (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2

  def sigma_of(self, t):
    """See `Process.sigma_of`."""
    return jnp.exp(4 * as_float32(t) / self.time_scale)


@dataclasses.dataclass(frozen=True)
class EDMVP(SigmaProcess):
  """The variance-preserving SDE of Song et al. as an EDM process.

  Attributes:
    beta_d: slope of beta(t).
    beta_min: beta(0).
    num_timesteps: M; c_noise is (M - 1) t.
    epsilon_t: the smallest time in training.
  """

  beta_d: float = 19.9
  beta_min: float = 0.1
  num_timesteps: int = 1000
  epsilon_t: float = 1e-5

  @property
  def sigma_range(self):
    """See `PreconditionedProcess.sigma_range`."""
    return float(self.sigma(self.epsilon_t)), float(self.sigma(1.0))

  def sigma(self, t, xp=np):
    """Returns sigma(t); `xp` is numpy or jax.numpy."""
    # expm1 is precise at small t, where exp(.) - 1 cancels.
    return xp.sqrt(xp.expm1(0.5 * self.beta_d * t**2 + self.beta_min * t))

  def time(self, sigma, xp=np):
    """Returns t for a given sigma(t); `xp` is numpy or jax.numpy."""
    twice = 2 * xp.log1p(sigma**2)
    root = xp.sqrt(self.beta_min**2 + self.beta_d * twice)
    return twice / (root + self.beta_min)

  def coefficients(self, sigma):
    """See `PreconditionedProcess.coefficients`."""
    sigma = as_float32(sigma)
    return _noise_predicting(
      sigma, (self.num_timesteps - 1) * self.time(sigma, jnp)
    )

  def sample_levels(self, key, batch):
    """Samples sigma(t) for uniform t, (batch,)."""
    return self.sigma_at(jax.random.uniform(key, (batch,), jnp.float32))

  def sigma_at(self, u):
    """Returns the noise level of a uniform u in [0, 1)."""
    u = as_float32(u)
    # A sum of positive numbers: 1 - u (1 - epsilon_t) cancels near u = 1.
    return self.sigma((1 - u) + u * self.epsilon_t, jnp)

  def sigma_of(self, t):
    """See `Process.sigma_of`."""
    t = as_float32(t) / self.time_scale
    return self.sigma(t / (self.num_timesteps - 1), jnp)


@dataclasses.dataclass(frozen=True)
class EDMVE(SigmaProcess):
  """The variance-exploding SDE of Song et al. as an EDM process.

  Attributes:
    sigma_min: lowest noise level.
    sigma_max: highest noise level.
  """

  sigma_min: float = 0.02
  sigma_max: float = 100.0

  @property
  def sigma_range(self):
    """See `PreconditionedProcess.sigma_range`."""
    return self.sigma_min, self.sigma_max

  def coefficients(self, sigma):
    """See `PreconditionedProcess.coefficients`; c_noise = ln(sigma / 2)."""
    sigma = as_float32(sigma)
    one = jnp.ones_like(sigma)
    return Coefficients(
      c_skip=one,
      one_minus_c_skip=jnp.zeros_like(sigma),
      c_out=sigma,
      c_in=one,
      c_noise=jnp.log(0.5 * sigma),
    )

  def sample_levels(self, key, batch):
    """Samples log-uniform noise levels, (batch,)."""
    return self.sigma_at(jax.random.uniform(key, (batch,), jnp.float32))

  def sigma_at(self, u):
    """Returns the noise level of a uniform u in [0, 1)."""
    return self.sigma_min * (self.sigma_max / self.sigma_min) ** as_float32(u)

  def sigma_of(self, t):
    """See `Process.sigma_of`."""
    return 2 * jnp.exp(as_float32(t) / self.time_scale)


@dataclasses.dataclass(frozen=True)
class EDMIDDPM(SigmaProcess):
  """The cosine process of Nichol and Dhariwal as an EDM process.

  The network supports M noise levels u[0] > ... > u[M-1]; c_noise is
  M - 1 - index of the nearest level.

  Attributes:
    c_1: lower bound of the ratios of successive alpha_bar.
    c_2: offset of the cosine.
    num_timesteps: number of levels, M.
    u: the M + 1 levels, the last one 0, if a checkpoint stores its own levels
      (those of the official checkpoints were computed in float32 and differ by
      up to 3e-5); None computes the levels.
  """

  c_1: float = 0.001
  c_2: float = 0.008
  num_timesteps: int = 1000
  u: tuple[float, ...] | None = None

  @functools.cached_property
  def levels(self) -> np.ndarray:
    """The levels u, (M + 1,) float64, decreasing to 0."""
    if self.u is not None:
      return np.asarray(self.u, np.float64)
    return iddpm_levels(self.num_timesteps, self.c_1, self.c_2)

  @property
  def sigma_range(self):
    """See `PreconditionedProcess.sigma_range`."""
    return float(self.levels[-2]), float(self.levels[0])

  def index(self, sigma, xp=np):
    """Returns the index of the level nearest to sigma, in 0..M."""
    middles = (self.levels[1:] + self.levels[:-1]) / 2
    rising = xp.asarray(middles[::-1], sigma.dtype)
    return self.num_timesteps - xp.searchsorted(rising, sigma, side="left")

  def round_sigma(self, sigma):
    """See `PreconditionedProcess.round_sigma`."""
    return self.levels[self.index(np.asarray(sigma))]

  def coefficients(self, sigma):
    """See `PreconditionedProcess.coefficients`."""
    sigma = as_float32(sigma)
    index = as_float32(self.index(sigma, jnp))
    return _noise_predicting(sigma, self.num_timesteps - 1 - index)

  def sample_levels(self, key, batch):
    """Samples the M levels uniformly, (batch,)."""
    steps = self.num_timesteps
    index = jax.random.randint(key, (batch,), 0, steps, jnp.int32)
    return as_float32(self.levels)[index]

  def sigma_of(self, t):
    """See `Process.sigma_of`."""
    index = self.num_timesteps - 1 - as_float32(t) / self.time_scale
    steps = as_float32(np.arange(self.num_timesteps + 1))
    return jnp.interp(index, steps, as_float32(self.levels))


def _noise_predicting(sigma, time) -> Coefficients:
  """Returns the coefficients of D = x - sigma F for a VP network F."""
  return Coefficients(
    c_skip=jnp.ones_like(sigma),
    one_minus_c_skip=jnp.zeros_like(sigma),
    c_out=-sigma,
    c_in=1 / jnp.sqrt(sigma**2 + 1),
    c_noise=time,
  )


def iddpm_levels(
  num_timesteps: int, c_1: float = 0.001, c_2: float = 0.008
) -> np.ndarray:
  """Returns the noise levels of iDDPM, (M + 1,) float64, decreasing to 0.

  The cosine is computed in float32, as in the official code; the lowest levels
  differ by 5e-4 from the exact ones.

  Args:
    num_timesteps: number of levels, M.
    c_1: lower bound of the ratios of successive alpha_bar.
    c_2: offset of the cosine.
  """
  j = np.arange(num_timesteps + 1, dtype=np.float32)
  angle = np.float32(0.5 * np.pi) * j / np.float32(num_timesteps)
  angle = angle / np.float32(c_2 + 1)
  # The sine is rounded from float64: NumPy's own in float32 differs between
  # processors, and near a right angle its last bit decides the lowest levels.
  alpha_bar = np.sin(angle.astype(np.float64)).astype(np.float32) ** 2
  ratio = np.maximum(alpha_bar[:-1] / alpha_bar[1:], np.float32(c_1))
  u = np.zeros(num_timesteps + 1)
  for i in range(num_timesteps, 0, -1):
    u[i - 1] = math.sqrt((u[i] ** 2 + 1) / float(ratio[i - 1]) - 1)
  return u
