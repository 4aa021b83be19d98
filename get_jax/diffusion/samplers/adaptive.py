"""DPM-Solver with the step's length chosen on the way."""

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
  x: jax.Array  # (B, *shape)
  lower: jax.Array  # the last lower order result, scale of the tolerance
  lam: jax.Array  # (B,) where x is
  h: jax.Array  # (B,) the step to try
  rounds: jax.Array  # () steps tried so far


@dataclasses.dataclass(frozen=True)
class DPMSolverAdaptive(Sampler):
  """DPM-Solver-12 or -23: two orders from shared evaluations, error controlled.

  Every sample has its own step, so that it does not depend on its batch; a
  batch ends with its slowest sample.

  Attributes:
    process: a process with a noise schedule.
    order: 2 or 3, the higher of the two.
    t_last: where to stop; the schedule's smallest time where None.
    h_init: the first step in lambda.
    atol: absolute tolerance.
    rtol: relative tolerance.
    theta: safety factor of the next step.
    t_error: how near to t_last counts as there.
    max_evaluations: where sampling ends unfinished, with NaN.
    shared_step: whether the batch takes one step, its worst sample's, as the
      official code does.
  """

  needs = VariancePreserving

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
  def evaluations(self):
    """None: known only afterwards, see `solve`."""
    return None

  def __call__(self, net, noise, shape, *, trajectory=False, preview=None):
    """See `Sampler.__call__`; neither trajectory nor preview is to be had."""
    if trajectory or preview is not None:
      raise UsageError(
        "the adaptive DPM-Solver has no common steps, so it gives neither a "
        "trajectory nor previews"
      )
    return self.solve(net, noise, shape)[0]

  def solve(self, net, noise, shape):
    """The samples, (B, *shape), and the number of evaluations, () int32."""
    schedule = self.process.schedule
    last = schedule.t_last if self.t_last is None else self.t_last
    lam_end = float(schedule.lam(last))
    # How far `t_error` is in lambda at the end.
    near = lam_end - float(schedule.lam(last + self.t_error))
    predict = self.process.predictor(net)

    def unfinished(state):
      return state.lam < lam_end - near

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
      taken = active & (error <= 1)
      grown = self.theta * h * jnp.maximum(error, 1e-8) ** (-1 / self.order)
      chosen = expand(taken, lower)
      return _State(
        x=jnp.where(chosen, lower + gap, state.x),
        lower=jnp.where(chosen, lower, state.lower),
        lam=jnp.where(taken, state.lam + h, state.lam),
        h=jnp.where(active, grown, state.h),
        rounds=state.rounds + 1,
      )

    def goes_on(state):
      spent = (state.rounds + 1) * self.order
      return unfinished(state).any() & (spent <= self.max_evaluations)

    x = noise(INITIAL, shape)
    lam = jnp.full(x.shape[:1], float(schedule.lam(schedule.t_first)))
    h = jnp.full(x.shape[:1], self.h_init)
    start = _State(x, x, lam, h, jnp.int32(0))
    state = jax.lax.while_loop(goes_on, advance, start)
    done = expand(~unfinished(state), x)
    return jnp.where(done, state.x, math.nan), state.rounds * self.order


def _pair(order, schedule, predict, x, lam, h):
  """The lower order's result of a step h (B,) from lam (B,), and the gap.

  The gap to the higher order's is made of predictions: the difference of the
  two states would be rounding error where steps are short.
  """

  def evaluate(state, share):
    return predict(state, schedule.time(lam + share * h, jnp))

  def move(share, *terms):
    """To lam + share h: the exponential step with weights on predictions."""
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
