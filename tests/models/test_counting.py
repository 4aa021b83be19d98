"""Counting multiply-adds in traced programs."""

import functools

import jax
import jax.numpy as jnp
import pytest

from get_jax.equilibrium import Implicit, Phantom, Unrolled
from get_jax.models import create_model
from get_jax.models.counting import model_size, multiply_adds

A = jax.ShapeDtypeStruct((2, 3), jnp.float32)
SQUARE = jax.ShapeDtypeStruct((3, 3), jnp.float32)


def test_products():
  assert multiply_adds(lambda a, b: a @ b, A, SQUARE) == 2 * 3 * 3
  batched = jax.vmap(jnp.dot, in_axes=(0, None))
  assert multiply_adds(batched, A, SQUARE) == 2 * 3 * 3
  assert multiply_adds(lambda a: a + jnp.sin(a), A) == 0


def test_convolution():
  x = jax.ShapeDtypeStruct((1, 8, 8, 4), jnp.float32)
  kernel = jax.ShapeDtypeStruct((3, 3, 2, 6), jnp.float32)
  conv = functools.partial(
    jax.lax.conv_general_dilated,
    window_strides=(2, 2),
    padding="SAME",
    dimension_numbers=("NHWC", "HWIO", "NHWC"),
    feature_group_count=2,
  )
  assert multiply_adds(conv, x, kernel) == 4 * 4 * 6 * 3 * 3 * 2


def test_nested_programs():
  @jax.jit
  def inner(a, b):
    return jax.checkpoint(jnp.dot)(a, b)

  @jax.custom_vjp
  def twice(a, b):
    return inner(inner(a, b), b)

  twice.defvjp(lambda a, b: (twice(a, b), None), lambda kept, g: (g, None))

  def repeated(a, b):
    return jax.lax.scan(lambda c, _: (twice(c, b), None), a, length=5)[0]

  assert multiply_adds(repeated, A, SQUARE) == 5 * 2 * 18


def test_the_costliest_branch_counts():
  def branches(first, second):
    return multiply_adds(
      lambda a, b: jax.lax.cond(a.sum() > 0, first, second, a, b), A, SQUARE
    )

  assert branches(jnp.dot, lambda a, b: (2 * a) @ b) == 18
  assert branches(lambda a, b: a, jnp.dot) == 18


def test_loops_of_unknown_length_raise():
  def search(a, b):
    return jax.lax.while_loop(lambda c: c.sum() < 9, lambda c: c @ b, a)

  with pytest.raises(NotImplementedError, match="run time"):
    multiply_adds(search, A, SQUARE)
  harmless = jax.lax.while_loop
  assert (
    multiply_adds(
      lambda a: harmless(lambda c: c.sum() < 9, lambda c: 2 * c, a), A
    )
    == 0
  )


def test_neither_scan_nor_remat_changes_the_count():
  fields = dict(hidden_size=16, depth=3, num_heads=2, image_size=64)
  plain = model_size(create_model("DiT", **fields))
  other = model_size(create_model("DiT", scan=True, remat="full", **fields))
  assert plain == other


def test_iterations_count():
  model = create_model("GET-T/2")
  one, six = (model_size(model, iterations=n).macs for n in (1, 6))
  assert (six - one) % 5 == 0 and round((six - one) / 5e9, 2) == 0.91


@pytest.mark.parametrize("gradient", [Implicit(), Phantom(), Unrolled(steps=2)])
def test_the_gradient_does_not_change_the_count_of_iterations(gradient):
  model = create_model("GET-T/2", image_size=8, num_classes=0)
  other = model.clone(gradient=gradient)
  for iterations in (1, 6):
    expected = model_size(model, iterations=iterations)
    assert model_size(other, iterations=iterations) == expected
