"""Discrete-time DDPM process with ADM's learned variance.

Source: Ho et al., "Denoising Diffusion Probabilistic Models"; Nichol and
Dhariwal, "Improved Denoising Diffusion Probabilistic Models".
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Real

from get_jax.diffusion.continuous import VariancePreserving
from get_jax.diffusion.process import as_float32, expand
from get_jax.diffusion.registry import check_choice, check_interval
from get_jax.diffusion.respacing import space_timesteps
from get_jax.diffusion.schedules import Interpolated
from get_jax.diffusion.typing import Array, Network
from get_jax.diffusion.variational import (
  decoder_nll,
  mean_bits_per_dim,
  normal_kl,
)
from get_jax.errors import UsageError


class Tables(NamedTuple):
  """Coefficients of a (respaced) process of T steps, each (T,) float64.

  Attributes:
    timesteps: original timestep of every step, int64.
    betas: variance added by every step.
    alpha_bar: product of 1 - beta up to and including the step.
    alpha_bar_prev: alpha_bar of the previous step, 1 at the first step.
    alpha_bar_next: alpha_bar of the next step, 0 at the last step.
    posterior_variance: variance of q(x_{t-1} | x_t, x_0); 0 at the first step.
    posterior_log_variance: logarithm of `posterior_variance`; the first value
      is replaced by the second.
    posterior_x0: weight of x_0 in the posterior mean.
    posterior_xt: weight of x_t in the posterior mean.
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


class ReverseDistribution(NamedTuple):
  """The distribution p(x_{t-1} | x_t) that the network predicts.

  Attributes:
    mean: mean of x_{t-1}, (B, H, W, C).
    log_variance: log variance of x_{t-1}, broadcastable to `mean`.
    x0: the estimate of the clean data, (B, H, W, C).
  """

  mean: Float[Array, "B H W C"]
  log_variance: Float[Array, "..."]
  x0: Float[Array, "B H W C"]


@dataclasses.dataclass(frozen=True)
class DiscreteProcess(VariancePreserving):
  """ADM's process: T noise levels, noise or data prediction, learned variance.

  The time input of the network is the original timestep, also if the process
  is respaced.

  Attributes:
    beta_schedule: "linear" (Ho et al., scaled to T), "cosine" (Nichol and
      Dhariwal) or "stable_diffusion" (linear in the square root).
    num_timesteps: T before respacing.
    spacing: timesteps to keep, see `space_timesteps`.
    first_timestep: time input of the network at the lowest noise level.
    prediction: "noise" or "data": what the leading channels of the network's
      output predict.
    variance: "learned_range", from the other C channels of the output;
      "learned", whose logarithm these channels are; "fixed_large" (beta); or
      "fixed_small" (the posterior variance).
    objective: "mse", to which a learned variance adds the variational bound in
      bits; "rescaled_mse", where the bound has the weight T / 1000; or
      "bound", the bound alone, multiplied by T.
    linear_start: first beta of "linear", at T = 1000, and of
      "stable_diffusion"; None means the official value, 1e-4 or 0.00085.
    linear_end: last beta of these schedules; None means the official value,
      0.02 or 0.012.
    cosine_s: offset s of "cosine".
    rescale_timesteps: whether the time input of the network is scaled to 0 to
      1000, whatever T is, as an option of ADM does.
  """

  description: ClassVar[str] = "a discrete process (adm or stable_diffusion)"

  beta_schedule: str = "linear"
  num_timesteps: int = 1000
  spacing: int | str | tuple[int, ...] = ""
  first_timestep: int = 0
  prediction: str = "noise"
  variance: str = "learned_range"
  objective: str = "mse"
  linear_start: float | None = None
  linear_end: float | None = None
  cosine_s: float = 0.008
  rescale_timesteps: bool = False

  def __post_init__(self):
    for field, choices in {
      "beta_schedule": tuple(_BETAS),
      "prediction": ("noise", "data"),
      "variance": ("learned_range", "learned", "fixed_large", "fixed_small"),
      "objective": ("mse", "rescaled_mse", "bound"),
    }.items():
      check_choice("process", field, getattr(self, field), choices)
    check_interval("process", "cosine_s", self.cosine_s, 0, 1)
    self._check_linear()
    space_timesteps(self.num_timesteps, self.spacing)

  def _check_linear(self) -> None:
    given = {
      field: getattr(self, field)
      for field in ("linear_start", "linear_end")
      if getattr(self, field) is not None
    }
    if given and self.beta_schedule == "cosine":
      raise UsageError(
        f"process: {next(iter(given))} is set: expected None with the "
        "beta_schedule 'cosine'"
      )
    if self.beta_schedule == "cosine":
      return
    start, end = self._linear_ends
    # "linear" scales the betas, which are below 1, by 1000 / T.
    scale = 1000 / self.num_timesteps if self.beta_schedule == "linear" else 1.0
    if not 0 < start < end or (given and not end * scale < 1):
      raise UsageError(
        f"process: linear_start is {start!r} and linear_end is {end!r}: "
        f"expected 0 < linear_start < linear_end < {1 / scale:g}"
      )

  @property
  def _linear_ends(self) -> tuple[float, float]:
    start, end = _LINEAR_ENDS[self.beta_schedule]
    start = start if self.linear_start is None else self.linear_start
    return start, end if self.linear_end is None else self.linear_end

  def respaced(self, spacing: int | str | tuple[int, ...]) -> "DiscreteProcess":
    """Returns the same process with other timesteps kept."""
    return dataclasses.replace(self, spacing=spacing)

  @functools.cached_property
  def full_alpha_bar(self) -> np.ndarray:
    """alpha_bar before respacing, (num_timesteps,) float64."""
    make, count = _BETAS[self.beta_schedule], self.num_timesteps
    if self.beta_schedule == "cosine":
      return np.cumprod(1 - make(count, self.cosine_s))
    return np.cumprod(1 - make(count, *self._linear_ends))

  @functools.cached_property
  def schedule(self) -> Interpolated:
    """See `VariancePreserving.schedule`; step n of T is at time n / T."""
    return Interpolated(tuple(self.full_alpha_bar.tolist()))

  def network_time(self, t):
    """See `VariancePreserving.network_time`."""
    time = self.num_timesteps * t - 1 + self.first_timestep
    return time * self._time_scale

  @property
  def _time_scale(self) -> float:
    """The time input of the network divided by the timestep."""
    return 1000 / self.num_timesteps if self.rescale_timesteps else 1.0

  @functools.cached_property
  def tables(self) -> Tables:
    """The coefficients of the process; see `Tables`."""
    timesteps = np.array(space_timesteps(self.num_timesteps, self.spacing))
    alpha_bar = self.full_alpha_bar[timesteps]
    prev = np.append(1.0, alpha_bar[:-1])
    betas = 1 - alpha_bar / prev
    variance = betas * (1 - prev) / (1 - alpha_bar)
    # The first variance is 0; its logarithm is that of the second.
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
    """See `Process.sigma_of`; interpolates linearly between timesteps."""
    sigma = np.sqrt(1 / self.full_alpha_bar - 1)
    timesteps = np.arange(self.num_timesteps) + self.first_timestep
    steps = timesteps * self._time_scale
    return jnp.interp(as_float32(t), as_float32(steps), as_float32(sigma))

  def network_timestep(self, index):
    """Returns the time input of the network at steps, float32.

    Args:
      index: steps of the respaced process, int of any shape.
    """
    times = (self.tables.timesteps + self.first_timestep) * self._time_scale
    return as_float32(times)[index]

  def q_mean_variance(
    self, x0: Real[Array, "B H W C"], index: Int[Array, " B"]
  ) -> tuple[jax.Array, jax.Array]:
    """Returns the mean and variance of q(x_t | x_0) at steps `index`."""
    alpha_bar = self.tables.alpha_bar
    mean = _at(np.sqrt(alpha_bar), index, x0) * as_float32(x0)
    return mean, _at(1 - alpha_bar, index, x0)

  def q_sample(
    self,
    x0: Real[Array, "B H W C"],
    index: Int[Array, " B"],
    noise: Real[Array, "B H W C"],
  ) -> jax.Array:
    """Returns x0 noised with unit `noise` to the steps `index`."""
    std = _at(np.sqrt(1 - self.tables.alpha_bar), index, x0)
    return self.q_mean_variance(x0, index)[0] + std * as_float32(noise)

  def q_posterior(
    self,
    x0: Real[Array, "B H W C"],
    x: Real[Array, "B H W C"],
    index,
  ) -> tuple[jax.Array, jax.Array]:
    """Returns the mean and log variance of q(x_{t-1} | x_t = x, x_0)."""
    mean = _at(self.tables.posterior_x0, index, x) * as_float32(x0)
    mean += _at(self.tables.posterior_xt, index, x) * as_float32(x)
    return mean, _at(self.tables.posterior_log_variance, index, x)

  def predict_x0(
    self,
    out: Real[Array, "B H W C2"],
    x: Real[Array, "B H W C"],
    index,
    *,
    clip: bool = False,
  ) -> jax.Array:
    """Returns the estimate of x_0 from the output of the network.

    Args:
      out: (B, H, W, C) or, with a learned variance, (B, H, W, 2C).
      x: x_t, (B, H, W, C).
      index: steps of the respaced process, scalar or (B,) int.
      clip: whether to clip the estimate to [-1, 1], for pixels.
    """
    first, x = as_float32(out[..., : x.shape[-1]]), as_float32(x)
    if self.prediction == "noise":
      alpha_bar = self.tables.alpha_bar
      first = (
        _at(np.sqrt(1 / alpha_bar), index, x) * x
        - _at(np.sqrt(1 / alpha_bar - 1), index, x) * first
      )
    return jnp.clip(first, -1, 1) if clip else first

  def p_mean_variance(
    self,
    out: Real[Array, "B H W C2"],
    x: Real[Array, "B H W C"],
    index,
    *,
    clip: bool = False,
  ) -> ReverseDistribution:
    """Returns the distribution of x_{t-1} from the output of the network.

    Args:
      out: (B, H, W, 2C) with a learned variance, otherwise (B, H, W, C).
      x: x_t, (B, H, W, C).
      index: steps of the respaced process, scalar or (B,) int.
      clip: whether to clip the estimate of x_0 to [-1, 1], for pixels.
    """
    x0 = self.predict_x0(out, x, index, clip=clip)
    mean, low = self.q_posterior(x0, x, index)
    if self.variance == "learned":
      return ReverseDistribution(mean, as_float32(out[..., x.shape[-1] :]), x0)
    if self.variance == "learned_range":
      high = _at(np.log(self.tables.betas), index, x)
      share = (as_float32(out[..., x.shape[-1] :]) + 1) / 2
      return ReverseDistribution(mean, share * high + (1 - share) * low, x0)
    if self.variance == "fixed_large":
      first = self.tables.posterior_variance[1:2]
      large = np.log(np.append(first, self.tables.betas[1:]))
      return ReverseDistribution(mean, _at(large, index, x), x0)
    return ReverseDistribution(mean, low, x0)

  def sample_levels(self, key, batch):
    """Samples steps uniformly, (batch,) int32."""
    steps = len(self.tables.timesteps)
    return jax.random.randint(key, (batch,), 0, steps, jnp.int32)

  @property
  def metric_names(self):
    """See `Process.metric_names`."""
    if self.objective == "bound":
      return ("vb",)
    return ("mse", "vb") if self.variance.startswith("learned") else ("mse",)

  def loss_at(self, net: Network, x0, index, noise):
    """See `Process.loss_at`; the levels are steps."""
    x0, noise = as_float32(x0), as_float32(noise)
    x = self.q_sample(x0, index, noise)
    out = as_float32(net(x, self.network_timestep(index)))
    steps = len(self.tables.timesteps)
    if self.objective == "bound":
      bound = self.vb_terms(out, x0, x, index) * steps
      return bound, {"vb": bound}
    first = out[..., : x.shape[-1]]
    target = noise if self.prediction == "noise" else x0
    mse = ((target - first) ** 2).mean(tuple(range(1, x0.ndim)))
    if not self.variance.startswith("learned"):
      return mse, {"mse": mse}
    # The bound trains the variance only; the mean is trained by the MSE.
    rest = out[..., x.shape[-1] :]
    frozen = jnp.concatenate([jax.lax.stop_gradient(first), rest], axis=-1)
    vb = self.vb_terms(frozen, x0, x, index)
    if self.objective == "rescaled_mse":
      vb *= steps / 1000
    return mse + vb, {"mse": mse, "vb": vb}

  def vb_terms(self, out, x0, x, index):
    """Returns the terms of the variational bound at steps `index`.

    Args:
      out: output of the network.
      x0: clean data, (B, H, W, C).
      x: x_t, (B, H, W, C).
      index: steps of the respaced process, (B,) int.

    Returns:
      (B,) bits per dimension.
    """
    x0 = as_float32(x0)
    mean, log_variance, _ = self.p_mean_variance(out, x, index)
    true_mean, true_log_variance = self.q_posterior(x0, x, index)
    kl = normal_kl(true_mean, true_log_variance, mean, log_variance)
    nll = decoder_nll(x0, mean, log_variance)
    return jnp.where(index == 0, mean_bits_per_dim(nll), mean_bits_per_dim(kl))

  def prior_bpd(self, x0):
    """Returns KL(q(x_T | x_0) || N(0, 1)), (B,) bits per dimension."""
    steps = len(self.tables.timesteps)
    last = jnp.full(x0.shape[:1], steps - 1, jnp.int32)
    mean, variance = self.q_mean_variance(x0, last)
    return mean_bits_per_dim(normal_kl(mean, jnp.log(variance), 0.0, 0.0))


@dataclasses.dataclass(frozen=True)
class StableDiffusion(DiscreteProcess):
  """Stable Diffusion's schedule, as used by U-ViT.

  Timesteps start at 1; timestep 0 is the clean latent. The loss is the MSE.
  """

  beta_schedule: str = "stable_diffusion"
  first_timestep: int = 1
  variance: str = "fixed_small"
  linear_start: float | None = 0.00085
  linear_end: float | None = 0.012


# First and last beta of the official code.
_LINEAR_ENDS = {"linear": (1e-4, 2e-2), "stable_diffusion": (0.00085, 0.012)}


def _linear_betas(num_timesteps, start, end):
  scale = 1000 / num_timesteps
  return np.linspace(scale * start, scale * end, num_timesteps)


def _cosine_betas(num_timesteps, s):
  knots = np.arange(num_timesteps + 1) / num_timesteps
  alpha_bar = np.cos((knots + s) / (1 + s) * math.pi / 2) ** 2
  return np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], 0.999)


def _stable_diffusion_betas(num_timesteps, start, end):
  roots = np.linspace(math.sqrt(start), math.sqrt(end), num_timesteps)
  return roots**2


_BETAS: dict[str, Callable[..., np.ndarray]] = {
  "linear": _linear_betas,
  "cosine": _cosine_betas,
  "stable_diffusion": _stable_diffusion_betas,
}


def _at(table, index, x):
  """Looks up steps (scalar or (B,)) in a table, shaped to multiply x."""
  values = as_float32(table)[index]
  return expand(values, x) if values.ndim else values
