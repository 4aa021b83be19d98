"""Scan, rematerialisation and attention do not change the results."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.models import create_model
from get_jax.models.parameters import abstract_params

WIDTH = dict(hidden_size=16, num_heads=2)
MODELS = {
  "DiT": dict(image_size=32, depth=3, **WIDTH),
  "DiffiT": dict(image_size=32, depth=2, **WIDTH),
  "DiffiT-image": dict(
    image_size=4,
    widths=(8, 16),
    depths=(2, 1),
    head_dim=8,
    time_features=8,
    num_classes=3,
  ),
  "U-ViT": dict(image_size=4, depth=4, num_classes=3, **WIDTH),
  "ViT": dict(image_size=4, depth=3, num_classes=3, **WIDTH),
  "GET": dict(
    image_size=4,
    injection_depth=2,
    equilibrium_depth=2,
    num_classes=3,
    **WIDTH,
  ),
}
OPTIONS = [
  ("DiT", dict(scan=True)),
  ("DiT", dict(remat="full")),
  ("DiffiT", dict(scan=True, remat="full")),
  ("DiffiT-image", dict(scan=True, remat="dots")),
  ("U-ViT", dict(scan=True, remat="dots")),
  ("U-ViT", dict(remat="full")),
  ("ViT", dict(scan=True, remat="dots_saveable")),
  ("GET", dict(scan=True, remat="dots", attention="xla")),
]


def build(name, **options):
  return create_model(name, **MODELS[name], **options)


def loss_of(model):
  """(params) -> sum of squares and the output, for fixed inputs."""
  inputs = [
    jax.random.normal(jax.random.key(0), a.shape)
    if a.ndim > 1
    else jnp.ones(a.shape, a.dtype)
    for a in model.inputs(2)
  ]

  def loss(params):
    out = model.apply({"params": params}, *inputs)
    return jnp.sum(out**2), out

  return loss


@pytest.fixture(scope="module")
def plain(random_params, fast_compile_jit):
  """`plain(name)`: parameters, gradients and output without options."""

  @functools.cache
  def compute(name):
    model = build(name)
    params = random_params(model, 0.3)
    return params, *fast_compile_jit(jax.grad(loss_of(model), has_aux=True))(
      params
    )

  return compute


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_same_results(plain, fast_compile_jit, name, options):
  params, expected_grads, expected = plain(name)
  loss = loss_of(build(name, **options))
  grads, out = fast_compile_jit(jax.grad(loss, has_aux=True))(params)
  np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
  largest = max(np.abs(g).max() for g in jax.tree.leaves(expected_grads))
  tolerance = dict(rtol=1e-3, atol=1e-5 * largest)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, **tolerance),
    grads,
    expected_grads,
  )


@pytest.mark.parametrize("name", ["DiT", "DiffiT-image", "U-ViT", "GET"])
def test_bfloat16_is_close(plain, fast_compile_jit, name):
  params, _, expected = plain(name)
  model = build(name, dtype=jnp.bfloat16)
  out = fast_compile_jit(loss_of(model))(params)[1]
  assert out.dtype == jnp.float32
  error = np.linalg.norm(out - expected) / np.linalg.norm(expected)
  assert 1e-5 < error < 0.05
  leaves = jax.tree.leaves(abstract_params(model))
  assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_same_parameter_tree(name, options):
  assert abstract_params(build(name, **options)) == abstract_params(build(name))
