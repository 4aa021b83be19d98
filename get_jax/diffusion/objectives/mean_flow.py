"""The objective of MeanFlow, which trains one-step generators from data.

Geng et al., "Mean Flows for One-step Generative Modeling", 2025. Where the
paper and the official code differ, this is the code.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from get_jax.diffusion.linear_path import Interval, LinearPath
from get_jax.diffusion.objectives.base import DataObjective, Params
from get_jax.diffusion.process import as_float32, expand
from get_jax.diffusion.typing import Array
from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class AverageVelocity(DataObjective):
  """What MeanFlow and improved MeanFlow share.

  The number of dropped labels of a batch is random, and the first samples are
  the dropped ones. These are samples with r = t, as long as the process has
  more of them.

  Attributes:
    weight_power: exponent p of the weight 1 / (e + weight_epsilon)^p of a
      sample with the squared error e.
    weight_epsilon: number added to the squared error in that weight.
  """

  process_class = LinearPath
  forward_mode = True

  process: LinearPath
  weight_power: float = 1.0
  weight_epsilon: float = 0.01

  def drop_labels(self, key, y):
    """See `DataObjective.drop_labels`.

    Returns:
      "y", all labels, and "dropped", (B,) bool.
    """
    count = self.sample_dropped(key, len(y)).sum()
    return {"y": y, "dropped": jnp.arange(len(y)) < count}

  def networks(
    self, params: Params, samples: Mapping[str, Any], key: jax.Array
  ) -> tuple[Callable, Callable, Callable]:
    """Returns the network with dropped labels, all labels and no labels.

    Args:
      params: parameters of the network.
      samples: see `prepare`.
      key: see `DataObjective.network`.
    """

    def labelled(y):
      return self.network(params, {**samples, "y": y}, key)

    y = samples["y"]
    if y is None:
      return (labelled(None),) * 3
    dropped = samples.get("dropped", jnp.zeros(len(y), bool))
    if self.null is None:
      return (labelled(y),) * 3
    null = self.replace_by_null(y, jnp.ones_like(dropped))
    return (
      labelled(self.replace_by_null(y, dropped)),
      labelled(y),
      labelled(null),
    )

  def undropped(
    self, samples: Mapping[str, Any], guided: jax.Array, v: jax.Array
  ) -> jax.Array:
    """Returns the guided velocity, and v where the label is dropped."""
    if "dropped" not in samples:
      return guided
    return jnp.where(expand(samples["dropped"], v), v, guided)

  def weighted(self, error: jax.Array) -> jax.Array:
    """Returns the errors (B,) multiplied by their constant weights."""
    constant = jax.lax.stop_gradient(error)
    return error / (constant + self.weight_epsilon) ** self.weight_power


def average_and_slope(
  average: Callable[..., Any],
  z: Array,
  interval: Interval,
  velocity: Array,
) -> tuple[jax.Array, jax.Array, Any]:
  """Returns u, du/dt along the flow, and the auxiliary output.

  Args:
    average: (z, t, h) -> (u, auxiliary output), with the state z (B, ...), the
      times t (B,) and the lengths h (B,) of the intervals.
    z: the states at t.
    interval: the times.
    velocity: dz/dt, (B, ...).
  """

  def of_times(z, t, r):
    u, extra = average(z, t, t - r)
    return as_float32(u), extra

  t, r = as_float32(interval.t), as_float32(interval.r)
  tangents = as_float32(velocity), jnp.ones_like(t), jnp.zeros_like(r)
  return jax.jvp(of_times, (z, t, r), tangents, has_aux=True)


def squared_error(a: jax.Array, b: jax.Array) -> jax.Array:
  """Returns the squared distances of the samples, (B,)."""
  return jnp.sum((a - b) ** 2, axis=tuple(range(1, a.ndim)))


@dataclasses.dataclass(frozen=True)
class MeanFlow(AverageVelocity):
  """Mean weighted squared error of the predicted average velocity.

  The target is g - (t - r) du/dt, where g is the velocity, guided in
  `interval`: omega v + (1 - omega - kappa) u0 + kappa u1, with the network's
  own velocities u0 without and u1 with the label. du/dt comes from one
  Jacobian-vector product, and the target gets no gradient. With omega = 1 and
  kappa = 0 there is no guidance. The guidance scale of the paper is
  omega / (1 - kappa).

  Attributes:
    omega: weight of the velocity of the sample.
    kappa: weight of the network's velocity with the label.
    interval: times (low, high) between which the velocity is guided.
  """

  network_fields: ClassVar[Mapping[str, Any]] = {"scalars": ("h",)}

  omega: float = 1.0
  kappa: float = 0.0
  interval: tuple[float, float] = (0.0, 1.0)

  def __post_init__(self):
    super().__post_init__()
    low, high = self.interval
    if low > high:
      raise UsageError(
        f"mean_flow.interval is {self.interval}; expected (low, high)"
      )
    if self.is_guided and self.null is None:
      raise UsageError(
        f"mean_flow.omega is {self.omega} and mean_flow.kappa is {self.kappa} "
        "but the network has no null class; expected omega=1 and kappa=0"
      )

  @property
  def metric_names(self):
    """See `Objective.metric_names`."""
    return ("velocity_loss",)

  @property
  def is_guided(self) -> bool:
    """Whether the velocity is guided."""
    return (self.omega, self.kappa) != (1, 0)

  def loss(self, params, samples, key, targets):
    """See `Objective.loss`.

    Returns:
      The loss, and "velocity_loss": the mean squared difference between u and
      the velocity of the sample, per dimension.
    """
    del targets
    x0, noise = as_float32(samples["x0"]), as_float32(samples["noise"])
    interval = samples["levels"]
    net, conditional, unconditional = self.networks(params, samples, key)
    z, v = self.process.state(x0, noise, interval.t), noise - x0
    guided = self._guided_velocity(conditional, unconditional, z, v, interval.t)
    guided = self.undropped(samples, guided, v)

    def average(z, t, h):
      u = net(z, t, h=h)
      if u.shape != z.shape:
        raise UsageError(
          f"the network predicts {u.shape[-1]} channels for {z.shape[-1]} of "
          "the data; expected as many, such as with model.learn_sigma=False"
        )
      return u, None

    u, slope, _ = average_and_slope(average, z, interval, guided)
    length = expand(jnp.clip(interval.t - interval.r, 0, 1), z)
    target = jax.lax.stop_gradient(guided - length * slope)
    losses = self.weighted(squared_error(u, target))
    size = math.prod(x0.shape[1:])
    return losses.mean(), {"velocity_loss": squared_error(u, v).mean() / size}

  def _guided_velocity(self, conditional, unconditional, z, v, t):
    if not self.is_guided:
      return v
    zero = jnp.zeros_like(t)
    guided = self.omega * v
    for net, weight in (
      (unconditional, 1 - self.omega - self.kappa),
      (conditional, self.kappa),
    ):
      if weight:
        guided = guided + weight * as_float32(net(z, t, h=zero))
    low, high = self.interval
    within = expand((low <= t) & (t <= high), v)
    return jax.lax.stop_gradient(jnp.where(within, guided, v))
