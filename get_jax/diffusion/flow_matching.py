"""Flow matching (stochastic interpolants), as in SiT."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.paths import GVPPath, LinearPath, Path, VPPath
from get_jax.diffusion.process import Process, as_float32, expand
from get_jax.diffusion.registry import check_choice
from get_jax.diffusion.typing import Network
from get_jax.errors import UsageError


class Weights(NamedTuple):
  """Weights of the state and of the network's output in an estimate.

  Attributes:
    state: weight of x, shaped as t.
    output: weight of the output, shaped as t.
  """

  state: Any
  output: Any


@dataclasses.dataclass(frozen=True)
class FlowMatching(Process):
  """A flow from noise (t = 0) to data (t = 1), learned at random times.

  The loss is the mean squared error of the output. A network with more output
  channels than x (a learned variance) is trained on the first C.

  Attributes:
    path: "linear" (t data + (1 - t) noise), "gvp" (sine and cosine) or "vp".
    prediction: what the output predicts: "velocity" (dx/dt), "noise" or
      "score" (the gradient of the log density).
    weighting: weight of the squared error of the noise: "none", "velocity"
      ((lambda / sigma)^2, the error of the velocity) or "likelihood"
      (lambda / sigma^2), where lambda is the weight of the score in the
      velocity. The loss of a velocity has no weight.
    time_distribution: "uniform" or "logit_normal", where the logit of t is
      normal.
    p_mean: mean of the logit of t; above 0, most times are near the data.
    p_std: standard deviation of the logit of t.
    epsilon: distance of training times from the ends where the loss or its
      weight is singular: from t = 1 of "vp", and from both ends of the other
      paths unless the prediction is the velocity.
    time_scale: the time input of the network is time_scale t. 1 is the
      official value. A larger one uses more of a sinusoidal embedding of times
      up to 1000.
    beta_min: beta at t = 1 of the path "vp".
    beta_max: beta at t = 0 of the path "vp".
  """

  description: ClassVar[str] = "the process flow_matching"

  path: str = "linear"
  prediction: str = "velocity"
  weighting: str = "none"
  time_distribution: str = "uniform"
  p_mean: float = 0.0
  p_std: float = 1.0
  epsilon: float = 1e-5
  time_scale: float = 1.0
  beta_min: float = 0.1
  beta_max: float = 20.0

  def __post_init__(self):
    for field, choices in {
      "path": ("linear", "gvp", "vp"),
      "prediction": ("velocity", "noise", "score"),
      "weighting": ("none", "velocity", "likelihood"),
      "time_distribution": ("uniform", "logit_normal"),
    }.items():
      check_choice("process", field, getattr(self, field), choices)
    if not 0 <= self.epsilon < 0.5:
      raise UsageError(
        f"process: epsilon is {self.epsilon!r}: expected a number of at least "
        "0 and below 0.5"
      )
    if self.weighting != "none" and self.prediction == "velocity":
      raise UsageError(
        f"process: weighting is {self.weighting!r}: expected 'none', because "
        "the loss of prediction='velocity' has no weight"
      )

  @functools.cached_property
  def interpolant(self) -> Path:
    """The path as an object."""
    match self.path:
      case "linear":
        return LinearPath()
      case "gvp":
        return GVPPath()
      case _:
        return VPPath(self.beta_min, self.beta_max)

  @property
  def singular_ends(self) -> tuple[bool, bool]:
    """Whether training avoids t = 0 and t = 1."""
    if self.path == "vp":
      return False, True
    singular = self.prediction != "velocity"
    return singular, singular

  def network_time(self, t):
    """Returns the time input of the network at time t."""
    return self.time_scale * t

  def sigma_of(self, t):
    """See `Process.sigma_of`."""
    t = as_float32(t)
    # The difference is exact near t = time_scale.
    remaining = (self.time_scale - t) / self.time_scale
    scales = self.interpolant.scales(t / self.time_scale, jnp, remaining)
    return scales.sigma / scales.alpha

  def sample_levels(self, key, batch):
    """Samples times, (batch,)."""
    if self.time_distribution == "uniform":
      return self.time_at(jax.random.uniform(key, (batch,), jnp.float32))
    z = jax.random.normal(key, (batch,), jnp.float32)
    return self.time_at(jax.nn.sigmoid(self.p_mean + self.p_std * z))

  def time_at(self, u):
    """Returns the training time of u in [0, 1]."""
    low, high = (self.epsilon * singular for singular in self.singular_ends)
    return low + (1 - high - low) * as_float32(u)

  def loss_at(self, net, x0, t, noise):
    """See `Process.loss_at`; the levels are times t."""
    x0, t, noise = as_float32(x0), as_float32(t), as_float32(noise)
    scales = self.interpolant.scales(expand(t, x0), jnp)
    x = scales.alpha * x0 + scales.sigma * noise
    out = self.output(net)(x, t)
    match self.prediction:
      case "velocity":
        error = out - (scales.d_alpha * x0 + scales.d_sigma * noise)
      case "noise":
        error = out - noise
      case _:
        error = scales.sigma * out + noise
    mse = (error**2).mean(tuple(range(1, x0.ndim)))
    return self.loss_weight(t) * mse, {"mse": mse}

  def loss_weight(self, t):
    """Returns the weight of the mean squared error at times t."""
    scales = self.interpolant.scales(t, jnp)
    match self.weighting:
      case "none":
        return jnp.ones_like(scales.alpha)
      case "velocity":
        return (scales.score_rate / scales.sigma) ** 2
      case _:
        return scales.score_rate / scales.sigma**2

  def output(self, net: Network) -> Callable[..., jax.Array]:
    """Returns the function of x and t that is the output in float32.

    Args:
      net: see `Network`. If its output has more channels than x (a learned
        variance), the first C are used.

    Returns:
      A function of x (B, H, W, C) and t, scalar or (B,).
    """

    def evaluate(x, t):
      x = as_float32(x)
      t = jnp.broadcast_to(as_float32(t), x.shape[:1])
      return as_float32(net(x, self.network_time(t))[..., : x.shape[-1]])

    return evaluate

  def velocity_weights(self, t, xp=np) -> Weights:
    """Returns the weights of x and the output in the velocity dx/dt.

    Args:
      t: times; those where the weights are infinite are the caller's concern.
      xp: numpy or jax.numpy.
    """
    s = self.interpolant.scales(t, xp)
    match self.prediction:
      case "velocity":
        return Weights(xp.zeros_like(s.alpha), xp.ones_like(s.alpha))
      case "noise":
        return Weights(s.d_alpha / s.alpha, -s.determinant / s.alpha)
      case _:
        return Weights(s.d_alpha / s.alpha, s.score_rate)

  def score_weights(self, t, xp=np) -> Weights:
    """Returns the weights of x and the output in the score.

    Args:
      t: see `velocity_weights`.
      xp: numpy or jax.numpy.
    """
    s = self.interpolant.scales(t, xp)
    match self.prediction:
      case "velocity":
        scale = s.determinant * s.sigma
        return Weights(-s.d_alpha / scale, s.alpha / scale)
      case "noise":
        return Weights(xp.zeros_like(s.alpha), -1 / s.sigma)
      case _:
        return Weights(xp.zeros_like(s.alpha), xp.ones_like(s.alpha))

  def data_weights(self, t, xp=np) -> Weights:
    """Returns the weights of x and the output in the estimate of the data.

    Args:
      t: see `velocity_weights`.
      xp: numpy or jax.numpy.
    """
    s = self.interpolant.scales(t, xp)
    match self.prediction:
      case "velocity":
        return Weights(-s.d_sigma / s.determinant, s.sigma / s.determinant)
      case "noise":
        return Weights(1 / s.alpha, -s.sigma / s.alpha)
      case _:
        return Weights(1 / s.alpha, s.sigma**2 / s.alpha)

  def velocity(self, net: Network) -> Callable[..., jax.Array]:
    """Returns a function of x and t that estimates dx/dt of the flow."""
    return self._combine(net, self.velocity_weights)

  def score(self, net: Network) -> Callable[..., jax.Array]:
    """Returns a function of x and t that estimates grad log p_t(x)."""
    return self._combine(net, self.score_weights)

  def _combine(self, net, weights_at):
    evaluate = self.output(net)

    def combine(x, t):
      x = as_float32(x)
      t = jnp.broadcast_to(as_float32(t), x.shape[:1])
      weights = weights_at(expand(t, x), jnp)
      return weights.state * x + weights.output * evaluate(x, t)

    return combine
