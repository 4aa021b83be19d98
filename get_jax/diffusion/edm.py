"""Processes told by the noise level: EDM and its readings of VP, VE, iDDPM.

Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
Models", Table 1. Data is noised as x = x0 + sigma n, a network F is wrapped as

  D(x, sigma) = c_skip x + c_out F(c_in x, c_noise)

and D is trained to return x0.
"""

import dataclasses
import functools
import math
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.process import Network, Process, expand
from get_jax.diffusion.registry import check_choice


class Coefficients(NamedTuple):
  """The preconditioning at some noise levels, each (B,) float32.

  Attributes:
    skip: c_skip.
    rest: 1 - c_skip, to full precision where c_skip is almost 1.
    out: c_out.
    inside: c_in.
    noise: c_noise.
  """

  skip: jax.Array
  rest: jax.Array
  out: jax.Array
  inside: jax.Array
  noise: jax.Array


@dataclasses.dataclass(frozen=True)
class SigmaProcess(Process):
  """What the four preconditionings share: the denoiser and its loss.

  Attributes:
    time_scale: factor on c_noise before the network sees it. 1 is the
      official value, for networks whose embedding takes c_noise itself; a
      transformer with a 0..1000 sinusoid wants more.
    reduction: "sum" over pixels and channels, the official loss, or "mean".
  """

  kind: ClassVar[str] = "an EDM process (edm, edm_vp, edm_ve or edm_iddpm)"

  time_scale: float = 1.0
  reduction: str = "sum"

  def __post_init__(self):
    check_choice("process", "reduction", self.reduction, ("sum", "mean"))

  @property
  def sigma_range(self) -> tuple[float, float]:
    """The lowest and the highest noise level that the network knows."""
    return 0.0, math.inf

  def round_sigma(self, sigma: np.ndarray) -> np.ndarray:
    """The nearest noise levels that the network knows (host float64)."""
    return sigma

  def coefficients(self, sigma: jax.Array) -> Coefficients:
    """The preconditioning at sigma, (B,)."""
    raise NotImplementedError

  def weight(self, sigma: jax.Array) -> jax.Array:
    """The weight of the squared error at sigma."""
    return 1 / sigma**2

  def sigma_of(self, t):
    """See `Process.sigma_of`; t is time_scale * c_noise."""
    raise NotImplementedError

  def denoiser(self, net: Network):
    """D(x, sigma): the estimate of x0.

    Args:
      net: see `Network`. Of one with more output channels than x (a learned
        variance) the first C are taken.

    Returns:
      A function of x (B, H, W, C) and sigma, scalar or (B,).
    """

    def denoise(x, sigma):
      c, out = self._evaluate(net, x, sigma)
      return expand(c.skip, x) * x + expand(c.out, x) * out

    return denoise

  def predictor(self, net: Network):
    """(x - D) / sigma: the estimate of the noise, which is the ODE's dx/dsigma.

    Made without the subtraction, which would lose digits at small sigma.
    Arguments as `denoiser`.
    """

    def predict(x, sigma):
      c, out = self._evaluate(net, x, sigma)
      return (expand(c.rest, x) * x - expand(c.out, x) * out) / sigma

    return predict

  def _evaluate(self, net, x, sigma):
    sigma = jnp.broadcast_to(jnp.asarray(sigma, jnp.float32), x.shape[:1])
    c = self.coefficients(sigma)
    out = net(expand(c.inside, x) * x, self.time_scale * c.noise)
    return c, out[..., : x.shape[-1]].astype(jnp.float32)

  def loss_at(self, net, x0, sigma, noise):
    """See `Process.loss_at`: the weighted squared error of D."""
    x = x0 + expand(sigma, x0) * noise
    error = (self.denoiser(net)(x, sigma) - x0) ** 2
    axes = tuple(range(1, x0.ndim))
    mean = self.weight(sigma) * error.mean(axes)
    size = math.prod(x0.shape[1:]) if self.reduction == "sum" else 1
    return mean * size, {"loss_per_dim": mean}


@dataclasses.dataclass(frozen=True)
class EDM(SigmaProcess):
  """EDM's own preconditioning, noise distribution and weighting.

  Attributes:
    sigma_data: standard deviation of the data.
    p_mean: mean of ln(sigma) in training.
    p_std: its standard deviation.
  """

  sigma_data: float = 0.5
  p_mean: float = -1.2
  p_std: float = 1.2

  def coefficients(self, sigma):
    """See `SigmaProcess.coefficients`; c_noise = ln(sigma) / 4."""
    total = sigma**2 + self.sigma_data**2
    inside = 1 / jnp.sqrt(total)
    return Coefficients(
      skip=self.sigma_data**2 / total,
      rest=sigma**2 / total,
      out=sigma * self.sigma_data * inside,
      inside=inside,
      noise=jnp.log(sigma) / 4,
    )

  def draw_levels(self, key, batch):
    """Log-normal noise levels."""
    return self.sigma_at(jax.random.normal(key, (batch,)))

  def sigma_at(self, z):
    """The noise level of a standard normal draw."""
    return jnp.exp(self.p_mean + self.p_std * z)

  def weight(self, sigma):
    """1 / c_out^2, so that F's target has unit variance at every sigma."""
    return (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2

  def sigma_of(self, t):
    """See `Process.sigma_of`."""
    return jnp.exp(4 * t / self.time_scale)


@dataclasses.dataclass(frozen=True)
class EDMVP(SigmaProcess):
  """The variance-preserving SDE of Song et al. in EDM's terms.

  Attributes:
    beta_d: slope of beta(t).
    beta_min: beta(0).
    num_timesteps: M; the network's time is (M - 1) t.
    epsilon_t: the smallest time in training.
  """

  beta_d: float = 19.9
  beta_min: float = 0.1
  num_timesteps: int = 1000
  epsilon_t: float = 1e-5

  @property
  def sigma_range(self):
    """See `SigmaProcess.sigma_range`."""
    return float(self.sigma(self.epsilon_t)), float(self.sigma(1.0))

  def sigma(self, t, xp=np):
    """sigma(t); `xp` is numpy or jax.numpy."""
    # expm1 keeps the digits at small t that exp(.) - 1 loses.
    return xp.sqrt(xp.expm1(0.5 * self.beta_d * t**2 + self.beta_min * t))

  def time(self, sigma, xp=np):
    """The inverse of `sigma`."""
    twice = 2 * xp.log1p(sigma**2)
    root = xp.sqrt(self.beta_min**2 + self.beta_d * twice)
    return twice / (root + self.beta_min)

  def coefficients(self, sigma):
    """See `SigmaProcess.coefficients`."""
    return _noise_predicting(
      sigma, (self.num_timesteps - 1) * self.time(sigma, jnp)
    )

  def draw_levels(self, key, batch):
    """sigma(t) of uniform t."""
    return self.sigma_at(jax.random.uniform(key, (batch,)))

  def sigma_at(self, u):
    """The noise level of a uniform draw u in [0, 1)."""
    return self.sigma(1 + u * (self.epsilon_t - 1), jnp)

  def sigma_of(self, t):
    """See `Process.sigma_of`."""
    return self.sigma(t / self.time_scale / (self.num_timesteps - 1), jnp)


@dataclasses.dataclass(frozen=True)
class EDMVE(SigmaProcess):
  """The variance-exploding SDE of Song et al. in EDM's terms.

  Attributes:
    sigma_min: lowest noise level.
    sigma_max: highest noise level.
  """

  sigma_min: float = 0.02
  sigma_max: float = 100.0

  @property
  def sigma_range(self):
    """See `SigmaProcess.sigma_range`."""
    return self.sigma_min, self.sigma_max

  def coefficients(self, sigma):
    """See `SigmaProcess.coefficients`; c_noise = ln(sigma / 2)."""
    one = jnp.ones_like(sigma)
    return Coefficients(
      skip=one,
      rest=jnp.zeros_like(sigma),
      out=sigma,
      inside=one,
      noise=jnp.log(0.5 * sigma),
    )

  def draw_levels(self, key, batch):
    """Log-uniform noise levels."""
    return self.sigma_at(jax.random.uniform(key, (batch,)))

  def sigma_at(self, u):
    """The noise level of a uniform draw u in [0, 1)."""
    return self.sigma_min * (self.sigma_max / self.sigma_min) ** u

  def sigma_of(self, t):
    """See `Process.sigma_of`."""
    return 2 * jnp.exp(t / self.time_scale)


@dataclasses.dataclass(frozen=True)
class EDMIDDPM(SigmaProcess):
  """The cosine process of Nichol and Dhariwal in EDM's terms.

  The network knows M noise levels u[0] > ... > u[M-1]; its time is
  M - 1 - index of the nearest.

  Attributes:
    c_1: lower clip of alpha_bar's ratios.
    c_2: offset of the cosine.
    num_timesteps: M.
    u: the M + 1 levels, the last one 0, of a checkpoint that brings its own
      (the official ones were made in float32 and differ by up to 3e-5);
      computed where None.
  """

  c_1: float = 0.001
  c_2: float = 0.008
  num_timesteps: int = 1000
  u: tuple[float, ...] | None = None

  @functools.cached_property
  def levels(self) -> np.ndarray:
    """u, (M + 1,) float64, falling to 0."""
    if self.u is not None:
      return np.asarray(self.u, np.float64)
    return iddpm_levels(self.num_timesteps, self.c_1, self.c_2)

  @property
  def sigma_range(self):
    """See `SigmaProcess.sigma_range`."""
    return float(self.levels[-2]), float(self.levels[0])

  def index(self, sigma, xp=np):
    """The index of the level nearest to sigma, in 0..M."""
    middles = (self.levels[1:] + self.levels[:-1]) / 2
    rising = xp.asarray(middles[::-1], sigma.dtype)
    return self.num_timesteps - xp.searchsorted(rising, sigma, side="left")

  def round_sigma(self, sigma):
    """See `SigmaProcess.round_sigma`."""
    return self.levels[self.index(np.asarray(sigma))]

  def coefficients(self, sigma):
    """See `SigmaProcess.coefficients`."""
    index = self.index(sigma, jnp).astype(jnp.float32)
    return _noise_predicting(sigma, self.num_timesteps - 1 - index)

  def draw_levels(self, key, batch):
    """Uniform over the M levels."""
    index = jax.random.randint(key, (batch,), 0, self.num_timesteps)
    return jnp.asarray(self.levels, jnp.float32)[index]

  def sigma_of(self, t):
    """See `Process.sigma_of`."""
    index = self.num_timesteps - 1 - t / self.time_scale
    steps = np.arange(self.num_timesteps + 1, dtype=np.float32)
    return jnp.interp(index, steps, jnp.asarray(self.levels, jnp.float32))


def _noise_predicting(sigma, time) -> Coefficients:
  """D = x - sigma F: the network of a variance-preserving process."""
  return Coefficients(
    skip=jnp.ones_like(sigma),
    rest=jnp.zeros_like(sigma),
    out=-sigma,
    inside=1 / jnp.sqrt(sigma**2 + 1),
    noise=time,
  )


def iddpm_levels(
  num_timesteps: int, c_1: float = 0.001, c_2: float = 0.008
) -> np.ndarray:
  """iDDPM's noise levels in EDM's terms, (M + 1,) float64, falling to 0.

  The cosine is taken in float32, as in the official code: the lowest levels
  differ by 5e-4 from the exact ones.
  """
  j = np.arange(num_timesteps + 1, dtype=np.float32)
  angle = np.float32(0.5 * np.pi) * j / np.float32(num_timesteps)
  alpha_bar = np.sin(angle / np.float32(c_2 + 1)) ** 2
  ratio = np.maximum(alpha_bar[:-1] / alpha_bar[1:], np.float32(c_1))
  u = np.zeros(num_timesteps + 1)
  for i in range(num_timesteps, 0, -1):
    u[i - 1] = math.sqrt((u[i] ** 2 + 1) / float(ratio[i - 1]) - 1)
  return u
