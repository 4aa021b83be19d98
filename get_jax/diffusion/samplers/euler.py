"""Euler methods for the reverse SDE and the probability-flow ODE.

The discretisation is that of U-ViT.

Source: Song et al., "Score-Based Generative Modeling through Stochastic
Differential Equations".
"""

import dataclasses
import functools
from typing import ClassVar

import numpy as np

from get_jax.diffusion.continuous import VP
from get_jax.diffusion.samplers.base import SchemeSampler
from get_jax.diffusion.scheme import Scheme
from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class EulerMaruyama(SchemeSampler):
  """Solves the reverse SDE with equal time steps; the last adds no noise.

  Attributes:
    process: a VP process.
    num_steps: number of evaluations, at least 2.
    t_last: start of the last step, which ends at time 0.
    t_first: largest time; None means that of the schedule.
  """

  process_class = VP
  stochastic: ClassVar[bool] = True

  process: VP
  num_steps: int = 1000
  t_last: float = 1e-3
  t_first: float | None = None

  def __post_init__(self):
    super().__post_init__()
    if self.num_steps < 2:
      raise UsageError(
        f"Euler's times need num_steps of at least 2, not {self.num_steps}"
      )
    if not 0 < self.t_last < self._first <= 1:
      raise UsageError(
        f"Euler: t_last is {self.t_last!r} and t_first is {self._first!r}: "
        "expected 0 < t_last < t_first <= 1"
      )

  @property
  def _first(self) -> float:
    return (
      self.process.schedule.t_first if self.t_first is None else self.t_first
    )

  @functools.cached_property
  def scheme(self) -> Scheme:
    """See `SchemeSampler.scheme`."""
    schedule = self.process.schedule
    times = np.linspace(self._first, self.t_last, self.num_steps)
    length = -np.diff(times, append=0.0)
    rate = length * schedule.beta(times)
    # A step is x + rate (x / 2 + score); the ODE has half the score.
    score_weight = 1.0 if self.stochastic else 0.5
    noise = {}
    if self.stochastic:
      # The noise of a step is added at the start of the next step; the last
      # step has no noise.
      noise["noise_scale"] = np.sqrt(np.append(0.0, rate[:-1]))
      noise["noise_index"] = np.maximum(np.arange(len(times)) - 1, 0)
    return Scheme(
      start=1.0,
      time=times,
      starts_step=np.ones(len(times), bool),
      base_weight=1 + rate / 2,
      weights=(-score_weight * rate / schedule.sigma(times))[:, None],
      **noise,
    )

  def predictor(self, net):
    """See `SchemeSampler.predictor`; predicts the noise."""
    return self.process.predictor(net)

  def denoised(self, x, time, prediction):
    """See `SchemeSampler.denoised`."""
    return self.process.x0_from_noise(x, time, prediction)


@dataclasses.dataclass(frozen=True)
class ProbabilityFlow(EulerMaruyama):
  """Solves the probability-flow ODE with the same time steps."""

  stochastic: ClassVar[bool] = False
