"""Anderson acceleration."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from get_jax.equilibrium import tree_math
from get_jax.equilibrium.solvers import Solver
from get_jax.equilibrium.typing import Array, PyTree

WINDOW = 12


class Memory(NamedTuple):
  """The last M evaluations, in a ring buffer.

  Attributes:
    images: f(z_i), leaves (M, B, ...).
    differences: f(z_i) - z_i in the accumulator dtype, leaves (M, B, ...).
    gram: inner products of the differences, (B, M, M).
  """

  images: PyTree
  differences: PyTree
  gram: Float[Array, "B M M"]


@dataclasses.dataclass(frozen=True)
class Anderson(Solver):
  """Anderson acceleration (Walker and Ni, 2011).

  The next point is sum_i a_i (mixing f(z_i) + (1 - mixing) z_i). The weights a
  sum to one and minimise |sum_i a_i (f(z_i) - z_i)|^2 plus a ridge term. The
  first step is a plain step. The value returned is the image f(z).

  Source: Walker and Ni, Anderson Acceleration for Fixed-Point Iterations,
  2011.

  Attributes:
    window: number of evaluations that are combined, >= 1, and at most
      `max_steps` if that is less; None means 12. The memory holds two states
      for each.
    mixing: in (0, 1].
    ridge: fraction of the diagonal of the Gram matrix of the residuals that is
      added to this diagonal, >= 0. With a relative ridge the weights do not
      depend on the scale of f, and acceleration remains effective as the
      residual decreases.
    absolute: whether `ridge` itself is added instead.
  """

  window: int | None = None
  mixing: float = 1.0
  ridge: float = 1e-6
  absolute: bool = False

  def __post_init__(self):
    super().__post_init__()
    if self.window is not None and self.window < 1:
      raise ValueError(
        f"Anderson.window is {self.window}; expected None or at least 1."
      )
    if not 0 < self.mixing <= 1:
      raise ValueError(
        f"Anderson.mixing is {self.mixing}; expected a number in (0, 1]."
      )
    if not self.ridge >= 0:
      raise ValueError(f"Anderson.ridge is {self.ridge}; expected at least 0.")

  @property
  def rows(self) -> int:
    """The number of evaluations that the memory holds, M."""
    return min(self.window or WINDOW, self.max_steps)

  def init(self, z0: PyTree) -> Memory:
    """Returns an empty memory."""
    dtype = tree_math.accumulator_dtype(z0)
    one = tree_math.norm(z0)[:, None, None]
    return Memory(
      images=tree_math.zeros(z0, self.rows),
      differences=tree_math.zeros(z0, self.rows, dtype),
      gram=jnp.zeros_like(jnp.tile(one, (self.rows, self.rows))),
    )

  def update(self, step, z, image, memory):
    """Stores the evaluation and combines the stored ones."""
    row = step % self.rows
    difference = tree_math.subtract(image, z)

    def put(ring, leaf):
      return ring.at[row].set(leaf)

    images = jax.tree.map(put, memory.images, image)
    differences = jax.tree.map(put, memory.differences, difference)
    products = jax.vmap(tree_math.inner, in_axes=(0, None), out_axes=1)(
      differences, difference
    )
    gram = memory.gram.at[:, row].set(products).at[:, :, row].set(products)
    filled = (jnp.arange(self.rows, dtype=jnp.int32) <= step)[None]
    diagonal = jnp.einsum("bmm->bm", gram)
    # If a residual is exactly zero or not finite, the plain step is taken.
    usable = ((diagonal > 0) & (diagonal < jnp.inf) | ~filled).all(axis=-1)
    usable = usable & (step > 0)
    weights = self.weights(gram, filled, usable)

    def combine(f, d):
      mixed = f.astype(d.dtype)
      if self.mixing != 1:
        mixed = mixed - (1 - self.mixing) * d
      return jnp.einsum("bm,mb...->b...", weights, mixed)

    point = jax.tree.map(combine, images, differences)
    usable = usable & jnp.isfinite(weights).all(axis=-1)
    point = tree_math.select(usable, tree_math.cast_like(point, image), image)
    return image, point, Memory(images, differences, gram)

  def weights(
    self,
    gram: Float[Array, "B M M"],
    filled: Bool[Array, "1 M"],
    usable: Bool[Array, " B"],
  ) -> Float[Array, "B M"]:
    """Returns the weights a, (B, M), zero for rows that are not filled yet.

    Args:
      gram: (B, M, M).
      filled: (1, M) bool, the rows that hold an evaluation.
      usable: (B,) bool. The weights of the other samples have no meaning, and
        their derivative is zero.
    """
    eye = jnp.eye(self.rows, dtype=gram.dtype)[None]
    gram = jnp.where(usable[:, None, None], gram, eye)
    diagonal = jnp.einsum("bmm->bm", gram)
    ridge = self.ridge * (1 if self.absolute else diagonal)
    # The equation of an empty row is that of the identity, with weight 0.
    extra = jnp.where(filled, ridge, 1)
    ones = jnp.broadcast_to(filled.astype(gram.dtype), diagonal.shape)
    weights = jnp.linalg.solve(gram + extra[..., None] * eye, ones[..., None])
    return weights[..., 0] / weights.sum(axis=-2)
