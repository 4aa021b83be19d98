"""Per-sample algebra on pytrees of arrays with a leading batch axis.

A state may consist of several arrays (several equilibria at once); everything
here treats them as one vector per sample and never mixes samples. Sums are
taken in float32, or in float64 where a leaf is float64.
"""

import functools
import operator
from typing import Any

import jax
import jax.numpy as jnp

from get_jax.equilibrium.typing import Array, PyTree


def accumulator(tree: PyTree):
  """The dtype of inner products and norms of `tree`."""
  return jnp.result_type(jnp.float32, *jax.tree.leaves(tree))


def widen(tree: PyTree) -> PyTree:
  """Casts every leaf to the accumulator's dtype."""
  return jax.tree.map(lambda a: a.astype(accumulator(tree)), tree)


def cast_like(tree: PyTree, like: PyTree) -> PyTree:
  """Casts every leaf to the dtype of the leaf of `like` beside it."""
  return jax.tree.map(lambda a, b: a.astype(b.dtype), tree, like)


def inner(a: PyTree, b: PyTree) -> Array:
  """Inner products per sample, shape (B,)."""
  dtype = jnp.promote_types(accumulator(a), accumulator(b))

  def leaf(p, q):
    product = p.astype(dtype) * q.astype(dtype)
    return jnp.sum(product, axis=tuple(range(1, product.ndim)))

  return functools.reduce(
    operator.add, jax.tree.leaves(jax.tree.map(leaf, a, b))
  )


def norm(a: PyTree) -> Array:
  """Euclidean norms per sample, shape (B,)."""
  return jnp.sqrt(inner(a, a))


def spread(weights: Array, leaf: Array) -> Array:
  """Shapes weights (B,) for multiplication with `leaf` (B, ...)."""
  return weights.reshape(weights.shape + (1,) * (leaf.ndim - weights.ndim))


def scale(weights: Array, a: PyTree) -> PyTree:
  """Multiplies sample b of every leaf by weights[b]."""
  return jax.tree.map(lambda p: spread(weights, p) * p, a)


def select(mask: Array, a: PyTree, b: PyTree) -> PyTree:
  """Sample by sample `a` where mask (B,) holds, `b` elsewhere.

  A `where` and no arithmetic: what is not chosen may be NaN.
  """
  return jax.tree.map(lambda p, q: jnp.where(spread(mask, p), p, q), a, b)


def add(a: PyTree, b: PyTree) -> PyTree:
  """The sum a + b."""
  return jax.tree.map(operator.add, a, b)


def subtract(a: PyTree, b: PyTree) -> PyTree:
  """The difference a - b in the accumulator's dtype."""
  return jax.tree.map(operator.sub, widen(a), widen(b))


def empty(tree: PyTree, rows: int, dtype: Any = None) -> PyTree:
  """Zeros with a leading axis of `rows`, in `dtype` or that of each leaf.

  Made from the leaves and not from their shapes, so that under `shard_map`
  they vary over the mesh as the leaves do.
  """
  return jax.tree.map(
    lambda a: jnp.zeros_like(
      jnp.broadcast_to(a, (rows, *a.shape)), dtype=dtype
    ),
    tree,
  )


def size(tree: PyTree) -> int:
  """The number of samples B."""
  return jax.tree.leaves(tree)[0].shape[0]
