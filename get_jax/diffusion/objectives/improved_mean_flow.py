"""The objective of improved MeanFlow (iMF).

Geng et al., "Improved Mean Flows: On the Challenges of Fastforward Generative
Models", 2025. Where the paper and the official code differ, this is the code.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from get_jax.diffusion.objectives.mean_flow import (
  AverageVelocity,
  average_and_slope,
  squared_error,
)
from get_jax.diffusion.process import as_float32, expand
from get_jax.diffusion.typing import Array
from get_jax.errors import UsageError

# Names of the scalars of the network: length of the interval, guidance scale,
# and the times between which samples are guided.
SCALARS = ("h", "w", "t_min", "t_max")


@dataclasses.dataclass(frozen=True)
class ImprovedMeanFlow(AverageVelocity):
  """Mean weighted squared errors of two predictions of the velocity.

  The network predicts the average velocity u and the velocity v. The first
  prediction is u + (t - r) du/dt, where dz/dt is the network's own v with the
  label, and du/dt gets no gradient; the second is v. The target is the
  velocity of the sample, plus 1 - 1/w times the difference of the network's v
  with and without the label, for times in the guidance interval of the sample.

  w and the interval are random inputs of the network. Samples with r = t have
  the interval [0, 1].

  Attributes:
    w_max: largest guidance scale w; the smallest is 1.
    w_power: w has a density proportional to w^-w_power.
  """

  network_fields: ClassVar[Mapping[str, Any]] = {
    "scalars": SCALARS,
    "v_head": True,
  }

  w_max: float = 8.0
  w_power: float = 1.0

  def __post_init__(self):
    super().__post_init__()
    if self.null is None:
      raise UsageError(
        "task 'improved_mean_flow' guides the velocity in training, but the "
        "network has no null class; expected model.null_class=True"
      )

  @property
  def metric_names(self):
    """See `Objective.metric_names`."""
    return ("loss_u", "loss_v")

  def guidance_scales(self, uniform: Array) -> jax.Array:
    """Returns the guidance scales of uniform numbers in [0, 1]."""
    uniform = as_float32(uniform)
    log_max, exponent = math.log(self.w_max), 1 - self.w_power
    if exponent == 0:
      return jnp.exp(uniform * log_max)
    growth = math.expm1(exponent * log_max)
    return jnp.exp(jnp.log1p(uniform * growth) / exponent)

  def prepare(self, batch, key, step=0):
    """See `Objective.prepare`.

    Returns:
      What `DataObjective.prepare` returns; "w", "t_min" and "t_max", (B,).
    """
    samples = super().prepare(batch, key, step)
    t, r = samples["levels"]
    # The keys 0 to 3 are those of `DataObjective.prepare`.
    key = jax.random.fold_in(key, 4)
    scale, low, high = jax.random.uniform(key, (3, len(t)), jnp.float32)
    return samples | {
      "w": self.guidance_scales(scale),
      "t_min": jnp.where(r == t, 0.0, 0.5 * low),
      "t_max": jnp.where(r == t, 1.0, 0.5 + 0.5 * high),
    }

  def loss(self, params, samples, key, targets):
    """See `Objective.loss`.

    Returns:
      The loss, and "loss_u" and "loss_v": the mean squared errors of the two
      predictions per dimension, without weights.
    """
    del targets
    x0, noise = as_float32(samples["x0"]), as_float32(samples["noise"])
    interval = samples["levels"]
    net, conditional, unconditional = self.networks(params, samples, key)
    z, v = self.process.state(x0, noise, interval.t), noise - x0

    def velocity(net, w):
      zero, one = jnp.zeros_like(w), jnp.ones_like(w)
      scalars = {"h": zero, "w": w, "t_min": zero, "t_max": one}
      out = as_float32(net(z, interval.t, **scalars))
      return jax.lax.stop_gradient(out[..., z.shape[-1] :])

    conditions = {name: samples[name] for name in ("w", "t_min", "t_max")}
    within = samples["t_min"] <= interval.t
    within &= interval.t <= samples["t_max"]
    w = jnp.where(within, samples["w"], 1.0)
    v_label = velocity(conditional, w)
    v_null = velocity(unconditional, jnp.ones_like(w))
    target = v + expand(1 - 1 / w, v) * (v_label - v_null)
    target = self.undropped(samples, target, v)

    def average(z, t, h):
      out = net(z, t, h=h, **conditions)
      return out[..., : z.shape[-1]], as_float32(out[..., z.shape[-1] :])

    u, slope, predicted = average_and_slope(average, z, interval, v_label)
    length = expand(interval.t - interval.r, z)
    errors = {
      "loss_u": squared_error(
        u + length * jax.lax.stop_gradient(slope), target
      ),
      "loss_v": squared_error(predicted, target),
    }
    losses = self.weighted(errors["loss_u"]) + self.weighted(errors["loss_v"])
    size = math.prod(x0.shape[1:])
    return losses.mean(), {k: e.mean() / size for k, e in errors.items()}
