"""Scan, rematerialisation, precision and attention change no number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.models import create_model
from get_jax.models.parameters import abstract_params

MODELS = {
  "DiT": dict(image_size=32, depth=3),
  "ViT": dict(image_size=4, depth=3, num_classes=3),
  "GET": dict(
    image_size=4, injection_depth=2, equilibrium_depth=2, num_classes=3
  ),
}
OPTIONS = [
  ("DiT", dict(scan=True)),
  ("DiT", dict(remat="full")),
  ("DiT", dict(scan=True, remat="dots", attention="xla")),
  ("ViT", dict(scan=True, remat="dots_saveable")),
  ("GET", dict(scan=True, remat="dots")),
  ("GET", dict(remat="full")),
]


def build(name, **options):
  fields = dict(hidden_size=16, num_heads=2, **MODELS[name])
  return create_model(name, **fields, **options)


@pytest.fixture(scope="module")
def results(random_params):
  """`results(name, options)`: output and gradients, the plain ones kept."""
  kept = {}

  def compute(name, options):
    key = (name, *options.items())
    if key not in kept:
      model = build(name, **options)
      inputs = [
        jax.random.normal(jax.random.key(0), a.shape)
        if a.ndim > 1
        else jnp.ones(a.shape, a.dtype)
        for a in model.inputs(2)
      ]

      def loss(params):
        out = model.apply({"params": params}, *inputs)
        return jnp.sum(out**2), out

      step = jax.jit(jax.grad(loss, has_aux=True))
      kept[key] = step(random_params(model, 0.3))
    return kept[key]

  return compute


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_same_numbers(results, name, options):
  plain_grads, plain = results(name, {})
  grads, out = results(name, options)
  np.testing.assert_allclose(out, plain, rtol=1e-4, atol=1e-5)
  largest = max(np.abs(g).max() for g in jax.tree.leaves(plain_grads))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(
      a, b, rtol=1e-3, atol=1e-5 * largest
    ),
    grads,
    plain_grads,
  )


@pytest.mark.parametrize("name", MODELS)
def test_bfloat16_is_close(results, name):
  _, plain = results(name, {})
  model = build(name, dtype=jnp.bfloat16)
  _, out = results(name, dict(dtype=jnp.bfloat16))
  assert out.dtype == jnp.float32
  error = np.linalg.norm(out - plain) / np.linalg.norm(plain)
  assert 1e-5 < error < 0.05
  leaves = jax.tree.leaves(abstract_params(model))
  assert {leaf.dtype for leaf in leaves} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_same_parameter_tree(name, options):
  assert abstract_params(build(name, **options)) == abstract_params(build(name))
