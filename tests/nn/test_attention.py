"""The attention dispatcher and the fused projection."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from get_jax.errors import UsageError
from get_jax.nn.attention import SelfAttention, attend, cudnn_can


def arrays(dtype=jnp.float32, tokens=6, head_dim=8):
  shape = (2, tokens, 2, head_dim)
  keys = jax.random.split(jax.random.key(0), 3)
  return [jax.random.normal(key, shape, dtype) for key in keys]


def test_attend_is_softmax_attention():
  q, k, v = arrays()
  bias = jax.random.normal(jax.random.key(1), (1, 2, 6, 6))
  logits = np.einsum("bnkd,bmkd->bknm", q, k) / np.sqrt(8) + bias
  weights = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
  expected = np.einsum("bknm,bmkd->bnkd", weights, v)
  np.testing.assert_allclose(attend(q, k, v, bias), expected, atol=1e-5)


def test_half_precision_keeps_its_type():
  q, k, v = arrays(jnp.bfloat16)
  out = attend(q, k, v)
  assert out.dtype == jnp.bfloat16
  exact = attend(*(a.astype(jnp.float32) for a in (q, k, v)))
  np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.03)


def test_what_cudnn_takes():
  half = arrays(jnp.bfloat16)
  assert cudnn_can(*half[:2])
  assert not cudnn_can(*arrays()[:2])  # float32
  assert not cudnn_can(*arrays(jnp.bfloat16, tokens=5)[:2])
  assert not cudnn_can(*arrays(jnp.bfloat16, head_dim=12)[:2])
  with pytest.raises(UsageError, match="even number of tokens"):
    attend(*arrays(), implementation="cudnn")
  with pytest.raises(UsageError, match="expected one of: auto, xla, cudnn"):
    attend(*half, implementation="flash")


def test_an_injection_shifts_queries_keys_and_values():
  module = SelfAttention(2)
  x = jax.random.normal(jax.random.key(0), (2, 5, 8))
  variables = module.init(jax.random.key(1), x)
  shift = jax.random.normal(jax.random.key(2), (24,))
  moved = jax.tree.map(jnp.copy, variables)
  moved["params"]["qkv"]["bias"] += shift
  np.testing.assert_allclose(
    module.apply(variables, x, jnp.broadcast_to(shift, (2, 1, 24))),
    module.apply(moved, x),
    atol=1e-6,
  )


def test_heads_must_divide_the_width():
  with pytest.raises(UsageError, match="num_heads=3"):
    SelfAttention(3).init(jax.random.key(0), jnp.zeros((1, 4, 8)))
