"""Euler's steps on the reverse SDE and on the probability-flow ODE.

Song et al., "Score-Based Generative Modeling through Stochastic Differential
Equations", discretised as U-ViT does.
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
  """The reverse SDE in equal steps of time, and one last step without noise.

  Attributes:
    process: a VP process.
    num_steps: evaluations, at least 2.
    t_last: where the last step, to 0, begins.
  """

  needs = VP
  stochastic: ClassVar[bool] = True

  process: VP
  num_steps: int = 1000
  t_last: float = 1e-3

  def __post_init__(self):
    super().__post_init__()
    if self.num_steps < 2:
      raise UsageError(
        f"Euler's times need num_steps of at least 2, not {self.num_steps}"
      )

  @functools.cached_property
  def scheme(self) -> Scheme:
    """The sampler as a table."""
    schedule = self.process.schedule
    times = np.linspace(schedule.t_first, self.t_last, self.num_steps)
    length = -np.diff(times, append=0.0)
    rate = length * schedule.beta(times)
    # x + rate (x / 2 + score), or half the score for the ODE.
    share = 1.0 if self.stochastic else 0.5
    kick = {}
    if self.stochastic:
      # A step's noise is added as the next one begins; the last has none.
      kick["kick"] = np.sqrt(np.append(0.0, rate[:-1]))
      kick["stream"] = np.maximum(np.arange(len(times)) - 1, 0)
    return Scheme(
      start=1.0,
      time=times,
      begins=np.ones(len(times), bool),
      base_weight=1 + rate / 2,
      weights=(-share * rate / schedule.sigma(times))[:, None],
      **kick,
    )

  def predict(self, net):
    """The noise in the state at a time."""
    return self.process.predictor(net)

  def denoised(self, x, time, prediction):
    """See `SchemeSampler.denoised`."""
    return self.process.to_data(x, time, prediction)


@dataclasses.dataclass(frozen=True)
class ProbabilityFlow(EulerMaruyama):
  """The ODE with the same marginals, in the same steps."""

  stochastic: ClassVar[bool] = False
