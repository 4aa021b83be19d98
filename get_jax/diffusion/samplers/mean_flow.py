"""Samplers of MeanFlow and improved MeanFlow."""

import dataclasses

import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.linear_path import LinearPath
from get_jax.diffusion.objectives.improved_mean_flow import SCALARS
from get_jax.diffusion.process import as_float32
from get_jax.diffusion.samplers.base import SchemeSampler
from get_jax.diffusion.scheme import Scheme
from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class MeanFlowSampler(SchemeSampler):
  """Steps z_r = z_t - (t - r) u from t = 1 to 0, one evaluation each.

  Attributes:
    process: the process mean_flow.
    num_steps: number of steps.
    times: the num_steps + 1 times, decreasing from 1 to 0; None spaces them
      equally.
  """

  process_class = LinearPath
  network_fields = {"scalars": ("h",)}

  process: LinearPath
  num_steps: int = 1
  times: tuple[float, ...] | None = None

  def __post_init__(self):
    super().__post_init__()
    times = self.timesteps
    decreasing = times[0] == 1 and times[-1] == 0 and (np.diff(times) < 0).all()
    if len(times) != self.num_steps + 1 or not decreasing:
      raise UsageError(
        f"sampler: times is {self.times}; expected {self.num_steps + 1} "
        "numbers that decrease from 1 to 0"
      )

  @property
  def timesteps(self) -> np.ndarray:
    """The times, (num_steps + 1,) float64."""
    if self.times is None:
      return np.linspace(1.0, 0.0, self.num_steps + 1)
    return np.asarray(self.times, np.float64)

  @property
  def scheme(self) -> Scheme:
    """See `SchemeSampler.scheme`; the time of a row is its step's number."""
    steps = self.num_steps
    return Scheme(
      start=1.0,
      time=np.arange(steps),
      starts_step=np.ones(steps, bool),
      base_weight=np.ones(steps),
      weights=np.diff(self.timesteps)[:, None],
    )

  def predictor(self, net):
    """See `SchemeSampler.predictor`; predicts the average velocity."""

    def predict(x, step):
      t, h = self._interval(step)

      def for_each(number):
        return jnp.full(x.shape[:1], number, jnp.float32)

      scalars = {"h": h, **self._conditions()}
      scalars = {name: for_each(value) for name, value in scalars.items()}
      return as_float32(net(x, for_each(t), **scalars))

    return predict

  def denoised(self, x, time, prediction):
    """See `SchemeSampler.denoised`."""
    return x - self._interval(time)[0] * prediction

  def _interval(self, step):
    """Returns t and h of a step."""
    times, index = self.timesteps, jnp.asarray(step, jnp.int32)
    return as_float32(times[:-1])[index], as_float32(-np.diff(times))[index]

  def _conditions(self) -> dict[str, float]:
    """Returns further scalars of the network."""
    return {}


@dataclasses.dataclass(frozen=True)
class ImprovedMeanFlowSampler(MeanFlowSampler):
  """The sampler of MeanFlow for networks that take guidance as an input.

  Attributes:
    w: guidance scale, from 1, without guidance, to the largest of the training.
    t_min: start of the guidance interval, 0 to 0.5.
    t_max: end of the guidance interval, 0.5 to 1.
  """

  network_fields = {"scalars": SCALARS}

  w: float = 7.5
  t_min: float = 0.4
  t_max: float = 0.65

  def __post_init__(self):
    super().__post_init__()
    if self.w < 1:
      raise UsageError(f"sampler: w is {self.w}; expected 1 or more")

  def _conditions(self):
    return {"w": self.w, "t_min": self.t_min, "t_max": self.t_max}
