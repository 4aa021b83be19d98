"""EDM's stochastic sampler (Karras et al., Algorithms 1 and 2)."""

import dataclasses
import functools
import itertools
import math

import numpy as np

from get_jax.diffusion.edm import SigmaProcess
from get_jax.diffusion.samplers.base import Sampler
from get_jax.diffusion.scheme import Scheme, integrate
from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Heun(Sampler):
  """Heun's second order steps in sigma, with optional churn.

  2 num_steps - 1 evaluations: the last step, to sigma = 0, is Euler's.

  Attributes:
    process: an EDM process.
    num_steps: N, at least 2.
    sigma_min: lowest noise level, raised to the network's.
    sigma_max: highest noise level, lowered to the network's.
    rho: exponent of the steps' spacing.
    s_churn: total amount of noise added back, 0 for the ODE.
    s_min: churn only at noise levels from here
    s_max: to here.
    s_noise: standard deviation of the noise added back.
  """

  needs = SigmaProcess

  process: SigmaProcess
  num_steps: int = 18
  sigma_min: float = 0.002
  sigma_max: float = 80.0
  rho: float = 7.0
  s_churn: float = 0.0
  s_min: float = 0.0
  s_max: float = math.inf
  s_noise: float = 1.0

  def __post_init__(self):
    super().__post_init__()
    if self.num_steps < 2:
      raise UsageError(
        f"Heun's noise levels need num_steps of at least 2, not "
        f"{self.num_steps}"
      )

  @functools.cached_property
  def sigmas(self) -> np.ndarray:
    """The noise levels, (N + 1,) float64, falling to 0."""
    low, high = self.process.sigma_range
    low, high = max(self.sigma_min, low), min(self.sigma_max, high)
    ends = high ** (1 / self.rho), low ** (1 / self.rho)
    levels = np.linspace(*ends, self.num_steps) ** self.rho
    return np.append(self.process.round_sigma(levels), 0.0)

  @functools.cached_property
  def scheme(self) -> Scheme:
    """The sampler as a table."""
    gamma_max = min(self.s_churn / self.num_steps, math.sqrt(2) - 1)
    rows, kicks = [], []
    for k, (sigma, to) in enumerate(itertools.pairwise(self.sigmas)):
      gamma = gamma_max if self.s_min <= sigma <= self.s_max else 0.0
      hat = self.process.round_sigma(np.asarray(sigma * (1 + gamma)))
      kick = self.s_noise * math.sqrt(max(hat**2 - sigma**2, 0.0))
      kicks.append((kick, k))
      rows.append((hat, True, (to - hat, 0.0)))
      if to > 0:
        rows.append((to, False, ((to - hat) / 2, (to - hat) / 2)))
        kicks.append((0.0, k))
    time, begins, weights = map(np.array, zip(*rows, strict=True))
    kick, stream = map(np.array, zip(*kicks, strict=True))
    churned = {"kick": kick, "stream": stream} if np.any(kick) else {}
    return Scheme(
      start=self.sigmas[0],
      time=time,
      begins=begins,
      base_weight=np.ones_like(time),
      weights=weights,
      **churned,
    )

  @property
  def evaluations(self):
    """See `Sampler.evaluations`."""
    return self.scheme.evaluations

  def __call__(self, net, noise, shape, *, trajectory=False, preview=None):
    """See `Sampler.__call__`."""
    return integrate(
      self.scheme,
      self.process.predictor(net),
      noise,
      shape,
      denoised=lambda x, sigma, prediction: x - sigma * prediction,
      trajectory=trajectory,
      preview=preview,
    )
