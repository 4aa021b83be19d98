"""Estimates from the Jacobian of f: norm penalty and spectral radius."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from get_jax.equilibrium import tree_math
from get_jax.equilibrium.typing import Array, Map, PyTree


def gaussian_like(key: Array, z: PyTree, count: int | None = None) -> PyTree:
  """Samples standard normal arrays of the shapes and dtypes of z.

  Args:
    key: a PRNG key.
    z: a pytree of floating-point arrays.
    count: length of a leading axis to add; None adds no axis.

  Returns:
    A pytree like z, leaves (B, ...) or (count, B, ...).
  """
  leaves, structure = jax.tree.flatten(z)
  lead = () if count is None else (count,)
  samples = [
    jax.random.normal(k, lead + a.shape, a.dtype)
    for k, a in zip(jax.random.split(key, len(leaves)), leaves, strict=True)
  ]
  return jax.tree.unflatten(structure, samples)


def jacobian_penalty(
  f: Map, params: PyTree, x: PyTree, z: PyTree, probes: PyTree
) -> Float[Array, ""]:
  """Estimates |df/dz|_F^2 / D, averaged over the batch (Hutchinson).

  The estimate can be differentiated with respect to params, x and z. If z is
  the value of a `Solution`, the derivative includes the one through z, by the
  gradient method of that solution.

  Args:
    f: the map f(params, x, z).
    params: parameters of f.
    x: inputs of f.
    z: point at which the Jacobian is taken, leaves (B, ...) with D numbers
      per sample.
    probes: random vectors of mean 0 and variance 1, leaves (P, B, ...), as
      returned by `gaussian_like(key, z, P)`. The estimates of the P probes
      are averaged.

  Returns:
    A scalar.

  Source: Bai et al., Stabilizing Equilibrium Models by Jacobian
  Regularization, 2021.
  """
  _, pullback = jax.vjp(lambda z: f(params, x, z), z)

  def squares(probe):
    (row,) = pullback(probe)
    return tree_math.inner(row, row)

  dimension = sum(a.size for a in jax.tree.leaves(z)) // tree_math.batch_size(z)
  return jnp.mean(jax.vmap(squares)(probes)) / dimension


class PowerIteration(NamedTuple):
  """The result of a power iteration, per sample.

  Attributes:
    radius: (B,) geometric mean of the growth of the vector per step over the
      second half of the steps. It converges to the spectral radius also if
      the leading eigenvalues are a complex pair.
    quotient: (B,) Rayleigh quotient |v . v^T J| / (v . v) of the last step. It
      converges to the spectral radius if the leading eigenvalue is real, and
      then much faster than `radius`.
    vector: the last vector, normalised, leaves (B, ...).
  """

  radius: Float[Array, " B"]
  quotient: Float[Array, " B"]
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

  If it is below 1, plain iteration contracts near a fixed point z.

  Args:
    f: the map f(params, x, z).
    params: parameters of f.
    x: inputs of f.
    z: point at which the Jacobian is taken, leaves (B, ...).
    start: the first vector, like z; for example `gaussian_like(key, z)`.
    steps: number of products v^T J, >= 1.

  Raises:
    ValueError: steps is less than 1.
  """
  if steps < 1:
    raise ValueError(f"steps is {steps}; a power iteration needs at least 1.")
  _, pullback = jax.vjp(lambda z: f(params, x, z), z)
  unit = jnp.finfo(tree_math.accumulator_dtype(z)).tiny

  def step(v, _):
    (product,) = pullback(v)
    size = tree_math.inner(v, v)
    quotient = jnp.abs(tree_math.inner(v, product)) / size
    length = tree_math.norm(product)
    v = tree_math.scale(
      1 / jnp.maximum(length, unit), tree_math.upcast(product)
    )
    growth = length / jnp.sqrt(size)
    return tree_math.cast_like(v, product), (growth, quotient)

  vector, (growth, quotient) = jax.lax.scan(step, start, length=steps)
  late = growth[steps // 2 :]
  radius = jnp.exp(jnp.mean(jnp.log(jnp.maximum(late, unit)), axis=0))
  return PowerIteration(radius, quotient[-1], vector)
