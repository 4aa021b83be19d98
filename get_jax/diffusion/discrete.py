"""The discrete process of DDPM with ADM's learned variance.

Ho et al., "Denoising Diffusion Probabilistic Models"; Nichol and Dhariwal,
"Improved Denoising Diffusion Probabilistic Models".
"""

import dataclasses
import functools
import math
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.continuous import VariancePreserving
from get_jax.diffusion.process import Network, expand
from get_jax.diffusion.registry import check_choice
from get_jax.diffusion.respacing import space_timesteps
from get_jax.diffusion.schedules import Interpolated
from get_jax.diffusion.variational import decoder_nll, mean_bits, normal_kl


class Tables(NamedTuple):
  """The numbers of a (respaced) process of T steps, each (T,) float64.

  Attributes:
    timesteps: original timestep of every step, int64.
    betas: variance added by every step.
    alpha_bar: product of 1 - beta up to and including the step.
    alpha_bar_prev: the same up to the step before, 1 at the first.
    alpha_bar_next: the same up to the step after, 0 at the last.
    posterior_variance: of q(x_{t-1} | x_t, x_0); 0 at the first.
    posterior_log_variance: its logarithm, the first replaced by the second.
    posterior_x0: weight of x_0 in the posterior's mean.
    posterior_xt: weight of x_t in it.
  """

  timesteps: np.ndarray
  betas: np.ndarray
  alpha_bar: np.ndarray
  alpha_bar_prev: np.ndarray
  alpha_bar_next: np.ndarray
  posterior_variance: np.ndarray
  posterior_log_variance: np.ndarray
  posterior_x0: np.ndarray
  posterior_xt: np.ndarray


class Reverse(NamedTuple):
  """What the network says of one step back.

  Attributes:
    mean: of x_{t-1}, (B, H, W, C).
    log_variance: broadcasts against `mean`.
    x0: the estimate of the clean data, (B, H, W, C).
  """

  mean: jax.Array
  log_variance: jax.Array
  x0: jax.Array


@dataclasses.dataclass(frozen=True)
class DiscreteProcess(VariancePreserving):
  """ADM's process: T noise levels, noise or data predicted, variance learned.

  The network is told the original timestep, also where the process is
  respaced.

  Attributes:
    beta_schedule: "linear" (Ho et al., scaled to T), "cosine" (Nichol and
      Dhariwal) or "stable_diffusion" (linear in the square root).
    num_timesteps: T before respacing.
    spacing: kept timesteps, see `space_timesteps`.
    first_timestep: what the network is told at the lowest noise level.
    prediction: "noise" or "data": what the network's leading channels are.
    variance: "learned_range", from the network's other C channels; or
      "fixed_large" (beta) or "fixed_small" (the posterior's).
    objective: "mse", to which learned variances add the bound in bits;
      "rescaled_mse", where the bound is weighted T / 1000; or "bound", the
      bound alone times T.
  """

  kind: ClassVar[str] = "a discrete process (adm or stable_diffusion)"

  beta_schedule: str = "linear"
  num_timesteps: int = 1000
  spacing: int | str | tuple[int, ...] = ""
  first_timestep: int = 0
  prediction: str = "noise"
  variance: str = "learned_range"
  objective: str = "mse"

  def __post_init__(self):
    for field, choices in {
      "beta_schedule": tuple(_BETAS),
      "prediction": ("noise", "data"),
      "variance": ("learned_range", "fixed_large", "fixed_small"),
      "objective": ("mse", "rescaled_mse", "bound"),
    }.items():
      check_choice("process", field, getattr(self, field), choices)
    space_timesteps(self.num_timesteps, self.spacing)

  def respaced(self, spacing: int | str | tuple[int, ...]):
    """The same process with other kept timesteps."""
    return dataclasses.replace(self, spacing=spacing)

  @functools.cached_property
  def full_alpha_bar(self) -> np.ndarray:
    """alpha_bar before respacing, (num_timesteps,) float64."""
    return np.cumprod(1 - _BETAS[self.beta_schedule](self.num_timesteps))

  @functools.cached_property
  def schedule(self):
    """See `VariancePreserving.schedule`; step n of T is at time n / T."""
    return Interpolated(tuple(self.full_alpha_bar.tolist()))

  def network_clock(self, t):
    """See `VariancePreserving.network_clock`."""
    return self.num_timesteps * t - 1 + self.first_timestep

  @functools.cached_property
  def tables(self) -> Tables:
    """See `Tables`."""
    timesteps = np.array(space_timesteps(self.num_timesteps, self.spacing))
    alpha_bar = self.full_alpha_bar[timesteps]
    prev = np.append(1.0, alpha_bar[:-1])
    betas = 1 - alpha_bar / prev
    variance = betas * (1 - prev) / (1 - alpha_bar)
    # The first variance is 0; its logarithm borrows the second's.
    positive = np.append(variance[1:2], variance[1:])
    return Tables(
      timesteps=timesteps,
      betas=betas,
      alpha_bar=alpha_bar,
      alpha_bar_prev=prev,
      alpha_bar_next=np.append(alpha_bar[1:], 0.0),
      posterior_variance=variance,
      posterior_log_variance=np.log(positive),
      posterior_x0=betas * np.sqrt(prev) / (1 - alpha_bar),
      posterior_xt=(1 - prev) * np.sqrt(1 - betas) / (1 - alpha_bar),
    )

  def sigma_of(self, t):
    """See `Process.sigma_of`; linear between the timesteps."""
    sigma = np.sqrt(1 / self.full_alpha_bar - 1)
    steps = np.arange(self.num_timesteps) + self.first_timestep
    return jnp.interp(t, steps.astype(np.float32), sigma.astype(np.float32))

  def network_time(self, index):
    """What the network is told at step `index` (int, any shape), float32."""
    times = self.tables.timesteps + self.first_timestep
    return jnp.asarray(times, jnp.float32)[index]

  def q(self, x0, index):
    """Mean and variance of q(x_t | x_0) at the steps `index` (B,)."""
    alpha_bar = self.tables.alpha_bar
    mean = _at(np.sqrt(alpha_bar), index, x0) * x0
    return mean, _at(1 - alpha_bar, index, x0)

  def q_sample(self, x0, index, noise):
    """x0 noised by unit `noise` to the steps `index` (B,)."""
    std = np.sqrt(1 - self.tables.alpha_bar)
    return self.q(x0, index)[0] + _at(std, index, x0) * noise

  def posterior(self, x0, x, index):
    """Mean and log variance of q(x_{t-1} | x_t = x, x_0)."""
    mean = _at(self.tables.posterior_x0, index, x) * x0
    mean += _at(self.tables.posterior_xt, index, x) * x
    return mean, _at(self.tables.posterior_log_variance, index, x)

  def data(self, out, x, index, *, clip: bool = False):
    """The estimate of x_0 in a network's output (B, H, W, C or 2C)."""
    first = out[..., : x.shape[-1]].astype(jnp.float32)
    if self.prediction == "noise":
      alpha_bar = self.tables.alpha_bar
      first = (
        _at(np.sqrt(1 / alpha_bar), index, x) * x
        - _at(np.sqrt(1 / alpha_bar - 1), index, x) * first
      )
    return jnp.clip(first, -1, 1) if clip else first

  def reverse(self, out, x, index, *, clip: bool = False) -> Reverse:
    """Reads a network's output as the distribution of x_{t-1}.

    Args:
      out: (B, H, W, 2C) with a learned variance, else (B, H, W, C).
      x: x_t, (B, H, W, C).
      index: steps of the respaced process, scalar or (B,) int.
      clip: whether to clip x_0 to [-1, 1], for pixels.
    """
    x0 = self.data(out, x, index, clip=clip)
    mean, low = self.posterior(x0, x, index)
    if self.variance == "learned_range":
      high = _at(np.log(self.tables.betas), index, x)
      share = (out[..., x.shape[-1] :].astype(jnp.float32) + 1) / 2
      return Reverse(mean, share * high + (1 - share) * low, x0)
    if self.variance == "fixed_large":
      first = self.tables.posterior_variance[1:2]
      large = np.log(np.append(first, self.tables.betas[1:]))
      return Reverse(mean, _at(large, index, x), x0)
    return Reverse(mean, low, x0)

  def draw_levels(self, key, batch):
    """Steps, all equally likely."""
    return jax.random.randint(key, (batch,), 0, len(self.tables.timesteps))

  def loss_at(self, net: Network, x0, index, noise):
    """See `Process.loss_at`; the levels are steps."""
    x = self.q_sample(x0, index, noise)
    out = net(x, self.network_time(index)).astype(jnp.float32)
    steps = len(self.tables.timesteps)
    if self.objective == "bound":
      bound = self.bound(out, x0, x, index) * steps
      return bound, {"vb": bound}
    first = out[..., : x.shape[-1]]
    target = noise if self.prediction == "noise" else x0
    mse = ((target - first) ** 2).mean(tuple(range(1, x0.ndim)))
    if self.variance != "learned_range":
      return mse, {"mse": mse}
    # The bound teaches the variance only; the mean is left to the MSE.
    rest = out[..., x.shape[-1] :]
    frozen = jnp.concatenate([jax.lax.stop_gradient(first), rest], axis=-1)
    vb = self.bound(frozen, x0, x, index)
    if self.objective == "rescaled_mse":
      vb *= steps / 1000
    return mse + vb, {"mse": mse, "vb": vb}

  def bound(self, out, x0, x, index):
    """The variational bound's term of the steps `index`, (B,) bits per dim."""
    mean, log_variance, _ = self.reverse(out, x, index)
    kl = normal_kl(*self.posterior(x0, x, index), mean, log_variance)
    nll = decoder_nll(x0, mean, log_variance)
    return jnp.where(index == 0, mean_bits(nll), mean_bits(kl))

  def prior_bits(self, x0):
    """KL(q(x_T | x_0) || N(0, 1)), (B,) bits per dimension."""
    last = jnp.full(x0.shape[:1], len(self.tables.timesteps) - 1)
    mean, variance = self.q(x0, last)
    return mean_bits(normal_kl(mean, jnp.log(variance), 0.0, 0.0))


@dataclasses.dataclass(frozen=True)
class StableDiffusion(DiscreteProcess):
  """Stable Diffusion's schedule, as U-ViT uses it.

  Timesteps count from 1: 0 is the clean latent. The loss is the plain MSE.
  """

  beta_schedule: str = "stable_diffusion"
  first_timestep: int = 1
  variance: str = "fixed_small"


def _linear_betas(num_timesteps):
  scale = 1000 / num_timesteps
  return np.linspace(scale * 1e-4, scale * 2e-2, num_timesteps)


def _cosine_betas(num_timesteps):
  knots = np.arange(num_timesteps + 1) / num_timesteps
  alpha_bar = np.cos((knots + 0.008) / 1.008 * math.pi / 2) ** 2
  return np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999)


def _stable_diffusion_betas(num_timesteps):
  roots = np.linspace(math.sqrt(0.00085), math.sqrt(0.012), num_timesteps)
  return roots**2


_BETAS = {
  "linear": _linear_betas,
  "cosine": _cosine_betas,
  "stable_diffusion": _stable_diffusion_betas,
}


def _at(table, index, x):
  """Looks up steps (scalar or (B,)) of a table, shaped to multiply x."""
  values = jnp.asarray(table, jnp.float32)[index]
  return expand(values, x) if values.ndim else values
