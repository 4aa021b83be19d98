"""Selection of the attention implementation and the fused projection."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from get_jax.errors import UsageError
from get_jax.nn import attention, attention_kernels
from get_jax.nn.attention import SelfAttention, attend


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


def test_half_precision_keeps_its_dtype():
  q, k, v = arrays(jnp.bfloat16)
  out = attend(q, k, v)
  assert out.dtype == jnp.bfloat16
  exact = attend(*(a.astype(jnp.float32) for a in (q, k, v)))
  np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.03)


def queries(dtype=jnp.bfloat16, tokens=256, head_dim=72):
  return jax.ShapeDtypeStruct((2, tokens, 16, head_dim), dtype)


@pytest.mark.parametrize(
  ("platform", "array", "expected"),
  [
    ("gpu", queries(), "cudnn (default on GPU)"),
    ("gpu", queries(tokens=257), "cudnn (default on GPU)"),
    ("gpu", queries(jnp.float32), "xla (cudnn requires bfloat16 or float16"),
    ("gpu", queries(head_dim=12), "xla (cudnn requires head widths"),
    ("gpu", queries(head_dim=136), "xla (cudnn requires head widths"),
    ("tpu", queries(tokens=1024), "splash (default on TPU)"),
    ("tpu", queries(tokens=1025), "splash (default on TPU)"),
    ("tpu", queries(), "xla (splash requires 1024 tokens or more"),
    ("tpu", queries(jnp.float32, 1024), "xla (splash requires bfloat16"),
  ],
)
def test_what_auto_selects(platform, array, expected):
  selected = "{} ({})".format(
    *attention.select_automatically(array, array, None, platform)
  )
  assert selected.startswith(expected)


def test_auto_does_not_select_splash_with_a_bias():
  q, bias = queries(tokens=1024), jnp.zeros((1, 16, 1, 1))
  found = attention.select_automatically(q, q, bias, "tpu")
  assert found == ("xla", "splash requires no bias on the logits")
  assert attention.select_automatically(q, q, bias, "gpu")[0] == "cudnn"


@pytest.mark.parametrize(
  ("implementation", "array", "message"),
  [
    ("flash", queries(), "expected one of: auto, xla, cudnn, splash"),
    ("cudnn", queries(jnp.float32), "float32 .*; expected bfloat16 or float16"),
    ("cudnn", queries(), "on a CPU; expected to run on a GPU"),
    (
      "splash",
      queries(jnp.float16),
      "float16 .*; expected bfloat16 or float32",
    ),
    ("splash", queries(), "on a CPU; expected to run on a TPU"),
  ],
)
def test_unsupported_arrays_are_refused(implementation, array, message):
  with pytest.raises(UsageError, match=message):
    attend(array, array, array, implementation=implementation)


def test_the_selection_is_logged_once(caplog, monkeypatch):
  attention.log_once.cache_clear()
  q, k, v = arrays()
  with caplog.at_level("INFO", "get_jax"):
    attend(q, k, v)
    assert not caplog.records  # There is no selection on a CPU.
    monkeypatch.setattr(attention, "target_platform", lambda: "tpu")
    for _ in range(2):
      attend(q, k, v)
  (record,) = caplog.records
  assert record.getMessage() == (
    "attention for float32 queries of shape (2, 6, 2, 8): "
    "xla (splash requires bfloat16)"
  )


def assert_same(f, g, *args):
  """Equal values and equal gradients of a weighted sum."""

  def results(f):
    weights = jnp.cos(jnp.arange(args[0].size)).reshape(args[0].shape)

    def loss(*args):
      out = f(*args)
      return jnp.sum(out * weights), out

    numbers = tuple(range(len(args)))
    return jax.jit(jax.value_and_grad(loss, numbers, has_aux=True))(*args)

  found, expected = results(f), results(g)
  np.testing.assert_allclose(found[0][1], expected[0][1], atol=1e-5)
  for a, b in zip(found[1], expected[1], strict=True):
    np.testing.assert_allclose(a, b, atol=2e-5)


def test_the_padding_of_odd_lengths_for_cudnn():
  """Passes the arguments for cuDNN to the XLA implementation."""
  q, _, _ = arrays(tokens=5)
  _, k, v = arrays(tokens=7)
  bias = jax.random.normal(jax.random.key(1), (1, 2, 5, 7))

  def padded(*args):
    return attention_kernels.cudnn_attention(*args, implementation="xla")

  assert_same(padded, attention_kernels.xla_attention, q, k, v)
  assert_same(padded, attention_kernels.xla_attention, q, k, v, bias)
  seen = []

  def spy(q, k, v, bias, **options):
    seen.append((q.shape, k.shape, v.shape, bias.shape, options))
    return q

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(jax.nn, "dot_product_attention", spy)
    assert attention_kernels.cudnn_attention(q, k, v, bias).shape == q.shape
  (q_shape, k_shape, v_shape, bias_shape, options) = seen[0]
  assert q_shape == (2, 6, 2, 8) and k_shape == v_shape == (2, 8, 2, 8)
  assert bias_shape == (1, 2, 6, 8)
  np.testing.assert_array_equal(options["query_seq_lengths"], [5, 5])
  np.testing.assert_array_equal(options["key_value_seq_lengths"], [7, 7])


def test_splash_is_softmax_attention():
  """Interpreted, with padding, with and without a mesh."""
  q, k, v = arrays(tokens=130, head_dim=72)

  def interpreted(q, k, v):
    return attention_kernels.splash_attention(q, k, v, interpret=True)

  assert_same(interpreted, attention_kernels.xla_attention, q, k, v)
  mesh = jax.make_mesh(
    (2, 1, 2), ("data", "fsdp", "tensor"), (AxisType.Auto,) * 3
  )
  with jax.set_mesh(mesh):
    out = jax.jit(interpreted)(q, k, v)
  np.testing.assert_allclose(
    out, attention_kernels.xla_attention(q, k, v), atol=1e-5
  )


def test_splash_lowers_for_tpu():
  q = jax.ShapeDtypeStruct((2, 1025, 2, 72), jnp.bfloat16)

  def loss(q, k, v):
    return jnp.sum(
      attention_kernels.splash_attention(q, k, v).astype(jnp.float32)
    )

  grad = jax.jit(jax.grad(loss, (0, 1, 2)))
  lowered = grad.trace(q, q, q).lower(lowering_platforms=("tpu",))
  # Forward, queries, keys and values.
  assert lowered.as_text().count("@tpu_custom_call") == 3


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
