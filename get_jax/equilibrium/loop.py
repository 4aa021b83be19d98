"""The one loop that runs every solver, with or without derivatives.

Samples are independent: each has its own residual, step count and end. A
finished or diverged sample is frozen; it is still evaluated with its batch,
but nothing that its neighbours do can change its result.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from get_jax.equilibrium import batch
from get_jax.equilibrium.solution import Solution
from get_jax.equilibrium.solvers import Simple, Solver
from get_jax.equilibrium.typing import Array, Map, PyTree


class State(NamedTuple):
  """What goes round the loop; see `Solution` for the shapes."""

  step: Array
  z: PyTree
  memory: Any
  value: PyTree
  residual: Array
  relative: Array
  steps: Array
  active: Array


class Record(NamedTuple):
  """What one step leaves behind: the value so far and its own residuals."""

  value: PyTree
  residual: Array
  relative: Array


@dataclasses.dataclass(frozen=True)
class Loop:
  """A map, its arguments and a solver, ready to run.

  Attributes:
    f: f(params, x, z).
    params: its first argument.
    x: its second argument.
    solver: the settings of the solver.
    taps: the steps, counted from 1 and ascending, whose values are kept; None
      keeps nothing.
    trace: whether all residuals are kept.
  """

  f: Map
  params: PyTree
  x: PyTree
  solver: Solver
  taps: tuple[int, ...] | None = None
  trace: bool = False

  def constant(self) -> "Loop":
    """The same loop without derivatives."""
    return dataclasses.replace(
      self,
      params=jax.lax.stop_gradient(self.params),
      x=jax.lax.stop_gradient(self.x),
    )

  def plain(self) -> "Loop":
    """The same loop by plain iteration, which never stops."""
    damping = getattr(self.solver, "damping", 1.0)
    solver = Simple(self.solver.max_steps, damping=damping)
    return dataclasses.replace(self, solver=solver)

  def start(self, z0: PyTree) -> State:
    """The state before the first evaluation."""
    size = batch.norm(z0)
    worst = jnp.full_like(size, jnp.inf)
    return State(
      step=jnp.zeros((), jnp.int32),
      z=z0,
      memory=self.solver.start(z0),
      value=z0,
      residual=worst,
      relative=worst,
      steps=jnp.zeros_like(size, dtype=jnp.int32),
      active=jnp.ones_like(size, dtype=bool),
    )

  def advance(self, state: State) -> tuple[State, Record]:
    """One evaluation of f and what follows from it."""
    solver, z = self.solver, state.z
    image = self.f(self.params, self.x, z)
    residual, relative = jax.lax.stop_gradient(residuals(z, image))
    value, following, memory = solver.update(state.step, z, image, state.memory)
    record = Record(value, residual, relative)
    active, steps = state.active, state.steps + state.active
    if solver.tolerance is not None:
      measure, best = (
        (relative, state.relative)
        if solver.relative
        else (residual, state.residual)
      )
      finite = active & jnp.isfinite(measure)
      better = finite & (measure < best)
      # A frozen sample has no residual of its own any more.
      gone = jnp.where(active, 0, jnp.nan).astype(residual.dtype)
      value = batch.select(better, value, state.value)
      record = Record(value, residual + gone, relative + gone)
      residual = jnp.where(better, residual, state.residual)
      relative = jnp.where(better, relative, state.relative)
      active = finite & (measure >= solver.tolerance)
      following = batch.select(active, following, z)
    return State(
      step=state.step + 1,
      z=following,
      memory=memory,
      value=value,
      residual=residual,
      relative=relative,
      steps=steps,
      active=active,
    ), record

  def run(self, state: State, stop: int) -> tuple[State, PyTree, Any]:
    """Steps until `stop` or until all samples are finished; no derivative."""
    taps = np.array([t for t in self.taps or () if t <= stop], np.int32)
    kept = batch.empty(state.value, len(taps))
    trace = None
    if self.trace:
      trace = (batch.empty(state.residual, stop) + jnp.nan,) * 2
    early = bool(self.solver.tolerance)

    def unfinished(carry):
      state, _, _ = carry
      within = state.step < stop
      return within & jnp.any(state.active) if early else within

    def body(carry):
      state, kept, trace = carry
      step = state.step
      state, record = self.advance(state)
      if len(taps):
        # Rows that no tap asks for lie outside and are dropped.
        row = jnp.where(taps == step + 1, jnp.arange(len(taps)), len(taps))
        kept = jax.tree.map(
          lambda a, b: a.at[row.min()].set(b, mode="drop"), kept, record.value
        )
      if trace is not None:
        trace = (
          trace[0].at[step].set(record.residual),
          trace[1].at[step].set(record.relative),
        )
      return state, kept, trace

    state, kept, trace = jax.lax.while_loop(
      unfinished, body, (state, kept, trace)
    )
    if early and len(taps):
      reached = jnp.asarray(taps) <= state.step
      kept = jax.tree.map(
        lambda a, b: jnp.where(batch.spread(reached, a), a, b),
        kept,
        state.value,
      )
    return state, kept, trace

  def unroll(
    self, state: State, start: int, stop: int, wrap: Callable, unroll: int
  ) -> tuple[State, PyTree, Any]:
    """Steps that can be differentiated, start+1 to stop by the taps' count."""
    taps = np.array([t for t in self.taps or () if start < t <= stop], np.int32)

    def body(state, _):
      state, record = wrap(self.advance)(state)
      kept = record.value if len(taps) else None
      trace = (record.residual, record.relative) if self.trace else None
      return state, (kept, trace)

    state, (kept, trace) = jax.lax.scan(
      body, state, length=stop - start, unroll=unroll
    )
    if not len(taps):
      kept = batch.empty(state.value, 0)
    elif len(taps) < stop - start:
      kept = jax.tree.map(lambda a: a[taps - start - 1], kept)
    return state, kept, trace

  def solution(self, state: State, kept: PyTree, trace: Any) -> Solution:
    """The report on a finished run."""
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


def residuals(z: PyTree, image: PyTree) -> tuple[Array, Array]:
  """||f(z) - z|| and the same relative to ||f(z)||, each (B,)."""
  absolute = batch.norm(batch.subtract(image, z))
  size = batch.norm(image)
  tiny = jnp.finfo(size.dtype).tiny
  return absolute, absolute / jnp.maximum(size, tiny)
