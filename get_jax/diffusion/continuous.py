"""Variance-preserving processes in continuous time, and U-ViT's VP process."""

import abc
import dataclasses
import functools
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Real

from get_jax.diffusion.process import Process, as_float32, expand
from get_jax.diffusion.registry import check_choice, check_interval
from get_jax.diffusion.schedules import (
  Cosine,
  Linear,
  NoiseSchedule,
  SDESchedule,
)
from get_jax.diffusion.typing import Array, Network


class VariancePreserving(Process):
  """Interface of a process for samplers in continuous time.

  Attributes:
    prediction: "noise", "data" or "velocity", alpha noise - sigma data: what
      the leading channels of the network's output predict.
  """

  description: ClassVar[str] = (
    "a process with a noise schedule (vp, adm or stable_diffusion)"
  )
  prediction: str

  @property
  @abc.abstractmethod
  def schedule(self) -> NoiseSchedule:
    """The noise schedule: alpha and sigma as functions of t."""

  @abc.abstractmethod
  def network_time(self, t):
    """Returns the time input of the network at the continuous time t.

    Args:
      t: float32 on a device, or any float on the host.
    """

  def predictor(self, net: Network) -> Callable[..., jax.Array]:
    """Returns a function that estimates the noise in x.

    Args:
      net: see `Network`. If its output has more channels than x (a learned
        variance), the first C are used.

    Returns:
      A function of x (B, H, W, C) and the continuous time t, scalar or (B,).
    """

    def predict(x, t):
      x = as_float32(x)
      t = jnp.broadcast_to(as_float32(t), x.shape[:1])
      out = as_float32(net(x, self.network_time(t))[..., : x.shape[-1]])
      return self.convert(x, t, out, "noise")

    return predict

  def convert(
    self,
    x: Real[Array, "B H W C"],
    t,
    out: Real[Array, "B H W C"],
    target: str,
  ) -> jax.Array:
    """Returns the estimate of `target` that follows from the network's.

    Args:
      x: state (B, H, W, C).
      t: continuous time, scalar or (B,).
      out: what the network predicts, like x.
      target: "noise", "data" or "velocity".
    """
    x, out = as_float32(x), as_float32(out)
    alpha, sigma = self._scales(x, t)
    match self.prediction, target:
      case "noise", "data":
        return self.x0_from_noise(x, t, out)
      case "data", "noise":
        return self.noise_from_x0(x, t, out)
      case "velocity", "noise":
        return sigma * x + alpha * out
      case "velocity", "data":
        return alpha * x - sigma * out
      case "noise", "velocity":
        return (out - sigma * x) / alpha
      case "data", "velocity":
        return (alpha * x - out) / sigma
    return out

  def x0_from_noise(
    self,
    x: Real[Array, "B H W C"],
    t,
    noise: Real[Array, "B H W C"],
  ) -> jax.Array:
    """Returns the clean data of x at time t, given its noise.

    Args:
      x: state (B, H, W, C).
      t: continuous time, scalar or (B,).
      noise: unit noise in x, like x.
    """
    alpha, sigma = self._scales(x, t)
    return (as_float32(x) - sigma * as_float32(noise)) / alpha

  def noise_from_x0(
    self,
    x: Real[Array, "B H W C"],
    t,
    data: Real[Array, "B H W C"],
  ) -> jax.Array:
    """Returns the unit noise of x at time t, given its clean data.

    Args:
      x: state (B, H, W, C).
      t: continuous time, scalar or (B,).
      data: clean data of x, like x.
    """
    alpha, sigma = self._scales(x, t)
    return (as_float32(x) - alpha * as_float32(data)) / sigma

  def _scales(self, x, t):
    t = as_float32(t)
    scales = self.schedule.alpha(t, jnp), self.schedule.sigma(t, jnp)
    return tuple(expand(s, x) if s.ndim else s for s in scales)


@dataclasses.dataclass(frozen=True)
class VP(VariancePreserving):
  """U-ViT's continuous process: uniform t, unweighted squared error.

  Attributes:
    beta_schedule: "linear" or "cosine".
    beta_min: beta(0) of "linear".
    beta_max: beta(1) of "linear".
    prediction: "noise", "data" or "velocity", alpha noise - sigma data: what
      the output of the network predicts.
    target: "noise", "data" or "velocity": the quantity whose squared error is
      the loss.
    time_scale: the time input of the network is time_scale * t.
    cosine_s: offset s of "cosine".
  """

  description: ClassVar[str] = "the continuous process vp"

  beta_schedule: str = "linear"
  beta_min: float = 0.1
  beta_max: float = 20.0
  prediction: str = "noise"
  target: str = "noise"
  time_scale: float = 999.0
  cosine_s: float = 0.008

  def __post_init__(self):
    check_interval("process", "cosine_s", self.cosine_s, 0, 1)
    schedules = ("linear", "cosine")
    check_choice("process", "beta_schedule", self.beta_schedule, schedules)
    for field in ("prediction", "target"):
      value, choices = getattr(self, field), ("noise", "data", "velocity")
      check_choice("process", field, value, choices)

  @functools.cached_property
  def schedule(self) -> SDESchedule:
    """See `VariancePreserving.schedule`."""
    if self.beta_schedule == "cosine":
      return Cosine(self.cosine_s)
    return Linear(self.beta_min, self.beta_max)

  def network_time(self, t):
    """See `VariancePreserving.network_time`."""
    return self.time_scale * t

  def sigma_of(self, t):
    """See `Process.sigma_of`."""
    t = as_float32(t)
    # The difference is exact near t = time_scale, where 1 - t / time_scale
    # cancels.
    remaining = (self.time_scale - t) / self.time_scale
    return self.schedule.noise_to_signal(t / self.time_scale, remaining, jnp)

  def score(self, net: Network) -> Callable[..., jax.Array]:
    """Returns a function of x and t that estimates grad log p_t(x)."""
    predict = self.predictor(net)

    def score(x, t):
      return -predict(x, t) / self._scales(x, t)[1]

    return score

  def sample_levels(self, key, batch):
    """Samples times uniformly in [0, 1), (batch,)."""
    return jax.random.uniform(key, (batch,), jnp.float32)

  def loss_at(self, net, x0, t, noise):
    """See `Process.loss_at`; the levels are times t."""
    x0, t, noise = as_float32(x0), as_float32(t), as_float32(noise)
    alpha, sigma = self._scales(x0, t)
    x = alpha * x0 + sigma * noise
    out = as_float32(net(x, self.network_time(t)))
    out = self.convert(x, t, out, self.target)
    target = {
      "noise": noise,
      "data": x0,
      "velocity": alpha * noise - sigma * x0,
    }[self.target]
    mse = ((out - target) ** 2).mean(tuple(range(1, x0.ndim)))
    return mse, {"mse": mse}
