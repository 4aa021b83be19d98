"""Broyden's good method with limited memory."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from get_jax.equilibrium import tree_math
from get_jax.equilibrium.solvers import Solver
from get_jax.equilibrium.typing import Array, PyTree

# Constant of the Armijo condition (sufficient decrease), and the step length
# at which a line search accepts the step without it.
ARMIJO = 1e-4
MIN_LENGTH = 1e-2


class Memory(NamedTuple):
  """The inverse Jacobian of f(z) - z, and the last accepted point.

  Attributes:
    us: leaves (M, B, ...); the inverse is -1 + sum_i u_i v_i^T.
    vs: leaves (M, B, ...).
    updates: (B,) int32, number of rank-one updates so far.
    point: the last accepted point.
    difference: f(z) - z at `point`.
    length: (B,) step length of the point that is evaluated next.
  """

  us: PyTree
  vs: PyTree
  updates: Int[Array, " B"]
  point: PyTree
  difference: PyTree
  length: Float[Array, " B"]

  def newton(self, z: PyTree, difference: PyTree) -> PyTree:
    """Returns the point after a quasi-Newton step from z."""
    return tree_math.subtract(z, apply_inverse(self.us, self.vs, difference))


@dataclasses.dataclass(frozen=True)
class Broyden(Solver):
  """Broyden's method: quasi-Newton steps on f(z) - z = 0 (Broyden, 1965).

  The initial inverse Jacobian is -1 (minus the identity), so the first step is
  a plain step. The value returned is the point z and not its image f(z): if f
  is not a contraction, the image may have a larger residual.

  Source: Broyden, A Class of Methods for Solving Nonlinear Simultaneous
  Equations, 1965.

  Attributes:
    memory: maximum number of rank-one updates that are kept, at least 1, each
      of the size of two states; None keeps all.
    restart: what to do when the memory is full. True discards all updates and
      restarts from -1. False overwrites the oldest update, on which later
      ones depend.
    line_search: whether to shorten a step, separately for each sample, until
      |f(z) - z|^2 decreases. Every trial is one evaluation.
  """

  memory: int | None = None
  restart: bool = True
  line_search: bool = False

  def __post_init__(self):
    super().__post_init__()
    if self.memory is not None and self.memory < 1:
      raise ValueError(
        f"Broyden.memory is {self.memory}; expected None or at least 1."
      )

  @property
  def rows(self) -> int:
    """The number of rank-one updates that the memory holds, M."""
    return min(self.memory or self.max_steps, self.max_steps)

  def init(self, z0: PyTree) -> Memory:
    """Returns the memory with the inverse Jacobian -1."""
    rows = tree_math.zeros(z0, self.rows, tree_math.accumulator_dtype(z0))
    size = tree_math.norm(z0)
    return Memory(
      us=rows,
      vs=rows,
      updates=jnp.zeros_like(size, dtype=jnp.int32),
      point=z0,
      difference=jax.tree.map(jnp.zeros_like, tree_math.upcast(z0)),
      length=jnp.ones_like(size),
    )

  def update(self, step, z, image, memory):
    """Accepts the point and takes the next step, or shortens the last step."""
    difference = tree_math.subtract(image, z)
    change = tree_math.subtract(z, memory.point)
    if not self.line_search:
      memory = self.update_inverse(memory, change, difference, step > 0)
      following = memory.newton(z, difference)
      memory = memory._replace(point=z, difference=difference)
      return z, tree_math.cast_like(following, z), memory

    before = tree_math.inner(memory.difference, memory.difference)
    now = tree_math.inner(difference, difference)
    enough = now <= (1 - ARMIJO * memory.length) * before
    accepted = (step == 0) | enough | (memory.length <= MIN_LENGTH)
    memory = self.update_inverse(
      memory, change, difference, accepted & (step > 0)
    )
    # The minimiser of the parabola through both ends of the step whose slope
    # at the start is that of a Newton step.
    length = memory.length
    curvature = now - before + 2 * before * length
    shorter = before * length**2 / jnp.where(accepted, 1, curvature)
    shorter = jnp.clip(shorter, 0.1 * length, 0.5 * length)
    retreat = tree_math.add(
      tree_math.upcast(memory.point), tree_math.scale(shorter / length, change)
    )
    following = tree_math.select(
      accepted, memory.newton(z, difference), retreat
    )
    memory = memory._replace(
      point=tree_math.select(accepted, z, memory.point),
      difference=tree_math.select(accepted, difference, memory.difference),
      length=jnp.where(accepted, 1, shorter),
    )
    return z, tree_math.cast_like(following, z), memory

  def update_inverse(
    self,
    memory: Memory,
    change: PyTree,
    difference: PyTree,
    where: Bool[Array, "..."],
  ) -> Memory:
    """Applies Broyden's rank-one update after a step.

    Args:
      memory: the memory before the update.
      change: the change of z in the step.
      difference: f(z) - z after the step.
      where: (B,) or scalar bool, the samples to update.
    """
    us, vs = memory.us, memory.vs
    delta = tree_math.subtract(difference, memory.difference)
    v = apply_inverse(vs, us, change)
    error = tree_math.subtract(change, apply_inverse(us, vs, delta))
    denominator = tree_math.inner(v, delta)
    # The update is undefined for a sample that the step did not change.
    where = where & (denominator != 0) & jnp.isfinite(denominator)
    u = tree_math.scale(1 / jnp.where(where, denominator, 1), error)
    slot = memory.updates % self.rows
    rows = jnp.arange(self.rows, dtype=jnp.int32)[:, None]
    where = jnp.broadcast_to(where, slot.shape)
    row = where[None] & (rows == slot[None])
    cleared = (where & (slot == 0) & self.restart)[None] & ~row

    def put(ring, leaf):
      ring = jnp.where(tree_math.expand(cleared, ring), 0, ring)
      return jnp.where(tree_math.expand(row, ring), leaf[None], ring)

    return memory._replace(
      us=jax.tree.map(put, us, u),
      vs=jax.tree.map(put, vs, v),
      updates=memory.updates + where.astype(jnp.int32),
    )


def apply_inverse(us: PyTree, vs: PyTree, a: PyTree) -> PyTree:
  """Returns (-1 + sum_i u_i v_i^T) a per sample.

  With `us` and `vs` exchanged, the matrix is the transpose.
  """
  weights = jax.vmap(tree_math.inner, in_axes=(0, None))(vs, a)
  return jax.tree.map(
    lambda u, p: jnp.einsum("mb,mb...->b...", weights, u) - p, us, a
  )
