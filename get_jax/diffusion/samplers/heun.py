"""EDM's stochastic sampler and its ablations (Karras et al.)."""

import dataclasses
import functools
import itertools
import math

import numpy as np

from get_jax.diffusion.edm import SigmaProcess
from get_jax.diffusion.registry import check_choice, check_interval
from get_jax.diffusion.samplers.base import SchemeSampler
from get_jax.diffusion.samplers.edm_schedules import (
  DISCRETIZATIONS,
  Discretization,
  SigmaSchedule,
  make_sigma_schedule,
  noise_levels,
)
from get_jax.diffusion.scheme import Scheme
from get_jax.diffusion.typing import Array
from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class Heun(SchemeSampler):
  """Second order steps with optional churn: Algorithm 2, or 3 with alpha.

  It evaluates the network 2 num_steps - 1 times, because the last step, to
  sigma = 0, is an Euler step. The fields from `solver` on are the options of
  the paper's Table 1 and Figure 2; the defaults are those of EDM.

  Attributes:
    process: an EDM process.
    num_steps: N, at least 2.
    sigma_min: lowest noise level, not below that of the network; None means
      the default of the discretization (EDM: 0.002).
    sigma_max: highest noise level, not above that of the network; None means
      the default of the discretization (EDM: 80).
    rho: exponent of EDM's discretization.
    s_churn: total amount of noise added, 0 for the ODE.
    s_min: lowest noise level with churn.
    s_max: highest noise level with churn.
    s_noise: standard deviation of the noise added.
    solver: "heun", or "euler" with N evaluations.
    discretization: noise levels: "edm", "vp", "ve" or "iddpm".
    schedule: sigma(t) of the time in which steps are taken: "linear", "vp" or
      "ve".
    scaling: s(t): "none" or "vp".
    alpha: position of the second evaluation in a step; 1, the end of the step,
      is Heun's method.
    epsilon_s: smallest time of the discretization and the schedule "vp".
    c_1: lower bound of the ratios of successive alpha_bar of "iddpm".
    c_2: offset of the cosine of "iddpm".
    num_timesteps: number of noise levels from which "iddpm" selects.
  """

  process_class = SigmaProcess

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
  epsilon_s: float = 1e-3
  c_1: float = 0.001
  c_2: float = 0.008
  num_timesteps: int = 1000

  def __post_init__(self):
    super().__post_init__()
    for field, choices in {
      "solver": ("heun", "euler"),
      "discretization": DISCRETIZATIONS,
      "schedule": ("linear", "vp", "ve"),
      "scaling": ("none", "vp"),
    }.items():
      check_choice("Heun", field, getattr(self, field), choices)
    for field in ("epsilon_s", "c_1", "c_2"):
      check_interval("Heun", field, getattr(self, field), 0, 1)
    check_interval("Heun", "num_timesteps", self.num_timesteps, 1)
    if self.num_steps < 2:
      raise UsageError(
        f"Heun's noise levels need num_steps of at least 2, not "
        f"{self.num_steps}"
      )

  @property
  def _discretization(self) -> Discretization:
    return Discretization(
      self.discretization,
      self.rho,
      self.epsilon_s,
      self.c_1,
      self.c_2,
      self.num_timesteps,
    )

  @functools.cached_property
  def _range(self) -> tuple[float, float]:
    low, high = self._discretization.default_range
    low = low if self.sigma_min is None else self.sigma_min
    high = high if self.sigma_max is None else self.sigma_max
    lowest, highest = self.process.sigma_range
    return max(low, lowest), min(high, highest)

  @functools.cached_property
  def sigmas(self) -> np.ndarray:
    """The noise levels, (N + 1,) float64, decreasing to 0."""
    levels = noise_levels(self._discretization, self.num_steps, *self._range)
    return np.append(self.process.round_sigma(levels), 0.0)

  @functools.cached_property
  def sigma_schedule(self) -> SigmaSchedule:
    """The functions sigma(t) and s(t)."""
    return make_sigma_schedule(
      self.schedule, self.scaling, *self._range, self.epsilon_s
    )

  @functools.cached_property
  def scheme(self) -> Scheme:
    """See `SchemeSampler.scheme`; predictions are of the noise.

    The states are x / s(t), the input of the network, where x is the state in
    the paper.
    """
    gamma_max = min(self.s_churn / self.num_steps, math.sqrt(2) - 1)
    rows, scales = [], []
    for k, (sigma, end) in enumerate(itertools.pairwise(self.sigmas)):
      gamma = gamma_max if self.s_min <= sigma <= self.s_max else 0.0
      # Churn raises the noise level to sigma_hat.
      sigma_hat = self.process.round_sigma(np.asarray(sigma * (1 + gamma)))
      scale = self.s_noise * math.sqrt(max(sigma_hat**2 - sigma**2, 0.0))
      step = self._step(sigma_hat, end)
      rows += step
      scales += [(scale, k)] + [(0.0, k)] * (len(step) - 1)
    time, starts_step, base_weight, weights = map(
      np.array, zip(*rows, strict=True)
    )
    noise_scale, noise_index = map(np.array, zip(*scales, strict=True))
    churn = bool(np.any(noise_scale))
    return Scheme(
      start=self.sigmas[0],
      time=time,
      starts_step=starts_step,
      base_weight=base_weight,
      weights=weights,
      noise_scale=noise_scale if churn else None,
      noise_index=noise_index if churn else None,
    )

  def _step(self, sigma: Array, sigma_next: float):
    """Returns the rows of one step between two noise levels."""
    schedule = self.sigma_schedule
    start = float(schedule.time(sigma))
    end = float(schedule.time(sigma_next)) if sigma_next else 0.0
    h = end - start

    def slope(t):
      """Returns dx/dt as weights of x and of the noise predicted at x / s."""
      return schedule.log_scale_slope(t), schedule.scale(t) * schedule.slope(t)

    def row(sigma, starts_step, t, weights):
      """Returns the row from x / s at `start` to x / s at t.

      Args:
        sigma: noise level of the evaluation.
        starts_step: see `Scheme`.
        t: time after the row.
        weights: weights of x and of the predictions, for x at t.
      """
      base, *past = np.array(weights) / schedule.scale(t)
      return sigma, starts_step, base * schedule.scale(start), np.array(past)

    by_x, by_noise = slope(start)
    if self.solver == "euler" or sigma_next == 0:
      return [row(sigma, True, end, (1 + h * by_x, h * by_noise, 0.0))]
    part = self.alpha * h
    middle = start + part
    base, past = 1 + part * by_x, part * by_noise
    by_x_middle, by_noise_middle = slope(middle)
    new, old = h / (2 * self.alpha), h * (1 - 1 / (2 * self.alpha))
    corrected = (
      1 + old * by_x + new * by_x_middle * base,
      new * by_noise_middle,
      old * by_noise + new * by_x_middle * past,
    )
    return [
      row(sigma, True, middle, (base, past, 0.0)),
      row(float(schedule.sigma(middle)), False, end, corrected),
    ]

  def predictor(self, net):
    """See `SchemeSampler.predictor`; predicts the noise."""
    return self.process.predictor(net)

  def denoised(self, x, time, prediction):
    """See `SchemeSampler.denoised`."""
    return x - time * prediction
