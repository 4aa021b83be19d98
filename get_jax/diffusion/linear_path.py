"""The straight path between data and noise of MeanFlow.

A state is z = (1 - t) x0 + t n, with the data at t = 0 and the noise at t = 1.
Its velocity is v = n - x0. A network predicts the average velocity u over an
interval of times [r, t], (z_t - z_r) / (t - r). It takes t and h = t - r.

Source: Geng et al., "Mean Flows for One-step Generative Modeling", 2025.
"""

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from get_jax.diffusion.process import Process, as_float32, expand
from get_jax.diffusion.registry import check_choice, check_interval
from get_jax.diffusion.typing import Array
from get_jax.errors import UsageError

DISTRIBUTIONS = ("logit_normal", "uniform")


class Interval(NamedTuple):
  """Intervals of times, 0 <= r <= t <= 1.

  Attributes:
    t: (B,) time of the state.
    r: (B,) time to which the average velocity leads.
  """

  t: Array
  r: Array


@dataclasses.dataclass(frozen=True)
class LinearPath(Process):
  """z = (1 - t) x0 + t n, with intervals [r, t] of times as levels.

  Two times are sampled; the larger is t, the smaller r. In the first part of a
  batch r = t, so that the network learns the velocity itself there.

  Attributes:
    time_distribution: distribution of the times: "logit_normal" or "uniform".
    p_mean: mean of ln(t / (1 - t)) of "logit_normal".
    p_std: standard deviation of ln(t / (1 - t)) of "logit_normal".
    equal_fraction: fraction of a batch with r = t.
  """

  description: ClassVar[str] = "the process mean_flow"

  time_distribution: str = "logit_normal"
  p_mean: float = -0.4
  p_std: float = 1.0
  equal_fraction: float = 0.75

  def __post_init__(self):
    distribution = self.time_distribution
    check_choice("process", "time_distribution", distribution, DISTRIBUTIONS)
    check_interval("process", "p_std", self.p_std, 0)
    if not 0 <= self.equal_fraction <= 1:
      raise UsageError(
        f"process: equal_fraction is {self.equal_fraction!r}: expected a "
        "number from 0 to 1"
      )

  def sample_levels(self, key, batch):
    """Samples intervals of times, an `Interval`."""
    shape = (2, batch)
    if self.time_distribution == "uniform":
      times = jax.random.uniform(key, shape, jnp.float32)
    else:
      normal = jax.random.normal(key, shape, jnp.float32)
      times = jax.nn.sigmoid(self.p_mean + self.p_std * normal)
    t, r = times.max(axis=0), times.min(axis=0)
    equal = jnp.arange(batch) < int(batch * self.equal_fraction)
    return Interval(t, jnp.where(equal, t, r))

  def state(self, x0: Array, noise: Array, t: Array) -> jax.Array:
    """Returns z = (1 - t) x0 + t n.

    Args:
      x0: (B, ...) data.
      noise: (B, ...) standard normal.
      t: (B,) times.
    """
    x0, noise = as_float32(x0), as_float32(noise)
    t = expand(as_float32(t), x0)
    return x0 + t * (noise - x0)

  def loss_at(self, net, x0, levels, noise):
    """Not supported: the losses need derivatives of the network.

    Raises:
      UsageError: always.
    """
    raise UsageError(
      "the process mean_flow has no denoising loss; expected "
      "task='mean_flow' or task='improved_mean_flow'"
    )

  def sigma_of(self, t):
    """See `Process.sigma_of`."""
    t = as_float32(t)
    return t / (1 - t)
