"""Processes with a noise schedule in continuous time; U-ViT's VP process."""

import abc
import dataclasses
import functools
from typing import ClassVar

import jax
import jax.numpy as jnp

from get_jax.diffusion.process import Network, Process, expand
from get_jax.diffusion.registry import check_choice
from get_jax.diffusion.schedules import Cosine, Linear, NoiseSchedule


class VariancePreserving(Process):
  """What solvers in continuous time ask of a process.

  Attributes:
    prediction: "noise" or "data": what the network's leading channels are.
  """

  kind: ClassVar[str] = (
    "a process with a noise schedule (vp, adm or stable_diffusion)"
  )
  prediction: str

  @property
  @abc.abstractmethod
  def schedule(self) -> NoiseSchedule:
    """alpha and sigma of t."""

  @abc.abstractmethod
  def network_clock(self, t):
    """What the network is told at the continuous time t."""

  def predictor(self, net: Network):
    """The estimate of the noise in x.

    Args:
      net: see `Network`. Of one with more output channels than x (a learned
        variance) the first C are taken.

    Returns:
      A function of x (B, H, W, C) and the continuous time t, scalar or (B,).
    """

    def predict(x, t):
      t = jnp.broadcast_to(jnp.asarray(t, jnp.float32), x.shape[:1])
      out = net(x, self.network_clock(t))[..., : x.shape[-1]]
      out = out.astype(jnp.float32)
      return out if self.prediction == "noise" else self.to_noise(x, t, out)

    return predict

  def to_data(self, x, t, noise):
    """The clean data that x at time t (scalar or (B,)) has under `noise`."""
    alpha, sigma = self._scales(x, t)
    return (x - sigma * noise) / alpha

  def to_noise(self, x, t, data):
    """The noise that x at time t (scalar or (B,)) has over `data`."""
    alpha, sigma = self._scales(x, t)
    return (x - alpha * data) / sigma

  def _scales(self, x, t):
    t = jnp.asarray(t, jnp.float32)
    scales = self.schedule.alpha(t, jnp), self.schedule.sigma(t, jnp)
    return tuple(expand(s, x) if s.ndim else s for s in scales)


@dataclasses.dataclass(frozen=True)
class VP(VariancePreserving):
  """U-ViT's continuous process: t uniform, plain squared error.

  Attributes:
    beta_schedule: "linear" or "cosine".
    beta_min: beta(0) of "linear".
    beta_max: beta(1) of "linear".
    prediction: "noise" or "data": what the network's output is read as.
    target: "noise" or "data": what the squared error is of.
    time_scale: the network is told time_scale * t.
  """

  kind: ClassVar[str] = "the continuous process vp"

  beta_schedule: str = "linear"
  beta_min: float = 0.1
  beta_max: float = 20.0
  prediction: str = "noise"
  target: str = "noise"
  time_scale: float = 999.0

  def __post_init__(self):
    choices = ("linear", "cosine")
    check_choice("process", "beta_schedule", self.beta_schedule, choices)
    for field in ("prediction", "target"):
      check_choice("process", field, getattr(self, field), ("noise", "data"))

  @functools.cached_property
  def schedule(self):
    """See `VariancePreserving.schedule`."""
    if self.beta_schedule == "cosine":
      return Cosine()
    return Linear(self.beta_min, self.beta_max)

  def network_clock(self, t):
    """See `VariancePreserving.network_clock`."""
    return self.time_scale * t

  def sigma_of(self, t):
    """See `Process.sigma_of`."""
    return jnp.exp(-self.schedule.lam(t / self.time_scale, jnp))

  def score(self, net: Network):
    """The estimate of grad log p_t(x), a function of x and t."""
    predict = self.predictor(net)

    def score(x, t):
      return -predict(x, t) / self._scales(x, t)[1]

    return score

  def draw_levels(self, key, batch):
    """Uniform times in [0, 1)."""
    return jax.random.uniform(key, (batch,))

  def loss_at(self, net, x0, t, noise):
    """See `Process.loss_at`; the levels are times."""
    alpha, sigma = self._scales(x0, t)
    x = alpha * x0 + sigma * noise
    out = net(x, self.network_clock(t)).astype(jnp.float32)
    if self.prediction != self.target:
      turn = self.to_data if self.target == "data" else self.to_noise
      out = turn(x, t, out)
    target = noise if self.target == "noise" else x0
    mse = ((out - target) ** 2).mean(tuple(range(1, x0.ndim)))
    return mse, {"mse": mse}
