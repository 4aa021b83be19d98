"""Anderson acceleration."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from get_jax.equilibrium import batch
from get_jax.equilibrium.solvers import Solver
from get_jax.equilibrium.typing import Array, PyTree

WINDOW = 12


class Memory(NamedTuple):
  """The last evaluations, in a ring of M rows.

  Attributes:
    images: f(z_i), leaves (M, B, ...).
    differences: f(z_i) - z_i in the accumulator's dtype, leaves (M, B, ...).
    gram: their inner products, (B, M, M).
  """

  images: PyTree
  differences: PyTree
  gram: Array


@dataclasses.dataclass(frozen=True)
class Anderson(Solver):
  """Combines the last evaluations so that their residuals cancel.

  The next point is sum_i a_i (mixing f(z_i) + (1 - mixing) z_i), with the
  weights a of sum one that minimise |sum_i a_i (f(z_i) - z_i)|^2 plus a ridge
  (Walker and Ni, Anderson Acceleration for Fixed-Point Iterations, 2011). The
  first step is a plain one. The value returned is the image f(z).

  Attributes:
    window: evaluations that are combined, from 1 to `max_steps`; None means
      12, or `max_steps` where that is less. The ring takes two states a row.
    mixing: in (0, 1].
    ridge: what is added to the diagonal of the Gram matrix of the residuals,
      as a fraction of that diagonal: so the weights do not depend on the
      scale of f, and acceleration does not fade as the residual falls.
    absolute: adds `ridge` itself instead.
  """

  window: int | None = None
  mixing: float = 1.0
  ridge: float = 1e-6
  absolute: bool = False

  def __post_init__(self):
    super().__post_init__()
    if self.window is not None and not 1 <= self.window <= self.max_steps:
      raise ValueError(
        f"Anderson.window is {self.window}; it must lie between 1 and the "
        f"step limit {self.max_steps}."
      )
    if not 0 < self.mixing <= 1:
      raise ValueError(
        f"Anderson.mixing is {self.mixing}; it must lie in (0, 1]."
      )
    if not self.ridge >= 0:
      raise ValueError(
        f"Anderson.ridge is {self.ridge}; it must be at least 0."
      )

  @property
  def rows(self) -> int:
    """The window that is used."""
    return self.window or min(WINDOW, self.max_steps)

  def start(self, z0: PyTree) -> Memory:
    """An empty ring."""
    dtype = batch.accumulator(z0)
    one = batch.norm(z0)[:, None, None]
    return Memory(
      images=batch.empty(z0, self.rows),
      differences=batch.empty(z0, self.rows, dtype),
      gram=jnp.zeros_like(jnp.tile(one, (self.rows, self.rows))),
    )

  def update(self, step, z, image, memory):
    """Remembers the evaluation and combines what is in the ring."""
    row = step % self.rows
    difference = batch.subtract(image, z)

    def put(ring, leaf):
      return ring.at[row].set(leaf)

    images = jax.tree.map(put, memory.images, image)
    differences = jax.tree.map(put, memory.differences, difference)
    products = jax.vmap(batch.inner, in_axes=(0, None), out_axes=1)(
      differences, difference
    )
    gram = memory.gram.at[:, row].set(products).at[:, :, row].set(products)
    filled = jnp.arange(self.rows) <= step
    diagonal = jnp.einsum("bmm->bm", gram)
    # A residual that is exactly zero, or no number, leaves nothing to combine.
    usable = ((diagonal > 0) & (diagonal < jnp.inf) | ~filled).all(axis=-1)
    usable = usable & (step > 0)
    weights = self.weights(gram, filled, usable)

    def combine(f, d):
      mixed = f if self.mixing == 1 else f - (1 - self.mixing) * d
      return jnp.einsum("bm,mb...->b...", weights, mixed.astype(d.dtype))

    point = jax.tree.map(combine, images, differences)
    usable = usable & jnp.isfinite(weights).all(axis=-1)
    point = batch.select(usable, batch.cast_like(point, image), image)
    return image, point, Memory(images, differences, gram)

  def weights(self, gram: Array, filled: Array, usable: Array) -> Array:
    """The weights a, (B, M), zero where the ring is not yet filled.

    Args:
      gram: (B, M, M).
      filled: (M,) bool, which rows count.
      usable: (B,) bool; the other samples get weights without meaning, whose
        derivative is zero.
    """
    eye = jnp.eye(self.rows, dtype=gram.dtype)
    gram = jnp.where(usable[:, None, None], gram, eye)
    diagonal = jnp.einsum("bmm->bm", gram)
    ridge = self.ridge * (1 if self.absolute else diagonal)
    # An empty row gets the unit vector for its equation and 0 for its weight.
    extra = jnp.where(filled, ridge, 1)
    ones = jnp.broadcast_to(filled.astype(gram.dtype), diagonal.shape)
    weights = jnp.linalg.solve(gram + extra[..., None] * eye, ones[..., None])
    return weights[..., 0] / weights.sum(axis=-2)
