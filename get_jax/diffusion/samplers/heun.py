"""EDM's stochastic sampler and its ablations (Karras et al.)."""

import dataclasses
import functools
import itertools
import math

import numpy as np

from get_jax.diffusion.edm import SigmaProcess
from get_jax.diffusion.registry import check_choice
from get_jax.diffusion.samplers.base import SchemeSampler
from get_jax.diffusion.samplers.edm_grids import (
  RANGES,
  Path,
  make_path,
  noise_levels,
)
from get_jax.diffusion.scheme import Scheme
from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Heun(SchemeSampler):
  """Second order steps with optional churn: Algorithm 2, or 3 with alpha.

  2 num_steps - 1 evaluations: the last step, to sigma = 0, is Euler's. The
  fields from `solver` on are the choices of the paper's Table 1 and Figure 2,
  whose defaults are the paper's.

  Attributes:
    process: an EDM process.
    num_steps: N, at least 2.
    sigma_min: lowest noise level, raised to the network's; the
      discretization's own where None (EDM: 0.002).
    sigma_max: highest noise level, lowered to the network's; likewise (80).
    rho: exponent of EDM's spacing.
    s_churn: total amount of noise added back, 0 for the ODE.
    s_min: churn only at noise levels from here
    s_max: to here.
    s_noise: standard deviation of the noise added back.
    solver: "heun", or "euler" of N evaluations.
    discretization: the noise levels: "edm", "vp", "ve" or "iddpm".
    schedule: sigma(t), in which steps are straight: "linear", "vp" or "ve".
    scaling: s(t): "none" or "vp".
    alpha: where in a step the second evaluation is, 1 for Heun's end.
  """

  needs = SigmaProcess

  process: SigmaProcess
  num_steps: int = 18
  sigma_min: float | None = None
  sigma_max: float | None = None
  rho: float = 7.0
  s_churn: float = 0.0
  s_min: float = 0.0
  s_max: float = math.inf
  s_noise: float = 1.0
  solver: str = "heun"
  discretization: str = "edm"
  schedule: str = "linear"
  scaling: str = "none"
  alpha: float = 1.0

  def __post_init__(self):
    super().__post_init__()
    for field, choices in {
      "solver": ("heun", "euler"),
      "discretization": tuple(RANGES),
      "schedule": ("linear", "vp", "ve"),
      "scaling": ("none", "vp"),
    }.items():
      check_choice("Heun", field, getattr(self, field), choices)
    if self.num_steps < 2:
      raise UsageError(
        f"Heun's noise levels need num_steps of at least 2, not "
        f"{self.num_steps}"
      )

  @functools.cached_property
  def _range(self) -> tuple[float, float]:
    low, high = RANGES[self.discretization]
    low = low if self.sigma_min is None else self.sigma_min
    high = high if self.sigma_max is None else self.sigma_max
    lowest, highest = self.process.sigma_range
    return max(low, lowest), min(high, highest)

  @functools.cached_property
  def sigmas(self) -> np.ndarray:
    """The noise levels, (N + 1,) float64, falling to 0."""
    levels = noise_levels(
      self.discretization, self.num_steps, *self._range, self.rho
    )
    return np.append(self.process.round_sigma(levels), 0.0)

  @functools.cached_property
  def path(self) -> Path:
    """sigma(t) and s(t)."""
    return make_path(self.schedule, self.scaling, *self._range)

  @functools.cached_property
  def scheme(self) -> Scheme:
    """The sampler as a table; predictions are of the noise.

    Its states are x / s(t), which the network sees: those of the paper are s
    times these.
    """
    gamma_max = min(self.s_churn / self.num_steps, math.sqrt(2) - 1)
    rows, kicks = [], []
    for k, (sigma, to) in enumerate(itertools.pairwise(self.sigmas)):
      gamma = gamma_max if self.s_min <= sigma <= self.s_max else 0.0
      hat = self.process.round_sigma(np.asarray(sigma * (1 + gamma)))
      kick = self.s_noise * math.sqrt(max(hat**2 - sigma**2, 0.0))
      step = self._step(hat, to)
      rows += step
      kicks += [(kick, k)] + [(0.0, k)] * (len(step) - 1)
    time, begins, base_weight, weights = map(np.array, zip(*rows, strict=True))
    kick, stream = map(np.array, zip(*kicks, strict=True))
    churned = {"kick": kick, "stream": stream} if np.any(kick) else {}
    return Scheme(
      start=self.sigmas[0],
      time=time,
      begins=begins,
      base_weight=base_weight,
      weights=weights,
      **churned,
    )

  def _step(self, hat: float, to: float):
    """The rows of one step between two noise levels."""
    path = self.path
    start = float(path.time(hat))
    end = float(path.time(to)) if to else 0.0
    h = end - start

    def slope(t):
      """dx/dt as weights of x and of the noise predicted at x / s."""
      return path.log_scale_slope(t), path.scale(t) * path.slope(t)

    def row(sigma, begins, t, weights):
      """From x / s at `start` to x / s at t, given weights for x itself."""
      base, *past = np.array(weights) / path.scale(t)
      return sigma, begins, base * path.scale(start), np.array(past)

    by_x, by_noise = slope(start)
    if self.solver == "euler" or to == 0:
      return [row(hat, True, end, (1 + h * by_x, h * by_noise, 0.0))]
    part = self.alpha * h
    between = start + part
    base, past = 1 + part * by_x, part * by_noise
    by_x_there, by_noise_there = slope(between)
    new, old = h / (2 * self.alpha), h * (1 - 1 / (2 * self.alpha))
    corrected = (
      1 + old * by_x + new * by_x_there * base,
      new * by_noise_there,
      old * by_noise + new * by_x_there * past,
    )
    return [
      row(hat, True, between, (base, past, 0.0)),
      row(float(path.sigma(between)), False, end, corrected),
    ]

  def predict(self, net):
    """The noise in the state at a noise level."""
    return self.process.predictor(net)

  def denoised(self, x, time, prediction):
    """See `SchemeSampler.denoised`."""
    return x - time * prediction
