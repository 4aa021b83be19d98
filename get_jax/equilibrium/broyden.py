"""Broyden's good method with limited memory."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from get_jax.equilibrium import batch
from get_jax.equilibrium.solvers import Solver
from get_jax.equilibrium.typing import Array, PyTree

# Sufficient decrease, and the shortest step that a line search tries.
ARMIJO = 1e-4
SHORTEST = 1e-2


class Memory(NamedTuple):
  """The inverse Jacobian of f(z) - z, and the point where it stands.

  Attributes:
    us: leaves (M, B, ...); the inverse is -1 + sum_i u_i v_i^T.
    vs: leaves (M, B, ...).
    count: (B,) int32, updates made so far.
    point: the last accepted point.
    difference: f(z) - z there.
    length: (B,) the step length of the point now under evaluation.
  """

  us: PyTree
  vs: PyTree
  count: Array
  point: PyTree
  difference: PyTree
  length: Array

  def newton(self, z: PyTree, difference: PyTree) -> PyTree:
    """The quasi-Newton step from z."""
    return batch.subtract(z, times(self.us, self.vs, difference))


@dataclasses.dataclass(frozen=True)
class Broyden(Solver):
  """Quasi-Newton steps on f(z) - z = 0, from the inverse Jacobian -1.

  The first step is the plain one. The value returned is the point z itself
  and not its image: far from a contraction the image may be worse (Broyden,
  A Class of Methods for Solving Nonlinear Simultaneous Equations, 1965).

  Attributes:
    memory: rank-one updates that are kept, each two states large, at least
      1; None keeps all.
    restart: what happens when the memory is full. True forgets everything and
      starts again from -1; False overwrites the oldest update, which later
      ones were built upon.
    line_search: shortens a step, for each sample by itself, until
      |f(z) - z|^2 has decreased. Every trial is one evaluation.
  """

  memory: int | None = None
  restart: bool = True
  line_search: bool = False

  def __post_init__(self):
    super().__post_init__()
    if self.memory is not None and self.memory < 1:
      raise ValueError(
        f"Broyden.memory is {self.memory}; it must be None or at least 1."
      )

  @property
  def rows(self) -> int:
    """The memory that is used."""
    return min(self.memory or self.max_steps, self.max_steps)

  def start(self, z0: PyTree) -> Memory:
    """The inverse Jacobian -1."""
    ring = batch.empty(z0, self.rows, batch.accumulator(z0))
    size = batch.norm(z0)
    return Memory(
      us=ring,
      vs=ring,
      count=jnp.zeros_like(size, dtype=jnp.int32),
      point=z0,
      difference=jax.tree.map(jnp.zeros_like, batch.widen(z0)),
      length=jnp.ones_like(size),
    )

  def update(self, step, z, image, memory):
    """Accepts the point and leaves it, or shortens the step towards it."""
    difference = batch.subtract(image, z)
    change = batch.subtract(z, memory.point)
    if not self.line_search:
      memory = self.learn(memory, change, difference, step > 0)
      following = memory.newton(z, difference)
      memory = memory._replace(point=z, difference=difference)
      return z, batch.cast_like(following, z), memory

    before = batch.inner(memory.difference, memory.difference)
    now = batch.inner(difference, difference)
    enough = now <= (1 - ARMIJO * memory.length) * before
    accepted = (step == 0) | enough | (memory.length <= SHORTEST)
    memory = self.learn(memory, change, difference, accepted & (step > 0))
    # The minimum of the parabola through both ends, whose slope at the start
    # is that of a Newton step.
    length = memory.length
    curvature = now - before + 2 * before * length
    shorter = before * length**2 / jnp.where(accepted, 1, curvature)
    shorter = jnp.clip(shorter, 0.1 * length, 0.5 * length)
    retreat = batch.add(
      batch.widen(memory.point), batch.scale(shorter / length, change)
    )
    following = batch.select(accepted, memory.newton(z, difference), retreat)
    memory = memory._replace(
      point=batch.select(accepted, z, memory.point),
      difference=batch.select(accepted, difference, memory.difference),
      length=jnp.where(accepted, 1, shorter),
    )
    return z, batch.cast_like(following, z), memory

  def learn(
    self, memory: Memory, change: PyTree, difference: PyTree, where: Array
  ) -> Memory:
    """Broyden's update by what a step did to f(z) - z, where it holds."""
    us, vs = memory.us, memory.vs
    gained = batch.subtract(difference, memory.difference)
    v = times(vs, us, change)
    miss = batch.subtract(change, times(us, vs, gained))
    denominator = batch.inner(v, gained)
    # A sample whose step changed nothing teaches nothing.
    where = where & (denominator != 0) & jnp.isfinite(denominator)
    u = batch.scale(1 / jnp.where(where, denominator, 1), miss)
    turn = memory.count % self.rows
    row = where & (jnp.arange(self.rows)[:, None] == turn)
    cleared = where & (turn == 0) & self.restart & ~row

    def put(ring, leaf):
      ring = jnp.where(batch.spread(cleared, ring), 0, ring)
      return jnp.where(batch.spread(row, ring), leaf, ring)

    return memory._replace(
      us=jax.tree.map(put, us, u),
      vs=jax.tree.map(put, vs, v),
      count=memory.count + where,
    )


def times(us: PyTree, vs: PyTree, a: PyTree) -> PyTree:
  """(-1 + sum_i u_i v_i^T) a, per sample; its transpose with us, vs swapped."""
  weights = jax.vmap(batch.inner, in_axes=(0, None))(vs, a)
  return jax.tree.map(
    lambda u, p: jnp.einsum("mb,mb...->b...", weights, u) - p, us, a
  )
