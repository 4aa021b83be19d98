"""Runs a solver, with or without derivatives.

Samples are independent: each has its own residual, step count and stopping
time. A finished or diverged sample is frozen. It is still evaluated with its
batch, but its result does not change and does not depend on other samples.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from get_jax.equilibrium import tree_math
from get_jax.equilibrium.solution import Solution
from get_jax.equilibrium.solvers import Simple, Solver
from get_jax.equilibrium.typing import Array, Map, PyTree


class State(NamedTuple):
  """The loop state of an iteration; see `Solution` for the shapes.

  Attributes:
    step: number of evaluations so far, () int32.
    z: the point to evaluate next.
    memory: memory of the solver.
    value: the value to report.
    residual: residual of `value`.
    relative: relative residual of `value`.
    steps: number of evaluations of each sample.
    active: (B,) bool, the samples that have not finished.
  """

  step: Int[Array, ""]
  z: PyTree
  memory: Any
  value: PyTree
  residual: Float[Array, " B"]
  relative: Float[Array, " B"]
  steps: Int[Array, " B"]
  active: Bool[Array, " B"]


class StepOutput(NamedTuple):
  """The value to report after one step, and the residuals of that step."""

  value: PyTree
  residual: Float[Array, " B"]
  relative: Float[Array, " B"]


@dataclasses.dataclass(frozen=True)
class Iteration:
  """The iteration of a map with a solver.

  Attributes:
    f: the map f(params, x, z).
    params: first argument of f.
    x: second argument of f.
    solver: the solver.
    taps: ascending steps, counted from 1, whose values are stored; None stores
      no values.
    trace: whether the residuals of all steps are stored.
  """

  f: Map
  params: PyTree
  x: PyTree
  solver: Solver
  taps: tuple[int, ...] | None = None
  trace: bool = False

  def without_gradient(self) -> "Iteration":
    """Returns the same iteration with constant `params` and `x`."""
    return dataclasses.replace(
      self,
      params=jax.lax.stop_gradient(self.params),
      x=jax.lax.stop_gradient(self.x),
    )

  def plain(self) -> "Iteration":
    """Returns the same iteration with a plain solver without a tolerance."""
    damping = getattr(self.solver, "damping", 1.0)
    solver = Simple(self.solver.max_steps, damping=damping)
    return dataclasses.replace(self, solver=solver)

  def init(self, z0: PyTree) -> State:
    """Returns the state before the first evaluation."""
    size = tree_math.norm(z0)
    worst = jnp.full_like(size, jnp.inf)
    return State(
      step=jnp.zeros((), jnp.int32),
      z=z0,
      memory=self.solver.init(z0),
      value=z0,
      residual=worst,
      relative=worst,
      steps=jnp.zeros_like(size, dtype=jnp.int32),
      active=jnp.ones_like(size, dtype=bool),
    )

  def step(self, state: State) -> tuple[State, StepOutput]:
    """Evaluates f once and updates the state."""
    solver, z = self.solver, state.z
    image = self.f(self.params, self.x, z)
    residual, relative = jax.lax.stop_gradient(residuals(z, image))
    value, following, memory = solver.update(state.step, z, image, state.memory)
    output = StepOutput(value, residual, relative)
    active = state.active
    steps = state.steps + active.astype(jnp.int32)
    if solver.tolerance is not None:
      measure, best = (
        (relative, state.relative)
        if solver.relative
        else (residual, state.residual)
      )
      finite = active & jnp.isfinite(measure)
      better = finite & (measure < best)
      # NaN for frozen samples, whose evaluations do not count.
      frozen = jnp.where(active, 0, jnp.nan).astype(residual.dtype)
      value = tree_math.select(better, value, state.value)
      output = StepOutput(value, residual + frozen, relative + frozen)
      residual = jnp.where(better, residual, state.residual)
      relative = jnp.where(better, relative, state.relative)
      active = finite & (measure >= solver.tolerance)
      following = tree_math.select(active, following, z)
    return State(
      step=state.step + 1,
      z=following,
      memory=memory,
      value=value,
      residual=residual,
      relative=relative,
      steps=steps,
      active=active,
    ), output

  def run(self, state: State, stop: int) -> tuple[State, PyTree, Any]:
    """Steps until `stop` or until all samples have finished.

    The loop is a `lax.while_loop` and has no reverse-mode derivative.

    Args:
      state: the initial state.
      stop: the maximum number of steps.

    Returns:
      The final state, the values at the taps, leaves (taps, B, ...), and the
      trace: None or the pair of residuals and relative residuals, each
      (stop, B).
    """
    taps = np.array([t for t in self.taps or () if t <= stop], np.int32)
    kept = tree_math.zeros(state.value, len(taps))
    trace = None
    if self.trace:
      trace = (tree_math.zeros(state.residual, stop) + jnp.nan,) * 2
    early = bool(self.solver.tolerance)

    def unfinished(carry):
      state, _, _ = carry
      within = state.step < stop
      return within & jnp.any(state.active) if early else within

    def body(carry):
      state, kept, trace = carry
      step = state.step
      state, output = self.step(state)
      if len(taps):
        # Without a tap at this step, the row is out of range and is dropped.
        row = jnp.where(taps == step + 1, jnp.arange(len(taps)), len(taps))
        kept = jax.tree.map(
          lambda a, b: a.at[row.min()].set(b, mode="drop"), kept, output.value
        )
      if trace is not None:
        trace = (
          trace[0].at[step].set(output.residual),
          trace[1].at[step].set(output.relative),
        )
      return state, kept, trace

    state, kept, trace = jax.lax.while_loop(
      unfinished, body, (state, kept, trace)
    )
    if early and len(taps):
      reached = jnp.asarray(taps) <= state.step
      kept = jax.tree.map(
        lambda a, b: jnp.where(tree_math.expand(reached, a), a, b),
        kept,
        state.value,
      )
    return state, kept, trace

  def unroll(
    self, state: State, start: int, stop: int, wrap: Callable, unroll: int
  ) -> tuple[State, PyTree, Any]:
    """Runs the steps start + 1 to stop, numbered as taps, as a `lax.scan`.

    The steps can be differentiated.

    Args:
      state: the initial state.
      start: number of steps before the first one.
      stop: number of the last step.
      wrap: transformation of the step function, such as `jax.checkpoint`.
      unroll: see `lax.scan`.

    Returns:
      As `run`, with traces of shape (stop - start, B).
    """
    taps = np.array([t for t in self.taps or () if start < t <= stop], np.int32)

    def body(state, _):
      state, output = wrap(self.step)(state)
      kept = output.value if len(taps) else None
      trace = (output.residual, output.relative) if self.trace else None
      return state, (kept, trace)

    state, (kept, trace) = jax.lax.scan(
      body, state, length=stop - start, unroll=unroll
    )
    if not len(taps):
      kept = tree_math.zeros(state.value, 0)
    elif len(taps) < stop - start:
      kept = jax.tree.map(lambda a: a[taps - start - 1], kept)
    return state, kept, trace

  def solution(self, state: State, kept: PyTree, trace: Any) -> Solution:
    """Returns the `Solution` of a finished run."""
    tolerance = self.solver.tolerance
    measure = state.relative if self.solver.relative else state.residual
    if tolerance is None:
      converged = jnp.zeros_like(state.active)
    else:
      converged = measure < tolerance
    taps = None
    if self.taps and self.taps[-1] == self.solver.max_steps:
      taps = kept
    elif self.taps is not None:
      taps = jax.tree.map(
        lambda a, b: jnp.concatenate([a, b[None]]), kept, state.value
      )
    return Solution(
      value=state.value,
      residual=state.residual,
      relative_residual=state.relative,
      steps=state.steps,
      converged=converged,
      trace=None if trace is None else trace[0],
      relative_trace=None if trace is None else trace[1],
      taps=taps,
    )


def residuals(
  z: PyTree, image: PyTree
) -> tuple[Float[Array, " B"], Float[Array, " B"]]:
  """Returns ||f(z) - z|| and ||f(z) - z|| / ||f(z)||, each (B,)."""
  absolute = tree_math.norm(tree_math.subtract(image, z))
  size = tree_math.norm(image)
  tiny = jnp.finfo(size.dtype).tiny
  return absolute, absolute / jnp.maximum(size, tiny)
