"""What the Jacobian of f tells: a penalty on its size, its spectral radius."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from get_jax.equilibrium import batch
from get_jax.equilibrium.typing import Array, Map, PyTree


def gaussian_like(key: Array, z: PyTree, count: int | None = None) -> PyTree:
  """Standard normal draws of the shapes and dtypes of z.

  Args:
    key: a PRNG key.
    z: a pytree of floating-point arrays.
    count: adds a leading axis of this length; None adds none.
  """
  leaves, structure = jax.tree.flatten(z)
  lead = () if count is None else (count,)
  draws = [
    jax.random.normal(k, lead + a.shape, a.dtype)
    for k, a in zip(jax.random.split(key, len(leaves)), leaves, strict=True)
  ]
  return jax.tree.unflatten(structure, draws)


def jacobian_penalty(
  f: Map, params: PyTree, x: PyTree, z: PyTree, probes: PyTree
) -> Array:
  """Estimates |df/dz|_F^2 / D, averaged over the batch (Hutchinson).

  Bai et al., Stabilizing Equilibrium Models by Jacobian Regularization, 2021.
  It can be differentiated with respect to params, x and z, and given the
  value of a `Solution` it adds up with whichever gradient that was made with.

  Args:
    f: f(params, x, z).
    params: its parameters.
    x: its inputs.
    z: where the Jacobian is taken, leaves (B, ...) with D numbers a sample.
    probes: draws of mean 0 and variance 1, leaves (P, B, ...), as made by
      `gaussian_like(key, z, P)`; the estimates of the P probes are averaged.

  Returns:
    A scalar.
  """
  _, pullback = jax.vjp(lambda z: f(params, x, z), z)

  def squares(probe):
    (row,) = pullback(probe)
    return batch.inner(row, row)

  dimension = sum(a.size for a in jax.tree.leaves(z)) // batch.size(z)
  return jnp.mean(jax.vmap(squares)(probes)) / dimension


class PowerIteration(NamedTuple):
  """The end of a power iteration, per sample.

  Attributes:
    radius: (B,) mean growth of the vector over the second half of the steps;
      it approaches the spectral radius for complex leading pairs too.
    quotient: (B,) |v . v^T J| / (v . v) of the last step; it approaches the
      spectral radius if the leading eigenvalue is real, then much faster.
    vector: the last vector, normalised, leaves (B, ...).
  """

  radius: Array
  quotient: Array
  vector: PyTree


def spectral_radius(
  f: Map,
  params: PyTree,
  x: PyTree,
  z: PyTree,
  start: PyTree,
  steps: int = 100,
) -> PowerIteration:
  """Estimates the spectral radius of df/dz at z, per sample.

  Below 1 the plain iteration contracts near a fixed point z.

  Args:
    f: f(params, x, z).
    params: its parameters.
    x: its inputs.
    z: where the Jacobian is taken, leaves (B, ...).
    start: the first vector, like z; `gaussian_like(key, z)` will do.
    steps: products v^T J, >= 1.
  """
  if steps < 1:
    raise ValueError(f"steps is {steps}; a power iteration needs at least 1.")
  _, pullback = jax.vjp(lambda z: f(params, x, z), z)
  unit = jnp.finfo(batch.accumulator(z)).tiny

  def step(v, _):
    (product,) = pullback(v)
    size = batch.inner(v, v)
    quotient = jnp.abs(batch.inner(v, product)) / size
    length = batch.norm(product)
    v = batch.scale(1 / jnp.maximum(length, unit), batch.widen(product))
    growth = length / jnp.sqrt(size)
    return batch.cast_like(v, product), (growth, quotient)

  vector, (growth, quotient) = jax.lax.scan(step, start, length=steps)
  late = growth[steps // 2 :]
  radius = jnp.exp(jnp.mean(jnp.log(jnp.maximum(late, unit)), axis=0))
  return PowerIteration(radius, quotient[-1], vector)
