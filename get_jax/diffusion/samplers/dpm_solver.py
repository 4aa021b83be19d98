"""DPM-Solver and DPM-Solver++ with a fixed time grid."""

import dataclasses
import functools
import itertools

import numpy as np

from get_jax.diffusion.continuous import VariancePreserving
from get_jax.diffusion.registry import check_choice
from get_jax.diffusion.samplers.base import SchemeSampler
from get_jax.diffusion.samplers.exponential_integrator import (
  ExponentialIntegrator,
)
from get_jax.diffusion.scheme import Scheme
from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class DPMSolver(SchemeSampler):
  """DPM-Solver; the defaults are those of U-ViT's VP models.

  They are the method "fast" on a grid uniform in lambda.

  Attributes:
    process: a process with a noise schedule.
    num_steps: number of evaluations of "fast" and "multistep"; "singlestep"
      runs num_steps // order steps of `order` evaluations.
    order: 1, 2 or 3.
    method: "singlestep", with the same order in all steps; "fast", with the
      last steps of lower order so that the number of evaluations is num_steps;
      or "multistep", with the first steps of lower order.
    prediction: the quantity that is approximated by a polynomial: "noise"
      (DPM-Solver) or "data" (DPM-Solver++).
    spacing: "lambda" or "time": the variable in which the grid is uniform.
    grid: for "fast": "steps", one interval of the grid per step, or
      "evaluations", k intervals per step of order k.
    solver_type: "dpm_solver" or "taylor", see `ExponentialIntegrator`.
    t_first: largest time; None means that of the schedule.
    t_last: smallest time; None means that of the schedule.
  """

  process_class = VariancePreserving

  process: VariancePreserving
  num_steps: int = 50
  order: int = 3
  method: str = "fast"
  prediction: str = "noise"
  spacing: str = "lambda"
  grid: str = "steps"
  solver_type: str = "dpm_solver"
  t_first: float | None = None
  t_last: float | None = None

  def __post_init__(self):
    super().__post_init__()
    for field, choices in {
      "order": (1, 2, 3),
      "method": ("fast", "singlestep", "multistep"),
      "prediction": ("noise", "data"),
      "spacing": ("lambda", "time"),
      "grid": ("steps", "evaluations"),
      "solver_type": ("dpm_solver", "taylor"),
    }.items():
      check_choice("DPM-Solver", field, getattr(self, field), choices)
    if self.num_steps < self.order:
      raise UsageError(
        f"DPM-Solver of order {self.order} needs num_steps of at least "
        f"{self.order}, not {self.num_steps}"
      )

  @functools.cached_property
  def scheme(self) -> Scheme:
    """See `SchemeSampler.scheme`."""
    rows = itertools.chain.from_iterable(self._updates())
    time, starts_step, base_weight, weights = map(
      np.array, zip(*rows, strict=True)
    )
    return Scheme(
      start=1.0,
      time=time,
      starts_step=starts_step,
      base_weight=base_weight,
      weights=weights,
    )

  def predictor(self, net):
    """See `SchemeSampler.predictor`; predicts the noise or the data."""
    noise = self.process.predictor(net)
    if self.prediction == "noise":
      return noise
    return lambda x, t: self.process.x0_from_noise(x, t, noise(x, t))

  def denoised(self, x, time, prediction):
    """See `SchemeSampler.denoised`."""
    if self.prediction == "data":
      return prediction
    return self.process.x0_from_noise(x, time, prediction)

  def _updates(self):
    steps = ExponentialIntegrator(
      self.process.schedule,
      data=self.prediction == "data",
      taylor=self.solver_type == "taylor",
    )
    if self.method == "multistep":
      times = self._times(self.num_steps)
      for i in range(self.num_steps):
        yield steps.multistep(times[max(0, i + 1 - self.order) : i + 2])
      return
    if self.method == "singlestep":
      orders = [self.order] * (self.num_steps // self.order)
    else:
      orders = _fast_orders(self.num_steps, self.order)
    if self.method == "fast" and self.grid == "evaluations":
      times = self._times(self.num_steps)
      ends = np.cumsum([0, *orders])
      for start, end in itertools.pairwise(ends):
        yield steps.singlestep(times[start : end + 1])
      return
    times = self._times(len(orders))
    for (start, end), order in zip(
      itertools.pairwise(times), orders, strict=True
    ):
      yield steps.singlestep(self._inner(start, end, order))

  def _times(self, intervals: int) -> list[float]:
    """Returns the time grid, decreasing, intervals + 1 times."""
    schedule = self.process.schedule
    first = schedule.t_first if self.t_first is None else self.t_first
    last = schedule.t_last if self.t_last is None else self.t_last
    if self.spacing == "time":
      return list(np.linspace(first, last, intervals + 1))
    lam = np.linspace(schedule.lam(first), schedule.lam(last), intervals + 1)
    return [first, *schedule.time(lam[1:-1]), last]

  def _inner(self, start, end, order):
    """Returns start, inner times and end of a step, uniform in lambda."""
    schedule = self.process.schedule
    lam = np.linspace(schedule.lam(start), schedule.lam(end), order + 1)
    return [start, *schedule.time(lam[1:-1]), end]


@dataclasses.dataclass(frozen=True)
class DPMSolverPP(DPMSolver):
  """DPM-Solver++; the defaults are those of U-ViT's latent models.

  They are the method "fast" on a grid uniform in time.
  """

  prediction: str = "data"
  spacing: str = "time"
  grid: str = "evaluations"


def _fast_orders(evaluations: int, order: int) -> list[int]:
  """Returns orders of singlesteps whose sum is the number of evaluations."""
  if order < 3:
    full, rest = divmod(evaluations, order)
    return [order] * full + [rest] * (rest > 0)
  full, rest = divmod(evaluations, 3)
  if rest == 0:
    return [3] * (full - 1) + [2, 1]
  return [3] * full + [rest]
