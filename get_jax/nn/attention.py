"""Multi-head self-attention and the choice of its implementation."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.errors import UsageError
from get_jax.nn.linear import XAVIER, Linear

IMPLEMENTATIONS = ("auto", "xla", "cudnn")


def cudnn_can(q: jax.Array, k: jax.Array) -> bool:
  """Whether cuDNN's fused attention takes these (B, N, K, d) arrays.

  It wants half precision, head widths that are multiples of 8 up to 128 (256
  from Hopper on, which no published model needs) and, for gradients, even
  lengths. It has neither forward-mode nor second derivatives.
  """
  half = q.dtype in (jnp.bfloat16, jnp.float16)
  head_dim = q.shape[-1]
  even = q.shape[1] % 2 == 0 and k.shape[1] % 2 == 0
  return half and head_dim % 8 == 0 and head_dim <= 128 and even


def attend(
  q: jax.Array,
  k: jax.Array,
  v: jax.Array,
  bias: jax.Array | None = None,
  implementation: str = "auto",
) -> jax.Array:
  """softmax(q k^T / sqrt(d) + bias) v, the softmax in float32.

  Args:
    q: (B, N, K, d) queries.
    k: (B, M, K, d) keys.
    v: (B, M, K, d) values.
    bias: added to the logits, broadcast to (B, K, N, M).
    implementation: "xla", "cudnn", or "auto": cuDNN where the backend is a
      GPU and the arrays are within its limits, else XLA.

  Returns:
    (B, N, K, d), of the type of `q`.

  Raises:
    UsageError: unknown implementation, or "cudnn" outside its limits.
  """
  if implementation not in IMPLEMENTATIONS:
    raise UsageError(
      f"attention is {implementation!r}; "
      f"expected one of: {', '.join(IMPLEMENTATIONS)}"
    )
  if implementation == "auto":
    on_gpu = jax.default_backend() == "gpu"
    implementation = "cudnn" if on_gpu and cudnn_can(q, k) else "xla"
  if implementation == "cudnn" and not cudnn_can(q, k):
    raise UsageError(
      f"attention='cudnn' got {q.dtype} queries of shape {q.shape}; expected "
      "bfloat16 or float16, an even number of tokens and a head width that "
      "is a multiple of 8 up to 128"
    )
  if implementation == "xla" and q.dtype == jnp.float32:
    # Heads first: a third off the backward pass on CPU.
    weights = probabilities(q, k, bias)
    out = jnp.einsum("bknm,bkmd->bknd", weights, v.swapaxes(1, 2))
    return out.swapaxes(1, 2)
  if implementation == "cudnn" and bias is not None:
    bias = bias.astype(q.dtype)
  return jax.nn.dot_product_attention(
    q, k, v, bias, implementation=implementation
  )


def probabilities(
  q: jax.Array, k: jax.Array, bias: jax.Array | None = None
) -> jax.Array:
  """softmax(q k^T / sqrt(d) + bias) of `attend`, (B, K, N, M) float32."""
  q, k = q.swapaxes(1, 2) * q.shape[-1] ** -0.5, k.swapaxes(1, 2)
  logits = jnp.einsum("bknd,bkmd->bknm", q, k).astype(jnp.float32)
  return jax.nn.softmax(logits if bias is None else logits + bias)


class SelfAttention(nn.Module):
  """Self-attention with one fused projection to queries, keys and values.

  Attributes:
    num_heads: K; it must divide the width D.
    qkv_bias: whether the fused projection has a bias.
    kernel_init: initialiser of both matrices, on their fused shapes.
    attention: see `attend`.
    dtype: type of the matrix products.
  """

  num_heads: int
  qkv_bias: bool = True
  kernel_init: nn.initializers.Initializer = XAVIER
  attention: str = "auto"
  dtype: Any = None

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    injection: jax.Array | None = None,
    bias: jax.Array | None = None,
  ) -> jax.Array:
    """(B, N, D) tokens to (B, N, D).

    Where the collection "intermediates" is mutable, the attention
    probabilities (B, K, N, N) are sown into it.

    Args:
      x: the tokens.
      injection: added to the fused projection, broadcast to (B, N, 3D); its
        thirds shift queries, keys and values (GET, section 3).
      bias: added to the logits, broadcast to (B, K, N, N).

    Raises:
      UsageError: D is not a multiple of `num_heads`.
    """
    batch, tokens, dim = x.shape
    if dim % self.num_heads:
      raise UsageError(
        f"hidden_size is {dim}; expected a multiple of "
        f"num_heads={self.num_heads}"
      )
    dense = dict(kernel_init=self.kernel_init, dtype=self.dtype)
    qkv = Linear(3 * dim, use_bias=self.qkv_bias, name="qkv", **dense)(x)
    if injection is not None:
      qkv = qkv + injection.astype(qkv.dtype)
    heads = (batch, tokens, self.num_heads, dim // self.num_heads)
    q, k, v = (part.reshape(heads) for part in jnp.split(qkv, 3, axis=-1))
    if self.is_mutable_collection("intermediates"):
      self.sow("intermediates", "probabilities", probabilities(q, k, bias))
    out = attend(q, k, v, bias, self.attention)
    return Linear(dim, name="proj", **dense)(out.reshape(x.shape))
