"""The sampler of consistency models, with one or more steps."""

import dataclasses
import functools
import itertools

import numpy as np

from get_jax.diffusion.preconditioning import PreconditionedProcess
from get_jax.diffusion.samplers.base import SchemeSampler
from get_jax.diffusion.scheme import Scheme
from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class ConsistencySampler(SchemeSampler):
  """Alternates between f(x, sigma) and noise of a lower level.

  The first step starts from noise of the highest level. Every further one adds
  noise to the last image, so that its level is sigma again. One step evaluates
  the network once.

  Attributes:
    process: the process consistency, or the EDM process of a network trained by
      easy consistency tuning.
    num_steps: number of steps.
    sigma_max: noise level of the first step; None means that of the process, or
      80 where it sets no limit.
    sigmas: noise levels of the further steps, decreasing; None spaces
      sigma^(1/rho) equally.
    rho: exponent of that spacing.
  """

  process_class = PreconditionedProcess

  process: PreconditionedProcess
  num_steps: int = 1
  sigma_max: float | None = None
  sigmas: tuple[float, ...] | None = None
  rho: float = 7.0

  def __post_init__(self):
    super().__post_init__()
    low, high = self.process.sigma_range
    levels = [min(high, self._start), *self._further, low]
    decreasing = all(a > b for a, b in itertools.pairwise(levels))
    if len(self._further) != self.num_steps - 1 or not decreasing:
      raise UsageError(
        f"sampler: sigmas is {self.sigmas}; expected num_steps - 1 = "
        f"{self.num_steps - 1} noise levels that decrease between sigma_max="
        f"{self._start:g} and {low:g}"
      )
    if self._start > high:
      raise UsageError(
        f"sampler: sigma_max is {self._start:g}; the process supports {high:g}"
      )

  @property
  def _start(self) -> float:
    if self.sigma_max is not None:
      return self.sigma_max
    return min(self.process.sigma_range[1], 80.0)

  @property
  def _further(self) -> tuple[float, ...]:
    if self.sigmas is not None:
      return tuple(self.sigmas)
    # Without a lowest level, steps end at that of EDM's samplers.
    low = max(self.process.sigma_range[0], 0.002)
    roots = np.linspace(
      self._start ** (1 / self.rho), low ** (1 / self.rho), self.num_steps + 1
    )
    return tuple(map(float, roots[1:-1] ** self.rho))

  @functools.cached_property
  def levels(self) -> np.ndarray:
    """The noise level of every step, (num_steps,) float64."""
    levels = np.array([self._start, *self._further])
    return np.asarray(self.process.round_sigma(levels))

  @functools.cached_property
  def scheme(self) -> Scheme:
    """See `SchemeSampler.scheme`; predictions are of the data."""
    steps, low = self.num_steps, self.process.sigma_range[0]
    # The estimate of the data has the noise of the lowest level.
    added = np.sqrt(self.levels**2 - low**2)
    added[0] = 0.0
    noisy = steps > 1
    return Scheme(
      start=self.levels[0],
      time=self.levels,
      starts_step=np.ones(steps, bool),
      base_weight=np.zeros(steps),
      weights=np.ones((steps, 1)),
      noise_scale=added if noisy else None,
      noise_index=np.arange(steps) if noisy else None,
    )

  def predictor(self, net):
    """See `SchemeSampler.predictor`; predicts the data."""
    return self.process.denoiser(net)

  def denoised(self, x, time, prediction):
    """See `SchemeSampler.denoised`."""
    return prediction
