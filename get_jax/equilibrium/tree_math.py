"""Per-sample linear algebra on pytrees of arrays with a leading batch axis.

A state may consist of several arrays, for example of several equilibria that
are solved together. These functions treat the arrays of a sample as one vector
and never mix samples. Sums are computed in float32, or in float64 if a leaf is
float64.
"""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from get_jax.equilibrium.typing import Array, PyTree


def accumulator_dtype(tree: PyTree):
  """Returns the dtype of inner products and norms of `tree`."""
  is_double = (a.dtype == jnp.float64 for a in jax.tree.leaves(tree))
  return jnp.dtype(jnp.float64 if any(is_double) else jnp.float32)


def upcast(tree: PyTree) -> PyTree:
  """Casts every leaf to the accumulator dtype."""
  return jax.tree.map(lambda a: a.astype(accumulator_dtype(tree)), tree)


def cast_like(tree: PyTree, like: PyTree) -> PyTree:
  """Casts every leaf to the dtype of the corresponding leaf of `like`."""
  return jax.tree.map(lambda a, b: a.astype(b.dtype), tree, like)


def inner(a: PyTree, b: PyTree) -> Float[Array, " B"]:
  """Returns the inner product of every sample, shape (B,)."""
  dtype = accumulator_dtype((a, b))

  def leaf(p, q):
    product = p.astype(dtype) * q.astype(dtype)
    return jnp.sum(product, axis=tuple(range(1, product.ndim)))

  return functools.reduce(
    operator.add, jax.tree.leaves(jax.tree.map(leaf, a, b))
  )


def norm(a: PyTree) -> Float[Array, " B"]:
  """Returns the Euclidean norm of every sample, shape (B,)."""
  return jnp.sqrt(inner(a, a))


def expand(weights: Array, leaf: Array) -> Array:
  """Reshapes (B,) to (B, 1, ..., 1) with as many axes as `leaf` (B, ...)."""
  return weights.reshape(weights.shape + (1,) * (leaf.ndim - weights.ndim))


def scale(weights: Float[Array, " B"], a: PyTree) -> PyTree:
  """Multiplies sample b of every leaf by weights[b]."""
  return jax.tree.map(lambda p: expand(weights, p) * p, a)


def select(mask: Bool[Array, " B"], a: PyTree, b: PyTree) -> PyTree:
  """Selects the samples of `a` where mask (B,) is True, else those of `b`.

  It uses `where` and no arithmetic, so samples that are not selected may be
  NaN.
  """
  return jax.tree.map(lambda p, q: jnp.where(expand(mask, p), p, q), a, b)


def add(a: PyTree, b: PyTree) -> PyTree:
  """Returns a + b."""
  return jax.tree.map(operator.add, a, b)


def subtract(a: PyTree, b: PyTree) -> PyTree:
  """Returns a - b in the accumulator dtype."""
  return jax.tree.map(operator.sub, upcast(a), upcast(b))


def zeros(tree: PyTree, rows: int, dtype: Any = None) -> PyTree:
  """Returns zeros like `tree` with a new leading axis of length `rows`.

  The zeros are computed from the leaves and not from their shapes, so that
  under `shard_map` they vary over the mesh in the same way.

  Args:
    tree: leaves (B, ...).
    rows: length of the new axis.
    dtype: dtype of the result; None means the dtype of each leaf.
  """
  return jax.tree.map(
    lambda a: jnp.zeros_like(
      jnp.broadcast_to(a, (rows, *a.shape)), dtype=dtype
    ),
    tree,
  )


def batch_size(tree: PyTree) -> int:
  """Returns the number of samples B."""
  return jax.tree.leaves(tree)[0].shape[0]
