"""DPM-Solver and DPM-Solver++ with steps known beforehand."""

import dataclasses
import functools
import itertools

import numpy as np

from get_jax.diffusion.continuous import VariancePreserving
from get_jax.diffusion.registry import check_choice
from get_jax.diffusion.samplers.base import SchemeSampler
from get_jax.diffusion.samplers.exponential import Exponential
from get_jax.diffusion.scheme import Scheme
from get_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class DPMSolver(SchemeSampler):
  """DPM-Solver as U-ViT's VP models are sampled: "fast", uniform in lambda.

  Attributes:
    process: a process with a noise schedule.
    num_steps: evaluations of "fast" and "multistep"; "singlestep" makes
      num_steps // order steps of `order` evaluations.
    order: 1, 2 or 3.
    method: "singlestep" with one order throughout, "fast" with the last
      steps of lower order so that num_steps evaluations are spent, or
      "multistep" with the first steps of lower order.
    prediction: what is taken to be polynomial: "noise", or "data" (++).
    spacing: "lambda" or "time": in what the grid is uniform.
    grid: what the grid is of, in "fast": "steps", or "evaluations" where a
      step of order k spans k of its intervals.
    solver_type: "dpm_solver" or "taylor", see `Exponential`.
    t_first: largest time; the schedule's where None.
    t_last: smallest time; the schedule's where None.
  """

  needs = VariancePreserving

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
    """The sampler as a table."""
    rows = itertools.chain.from_iterable(self._updates())
    time, begins, base_weight, weights = map(np.array, zip(*rows, strict=True))
    return Scheme(
      start=1.0,
      time=time,
      begins=begins,
      base_weight=base_weight,
      weights=weights,
    )

  def predict(self, net):
    """The noise in the state at a time, or the data."""
    noise = self.process.predictor(net)
    if self.prediction == "noise":
      return noise
    return lambda x, t: self.process.to_data(x, t, noise(x, t))

  def denoised(self, x, time, prediction):
    """See `SchemeSampler.denoised`."""
    if self.prediction == "data":
      return prediction
    return self.process.to_data(x, time, prediction)

  def _updates(self):
    steps = Exponential(
      self.process.schedule,
      data=self.prediction == "data",
      taylor=self.solver_type == "taylor",
    )
    if self.method == "multistep":
      times = self._times(self.num_steps)
      for i in range(self.num_steps):
        yield steps.multi(times[max(0, i + 1 - self.order) : i + 2])
      return
    if self.method == "singlestep":
      orders = [self.order] * (self.num_steps // self.order)
    else:
      orders = _fast_orders(self.num_steps, self.order)
    if self.method == "fast" and self.grid == "evaluations":
      times = self._times(self.num_steps)
      ends = np.cumsum([0, *orders])
      for begin, end in itertools.pairwise(ends):
        yield steps.single(times[begin : end + 1])
      return
    times = self._times(len(orders))
    for (start, end), order in zip(
      itertools.pairwise(times), orders, strict=True
    ):
      yield steps.single(self._inner(start, end, order))

  def _times(self, intervals: int) -> list[float]:
    """The grid, falling, intervals + 1 times."""
    schedule = self.process.schedule
    first = schedule.t_first if self.t_first is None else self.t_first
    last = schedule.t_last if self.t_last is None else self.t_last
    if self.spacing == "time":
      return list(np.linspace(first, last, intervals + 1))
    lam = np.linspace(schedule.lam(first), schedule.lam(last), intervals + 1)
    return [first, *schedule.time(lam[1:-1]), last]

  def _inner(self, start, end, order):
    """A step's begin, its inner times (even in lambda), its end."""
    schedule = self.process.schedule
    lam = np.linspace(schedule.lam(start), schedule.lam(end), order + 1)
    return [start, *schedule.time(lam[1:-1]), end]


@dataclasses.dataclass(frozen=True)
class DPMSolverPP(DPMSolver):
  """DPM-Solver++ as U-ViT's latent models are sampled: "fast", even in time."""

  prediction: str = "data"
  spacing: str = "time"
  grid: str = "evaluations"


def _fast_orders(evaluations: int, order: int) -> list[int]:
  """Orders of single steps that spend just so many evaluations."""
  if order < 3:
    full, rest = divmod(evaluations, order)
    return [order] * full + [rest] * (rest > 0)
  full, rest = divmod(evaluations, 3)
  if rest == 0:
    return [3] * (full - 1) + [2, 1]
  return [3] * full + [rest]
