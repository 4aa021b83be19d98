"""SiT's samplers: the flow as an ODE, or as an SDE with the same densities.

The drift of both is linear in the state and in the output of the network, so
their coefficients are tables.

Source: Ma et al., "SiT", Sections 2 and 3, and the official code.
"""

import abc
import dataclasses
import functools
import itertools
import math

import jax.numpy as jnp
import numpy as np

from get_jax.diffusion.flow_matching import FlowMatching, Weights
from get_jax.diffusion.registry import check_choice
from get_jax.diffusion.samplers.base import SchemeSampler
from get_jax.diffusion.scheme import Scheme
from get_jax.errors import UsageError

# Distance from an end of the flow where a coefficient is infinite.
MARGIN = 1e-3
DIFFUSIONS = (
  "constant", "sbdm", "sigma", "linear", "decreasing", "increasing-decreasing",
)  # fmt: skip
LAST_STEPS = ("mean", "tweedie", "euler", "none")


class FlowSampler(SchemeSampler):
  """Base class of the two samplers: solver, times and estimates of the data."""

  process_class = FlowMatching

  process: FlowMatching
  num_steps: int
  solver: str

  def __post_init__(self):
    super().__post_init__()
    check_choice(self._name, "solver", self.solver, ("euler", "heun"))
    start, end = self.interval
    if not 0 <= start < end <= 1:
      raise UsageError(
        f"{self._name}: sampling is from t_start={start:g} to t_end={end:g}; "
        "expected 0 <= t_start < t_end <= 1"
      )
    scheme = self.scheme
    numbers = [scheme.base_weight, *np.transpose(scheme.weights)]
    if scheme.noise_scale is not None:
      numbers.append(scheme.noise_scale)
    finite = np.isfinite(numbers).all(axis=0)
    if not finite.all():
      raise UsageError(
        f"{self._name}: a coefficient of the step at t="
        f"{scheme.time[np.argmin(finite)]:g} is infinite; expected t_start and "
        f"t_end at a distance from the ends of the flow, such as {MARGIN:g}"
      )

  @property
  def _name(self) -> str:
    return type(self).__name__

  @property
  @abc.abstractmethod
  def interval(self) -> tuple[float, float]:
    """The times between which the solver takes steps."""

  @abc.abstractmethod
  def drift(self, t: float) -> Weights:
    """Returns the weights of the state and of the output in the drift."""

  def _solver_rows(self, start: float, end: float) -> list[tuple]:
    """Returns the rows of one step: time, starts_step, base_weight, weights.

    Heun's step is the mean of the drifts at its start and, after an Euler
    step, at its end.
    """
    h, first = end - start, self.drift(start)
    base, past = 1 + h * first.state, h * first.output
    rows = [(start, True, base, (past, 0.0))]
    if self.solver == "heun":
      second = self.drift(end)
      corrected = 1 + h / 2 * (first.state + second.state * base)
      old = h / 2 * (first.output + second.state * past)
      rows.append((end, False, corrected, (h / 2 * second.output, old)))
    return rows

  def _as_scheme(self, rows: list[tuple]) -> Scheme:
    """Returns a scheme without noise."""
    columns = map(np.array, zip(*rows, strict=True))
    time, starts_step, base_weight, weights = columns
    return Scheme(1.0, time, starts_step, base_weight, weights)

  def predictor(self, net):
    """See `SchemeSampler.predictor`; predicts the output of the network."""
    return self.process.output(net)

  def denoised(self, x, time, prediction):
    """See `SchemeSampler.denoised`."""
    weights = self.process.data_weights(time, jnp)
    return weights.state * x + weights.output * prediction


@dataclasses.dataclass(frozen=True)
class FlowODE(FlowSampler):
  """Solves the ODE of the flow with equal steps in time.

  Attributes:
    process: a flow-matching process.
    num_steps: number of steps; `heun` evaluates the network twice a step.
    solver: "euler" or "heun".
    t_start: time of the first evaluation; None means 0, or 1e-3 where the
      velocity of the prediction is infinite at 0.
    t_end: time at which sampling ends; None means 1, or 1 - 1e-3 for the path
      "vp" and for the predictions "noise" and "score".
  """

  process: FlowMatching
  num_steps: int = 250
  solver: str = "euler"
  t_start: float | None = None
  t_end: float | None = None

  @property
  def interval(self) -> tuple[float, float]:
    """See `FlowSampler.interval`."""
    start, end = (MARGIN * singular for singular in self.process.singular_ends)
    return (
      start if self.t_start is None else self.t_start,
      1 - end if self.t_end is None else self.t_end,
    )

  def drift(self, t):
    """See `FlowSampler.drift`."""
    return self.process.velocity_weights(t)

  @functools.cached_property
  def scheme(self) -> Scheme:
    """See `SchemeSampler.scheme`."""
    times = np.linspace(*self.interval, self.num_steps + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
      rows = [
        row
        for start, end in itertools.pairwise(times)
        for row in self._solver_rows(start, end)
      ]
    return self._as_scheme(rows)


@dataclasses.dataclass(frozen=True)
class FlowSDE(FlowSampler):
  """Solves dx = (velocity + w(t) score) dt + sqrt(2 w(t)) dW, equal steps.

  Euler-Maruyama, or Heun's method, whose noise is added before a step. A last
  step without noise goes to the data.

  Attributes:
    process: a flow-matching process.
    num_steps: number of steps, the last one included.
    solver: "euler" or "heun".
    diffusion: w(t), times `diffusion_norm` (n): "constant" (1), "sbdm" (the
      score's weight in the velocity, as of score-based diffusion models),
      "sigma", "linear" (1 - t), "decreasing" ((n cos(pi t) + 1)^2 / 4, without
      a factor n) or "increasing-decreasing" (sin(pi t)^2).
    diffusion_norm: n.
    last_step: "mean" (a step of the SDE without noise), "tweedie" (the estimate
      of the data), "euler" (a step of the ODE) or "none".
    last_step_size: size of the last step in time.
    t_start: time of the first evaluation; None means 0, or 1e-3 where the
      drift is infinite at 0: with "sbdm", and the predictions "noise" and
      "score", except for the path "vp".
    t_end: time of the last step; None means 1 - last_step_size, or, without a
      last step, 1, or 1 - 1e-3 where the drift is infinite at 1.
  """

  process: FlowMatching
  num_steps: int = 250
  solver: str = "euler"
  diffusion: str = "sigma"
  diffusion_norm: float = 1.0
  last_step: str = "mean"
  last_step_size: float = 0.04
  t_start: float | None = None
  t_end: float | None = None

  def __post_init__(self):
    check_choice(self._name, "diffusion", self.diffusion, DIFFUSIONS)
    check_choice(self._name, "last_step", self.last_step, LAST_STEPS)
    if self.num_steps < self.has_last_step + 1:
      raise UsageError(
        f"{self._name}: num_steps is {self.num_steps}; expected at least 2, "
        "because the last step is one of them"
      )
    super().__post_init__()

  @property
  def has_last_step(self) -> bool:
    """Whether a step without noise follows those of the solver."""
    return self.last_step != "none"

  @property
  def interval(self) -> tuple[float, float]:
    """See `FlowSampler.interval`."""
    is_vp = self.process.path == "vp"
    at_start, at_end = self.process.singular_ends
    at_start |= self.diffusion == "sbdm" and not is_vp
    # Heun's method evaluates the score at the end.
    at_end |= self.solver == "heun"
    end = self.last_step_size if self.has_last_step else MARGIN * at_end
    return (
      MARGIN * at_start if self.t_start is None else self.t_start,
      1 - end if self.t_end is None else self.t_end,
    )

  def diffusion_at(self, t: float) -> float:
    """Returns the diffusion coefficient w(t), float64."""
    norm = self.diffusion_norm
    scales = self.process.interpolant.scales(t)
    match self.diffusion:
      case "constant":
        return norm
      case "sbdm":
        return norm * scales.score_rate
      case "sigma":
        return norm * scales.sigma
      case "linear":
        return norm * (1 - t)
      case "decreasing":
        return (norm * np.cos(math.pi * t) + 1) ** 2 / 4
      case _:
        return norm * np.sin(math.pi * t) ** 2

  def drift(self, t):
    """See `FlowSampler.drift`."""
    w, velocity = self.diffusion_at(t), self.process.velocity_weights(t)
    score = self.process.score_weights(t)
    return Weights(
      velocity.state + w * score.state, velocity.output + w * score.output
    )

  @functools.cached_property
  def scheme(self) -> Scheme:
    """See `SchemeSampler.scheme`."""
    count = self.num_steps - self.has_last_step
    times = np.linspace(*self.interval, count + 1)
    with np.errstate(divide="ignore", invalid="ignore"):
      steps = [self._solver_rows(*pair) for pair in itertools.pairwise(times)]
      scales = [
        math.sqrt(2 * self.diffusion_at(start) * (end - start))
        for start, end in itertools.pairwise(times)
      ]
      if self.has_last_step:
        steps.append([self._last_row(times[-1])])
    rows, noise = [], []
    for k, step in enumerate(steps):
      # Euler-Maruyama adds the noise of a step at the start of the next one.
      index = k - (self.solver == "euler")
      added = (scales[index], index) if 0 <= index < count else (0.0, 0)
      rows += step
      noise += [added] + [(0.0, 0)] * (len(step) - 1)
    scheme = self._as_scheme(rows)
    noise_scale, noise_index = map(np.array, zip(*noise, strict=True))
    adds_at_end = self.solver == "euler" and not self.has_last_step
    return dataclasses.replace(
      scheme,
      noise_scale=noise_scale,
      noise_index=noise_index,
      end_noise_scale=scales[-1] if adds_at_end else 0.0,
    )

  def _last_row(self, t: float) -> tuple:
    """Returns the row of the last step, see `_solver_rows`."""
    match self.last_step:
      case "tweedie":
        base, weight = self.process.data_weights(t)
      case "euler":
        drift = self.process.velocity_weights(t)
        base = 1 + self.last_step_size * drift.state
        weight = self.last_step_size * drift.output
      case _:
        drift = self.drift(t)
        base = 1 + self.last_step_size * drift.state
        weight = self.last_step_size * drift.output
    return t, True, base, (weight, 0.0)
