"""Solves many samples in few slots, each of which takes one after the other."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Int

from get_jax.equilibrium import tree_math
from get_jax.equilibrium.fixed_point import SOLVER, CheckedMap, check_z0
from get_jax.equilibrium.iteration import Iteration, State
from get_jax.equilibrium.solution import Solution
from get_jax.equilibrium.solvers import Solver
from get_jax.equilibrium.typing import Array, Map, PyTree


class _Loop(NamedTuple):
  """The loop state: S slots, each a solve of a batch of one sample.

  Attributes:
    states: states of the slots, leaves (S, ...).
    samples: sample of each slot, (S,) int32; B or more for an empty slot.
    following: the next sample that no slot has taken, () int32.
    results: final states of the samples, leaves (B, ...).
  """

  states: State
  samples: Int[Array, " S"]
  following: Int[Array, ""]
  results: State


def solve_in_slots(
  f: Map,
  params: PyTree,
  x: PyTree,
  z0: PyTree,
  *,
  solver: Solver = SOLVER,
  slots: int,
) -> Solution:
  """Solves z = f(params, x, z) for every sample, a few at once.

  In each step, f is evaluated on as many samples as there are slots. When a
  sample has finished, its slot takes the next one. `fixed_point` evaluates the
  whole batch until the last sample has finished; with slots, the number of
  evaluations of a sample depends on that sample alone. The values and the
  numbers of steps are those of `fixed_point`. There is no gradient.

  Args:
    f: the map, see `fixed_point`.
    params: parameters, shared by all samples.
    x: inputs, leaves (B, ...).
    z0: initial state, leaves (B, ...).
    solver: the solver. Without a tolerance, all samples take equally many
      steps, and nothing is gained.
    slots: samples that f is evaluated on at once, S >= 1.

  Returns:
    A `Solution` without taps and traces.

  Raises:
    ValueError: as `fixed_point`, or there is no slot.
  """
  if slots < 1:
    raise ValueError(f"slots is {slots}; there must be at least one.")
  check_z0(z0)
  z0 = jax.tree.map(jnp.asarray, z0)
  count = tree_math.batch_size(z0)
  slots = min(slots, count)
  iteration = Iteration(CheckedMap(f), params, x, solver).without_gradient()

  def rows(tree: PyTree, samples: Array) -> PyTree:
    """Returns the rows of samples as batches of one; clips empty slots."""
    return jax.tree.map(lambda a: a.at[samples].get(mode="clip")[:, None], tree)

  def start(samples: Array) -> State:
    states = jax.vmap(iteration.init)(rows(z0, samples))
    return states._replace(active=states.active & (samples < count)[:, None])

  @jax.vmap
  def step(state: State, x: PyTree) -> State:
    return dataclasses.replace(iteration, x=x).step(state)[0]

  def unfinished(loop: _Loop) -> Array:
    return jnp.any(loop.samples < count)

  def body(loop: _Loop) -> _Loop:
    states = step(loop.states, rows(iteration.x, loop.samples))
    finished = ~states.active[:, 0] | (states.step >= solver.max_steps)
    finished &= loop.samples < count
    written = jnp.where(finished, loop.samples, count)
    results = jax.tree.map(
      lambda a, b: a.at[written].set(b, mode="drop"), loop.results, states
    )
    taken = loop.following + jnp.cumsum(finished, dtype=jnp.int32) - 1
    samples = jnp.where(finished, taken, loop.samples)
    # A slot without a sample remains so.
    samples = jnp.where(samples < count, samples, count)
    states = tree_math.select(finished, start(samples), states)
    following = loop.following + jnp.sum(finished, dtype=jnp.int32)
    return _Loop(states, samples, following, results)

  everything = jnp.arange(count, dtype=jnp.int32)
  first = everything[:slots]
  loop = _Loop(start(first), first, jnp.int32(slots), start(everything))
  results = jax.lax.while_loop(unfinished, body, loop).results
  flat = jax.tree.map(lambda a: a[:, 0] if a.ndim > 1 else a, results)
  return iteration.solution(flat, None, None)
