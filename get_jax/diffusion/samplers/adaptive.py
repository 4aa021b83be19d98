"""DPM-Solver with adaptive step size."""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from get_jax.diffusion.continuous import VariancePreserving
from get_jax.diffusion.noise import INITIAL
from get_jax.diffusion.process import expand
from get_jax.diffusion.registry import check_choice
from get_jax.diffusion.samplers.base import Sampler
from get_jax.errors import UsageError


class _State(NamedTuple):
  """State of the loop.

  Attributes:
    x: (B, *shape) the current state.
    lower: (B, *shape) the last result of lower order, for the tolerance.
    lam: (B,) lambda of x.
    h: (B,) size of the next step in lambda.
    rounds: () number of steps tried so far.
  """

  x: jax.Array
  lower: jax.Array
  lam: jax.Array
  h: jax.Array
  rounds: jax.Array


@dataclasses.dataclass(frozen=True)
class DPMSolverAdaptive(Sampler):
  """DPM-Solver-12 or -23, with an embedded error estimate.

  Results of two orders are computed from shared evaluations. Every sample has
  its own step size, so it does not depend on its batch. A batch ends with its
  slowest sample.

  Attributes:
    process: a process with a noise schedule.
    order: 2 or 3, the higher order of the two.
    t_last: final time; None means the smallest time of the schedule.
    h_init: size of the first step in lambda.
    atol: absolute tolerance.
    rtol: relative tolerance.
    theta: safety factor of the next step size.
    t_error: sampling ends if the time is within t_error of t_last.
    max_evaluations: maximum number of evaluations; samples that are unfinished
      then are NaN.
    shared_step: whether all samples of a batch use the step size of the worst
      sample, as in the official code.
  """

  process_class = VariancePreserving

  process: VariancePreserving
  order: int = 3
  t_last: float | None = 1e-3
  h_init: float = 0.05
  atol: float = 0.0078
  rtol: float = 0.05
  theta: float = 0.9
  t_error: float = 1e-5
  max_evaluations: int = 1000
  shared_step: bool = False

  def __post_init__(self):
    super().__post_init__()
    check_choice("adaptive DPM-Solver", "order", self.order, (2, 3))

  @property
  def evaluations(self) -> None:
    """None, because the number is known only after sampling; see `solve`."""
    return None

  def __call__(self, net, noise, shape, *, trajectory=False, preview=None):
    """See `Sampler.__call__`; trajectory and preview are not supported.

    Raises:
      UsageError: a trajectory or a preview is requested.
    """
    if trajectory or preview is not None:
      raise UsageError(
        "the adaptive DPM-Solver has no common steps, so it gives neither a "
        "trajectory nor previews"
      )
    return self.solve(net, noise, shape)[0]

  def solve(self, net, noise, shape):
    """Returns the samples, (B, *shape), and the number of evaluations.

    Args:
      net: see `Sampler.__call__`.
      noise: see `Sampler.__call__`.
      shape: see `Sampler.__call__`.

    Returns:
      The samples, (B, *shape) float32, and the number of network evaluations,
      () int32.
    """
    schedule = self.process.schedule
    last = schedule.t_last if self.t_last is None else self.t_last
    lam_end = float(schedule.lam(last))
    # `t_error` at the end, in lambda.
    margin = lam_end - float(schedule.lam(last + self.t_error))
    predict = self.process.predictor(net)

    def unfinished(state):
      return state.lam < lam_end - margin

    def advance(state):
      active = unfinished(state)
      left = jnp.where(active, lam_end - state.lam, self.h_init)
      h = jnp.minimum(state.h, left)
      lower, gap = _pair(self.order, schedule, predict, state.x, state.lam, h)
      scale = jnp.maximum(jnp.abs(lower), jnp.abs(state.lower))
      scale = jnp.maximum(self.atol, self.rtol * scale)
      axes = tuple(range(1, lower.ndim))
      error = jnp.sqrt(((gap / scale) ** 2).mean(axes))
      if self.shared_step:
        error = jnp.full_like(error, error.max())
      accepted = active & (error <= 1)
      grown = self.theta * h * jnp.maximum(error, 1e-8) ** (-1 / self.order)
      mask = expand(accepted, lower)
      return _State(
        x=jnp.where(mask, lower + gap, state.x),
        lower=jnp.where(mask, lower, state.lower),
        lam=jnp.where(accepted, state.lam + h, state.lam),
        h=jnp.where(active, grown, state.h),
        rounds=state.rounds + 1,
      )

    def proceed(state):
      spent = (state.rounds + 1) * self.order
      return unfinished(state).any() & (spent <= self.max_evaluations)

    x = noise(INITIAL, shape)
    first = float(schedule.lam(schedule.t_first))
    lam = jnp.full(x.shape[:1], first, jnp.float32)
    h = jnp.full(x.shape[:1], self.h_init, jnp.float32)
    start = _State(x, x, lam, h, jnp.int32(0))
    state = jax.lax.while_loop(proceed, advance, start)
    done = expand(~unfinished(state), x)
    return jnp.where(done, state.x, math.nan), state.rounds * self.order


def _pair(order, schedule, predict, x, lam, h):
  """Returns the result of lower order and the gap to that of higher order.

  The gap is computed from predictions, because the difference of the two
  states would be dominated by rounding errors for small steps.

  Args:
    order: the higher order, 2 or 3.
    schedule: schedule of the process.
    predict: (x, t) -> noise estimate.
    x: state (B, *shape).
    lam: (B,) lambda of x.
    h: (B,) step size in lambda.
  """

  def evaluate(state, share):
    return predict(state, schedule.time(lam + share * h, jnp))

  def move(share, *terms):
    """Returns the exponential step to lam + share h.

    Args:
      share: fraction of the step.
      *terms: pairs of a weight (B,) and a prediction.
    """
    alpha, there = jax.nn.sigmoid(2 * lam), lam + share * h
    ratio = jnp.sqrt(jax.nn.sigmoid(2 * there) / alpha)
    return expand(ratio, x) * x + push(share, *terms)

  def push(share, *terms):
    sigma = jnp.sqrt(jax.nn.sigmoid(-2 * (lam + share * h)))
    return sum(-expand(sigma * weight, x) * m for weight, m in terms)

  first = evaluate(x, 0.0)
  phi_1 = jnp.expm1(h)
  if order == 2:
    half = evaluate(move(0.5, (jnp.expm1(0.5 * h), first)), 0.5)
    return move(1.0, (phi_1, first)), push(1.0, (phi_1, half - first))
  third, two = 1 / 3, 2 / 3
  change = evaluate(move(third, (jnp.expm1(third * h), first)), third) - first
  phi_12 = jnp.expm1(two * h)
  bend = 2 * (phi_12 / (two * h) - 1)
  at_two = evaluate(move(two, (phi_12, first), (bend, change)), two)
  phi_2 = phi_1 / h - 1
  lower = move(1.0, (phi_1, first), (1.5 * phi_1, change))
  gap = push(1.0, (1.5 * phi_2, at_two - first), (-1.5 * phi_1, change))
  return lower, gap
