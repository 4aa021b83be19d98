"""Equilibrium layer of a linen block."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.equilibrium import (
  Anderson,
  Implicit,
  Simple,
  Unrolled,
  fixed_point,
)
from get_jax.nn.equilibrium import Equilibrium
from get_jax.nn.normalization import SpectralNorm, WeightNorm

B, D = 4, 8


class Block(nn.Module):
  """A contraction with dropout."""

  @nn.compact
  def __call__(self, z, x, train=False):
    z = nn.Dense(D, kernel_init=nn.initializers.normal(0.1), name="dense")(z)
    z = nn.Dropout(0.5, deterministic=not train, name="dropout")(z)
    return jnp.tanh(z + x)


@pytest.fixture(scope="module")
def arrays():
  keys = jax.random.split(jax.random.key(0))
  return jax.random.normal(keys[0], (B, D)), jax.random.normal(keys[1], (B, D))


@pytest.fixture(scope="module")
def variables(arrays):
  z0, x = arrays
  return jax.jit(Equilibrium(block=Block()).init)(jax.random.key(1), z0, x)


def test_three_lines_make_a_layer(arrays, variables):
  z0, x = arrays
  layer = Equilibrium(block=Block(), solver=Anderson(40, 1e-5))
  solution = layer.apply(variables, z0, x)
  image = Block().apply({"params": variables["params"]["block"]}, z0, x)
  assert jax.tree.map(jnp.shape, variables) == {
    "params": {"block": {"dense": {"kernel": (D, D), "bias": (D,)}}}
  }
  assert solution.converged.all()
  value = Block().apply(
    {"params": variables["params"]["block"]}, solution.value, x
  )
  np.testing.assert_allclose(value, solution.value, atol=1e-4)
  assert image.shape == solution.value.shape


@pytest.mark.parametrize(
  "gradient", [Unrolled(), Implicit(Simple(60, 1e-7, relative=True))]
)
def test_gradients_of_the_layer(arrays, variables, gradient):
  z0, x = arrays
  layer = Equilibrium(block=Block(), solver=Simple(40), gradient=gradient)

  def of_layer(params):
    return jnp.sum(layer.apply({"params": params}, z0, x).value ** 2)

  def of_loop(params):
    z = z0
    for _ in range(40):
      z = Block().apply({"params": params["block"]}, z, x)
    return jnp.sum(z**2)

  found = jax.jit(jax.grad(of_layer))(variables["params"])
  expected = jax.jit(jax.grad(of_loop))(variables["params"])
  for a, b in zip(
    jax.tree.leaves(found), jax.tree.leaves(expected), strict=True
  ):
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_one_dropout_mask_for_all_iterations(arrays, variables):
  """The map is constant within a forward pass and differs between passes."""
  z0, x = arrays
  layer = Equilibrium(
    block=Block(), solver=Anderson(40, 1e-5), gradient=Implicit()
  )

  def value(params, seed):
    return layer.apply(
      {"params": params},
      z0,
      x,
      train=True,
      rngs={"dropout": jax.random.key(seed)},
    )

  call = jax.jit(value)
  one, two = call(variables["params"], 0), call(variables["params"], 1)
  # A fixed point exists only under a constant mask.
  assert one.converged.all()
  assert jnp.abs(one.value - two.value).max() > 0.01
  np.testing.assert_array_equal(one.value, call(variables["params"], 0).value)
  total = jax.jit(jax.grad(lambda p: jnp.sum(value(p, 0).value)))
  gradient = total(variables["params"])
  assert jnp.isfinite(gradient["block"]["dense"]["kernel"]).all()


def test_remat_does_not_change_the_parameter_tree(arrays):
  _, x = arrays

  class Model(nn.Module):
    remat: bool

    @nn.compact
    def __call__(self, x):
      layer = nn.remat(Equilibrium) if self.remat else Equilibrium
      layer = layer(block=Block(), gradient=Implicit(), name="layer")
      return layer(jnp.zeros_like(x), x).value

  plain, recomputed = Model(False), Model(True)
  params = plain.init(jax.random.key(0), x)
  shapes = jax.eval_shape(recomputed.init, jax.random.key(0), x)
  assert jax.tree.structure(shapes) == jax.tree.structure(params)

  def gradient(model):
    return jax.jit(jax.grad(lambda p: jnp.sum(model.apply(p, x) ** 2)))(params)

  for a, b in zip(
    jax.tree.leaves(gradient(plain)),
    jax.tree.leaves(gradient(recomputed)),
    strict=True,
  ):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_weight_norm_in_the_layer(arrays, variables):
  """Is neutral at initialisation and computed outside the iteration."""
  z0, x = arrays
  layer = Equilibrium(block=Block(), normalization=WeightNorm())
  made = jax.jit(layer.init)(jax.random.key(1), z0, x)
  magnitude = made["params"]["normalization"]["magnitude:dense/kernel"]
  kernel = made["params"]["block"]["dense"]["kernel"]
  np.testing.assert_allclose(magnitude, jnp.linalg.norm(kernel, axis=0))
  plain = Equilibrium(block=Block()).apply(variables, z0, x)
  normal = layer.apply(made, z0, x)
  np.testing.assert_allclose(normal.value, plain.value, atol=1e-6)

  def of_layer(params):
    return jnp.sum(layer.apply({"params": params}, z0, x).value)

  program = jax.make_jaxpr(of_layer)(made["params"]).jaxpr
  (loop,) = [e for e in program.eqns if e.primitive.name == "scan"]
  assert (D,) in square_roots(program)
  assert (D,) not in square_roots(loop.params["jaxpr"].jaxpr)


def square_roots(program):
  """Shapes of the square roots that are taken directly in a program."""
  return [
    e.outvars[0].aval.shape for e in program.eqns if e.primitive.name == "sqrt"
  ]


def test_spectral_norm_takes_one_step_per_call(arrays):
  z0, x = arrays
  layer = Equilibrium(block=Block(), normalization=SpectralNorm())
  made = jax.jit(layer.init)(jax.random.key(1), z0, x)
  state = {"spectral": made["spectral"]}

  @jax.jit
  def call(state):
    variables = {"params": made["params"], **state}
    return layer.apply(variables, z0, x, mutable=["spectral"])[1]

  for _ in range(20):
    state = call(state)
  vectors = state["spectral"]["normalization"]["dense/kernel"]
  kernel = made["params"]["block"]["dense"]["kernel"]
  np.testing.assert_allclose(
    vectors["v"] @ kernel @ vectors["u"],
    jnp.linalg.norm(kernel, 2),
    rtol=1e-3,
  )
  frozen = layer.apply({"params": made["params"], **state}, z0, x)
  assert jnp.isfinite(frozen.value).all()


def test_normalisation_can_skip(arrays, variables):
  params = variables["params"]["block"]
  norm = WeightNorm(target=0.5, skip=("dense",))
  out = norm.apply({}, params)
  np.testing.assert_array_equal(
    out["dense"]["kernel"], params["dense"]["kernel"]
  )
  out = WeightNorm(target=0.5).apply({}, params)
  np.testing.assert_allclose(
    jnp.linalg.norm(out["dense"]["kernel"], axis=0), 0.5, rtol=1e-6
  )


def test_the_layer_is_the_function(arrays, variables):
  z0, x = arrays
  block = Block()
  direct = fixed_point(
    lambda p, x, z: block.apply({"params": p}, z, x),
    variables["params"]["block"],
    x,
    z0,
    solver=Simple(6),
    gradient=Unrolled(),
    taps=(2, 4),
  )
  layer = Equilibrium(block=Block()).apply(variables, z0, x, taps=(2, 4))
  np.testing.assert_allclose(layer.taps, direct.taps, atol=1e-6)
