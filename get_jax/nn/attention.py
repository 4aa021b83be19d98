"""Multi-head self-attention and the choice of its implementation."""

import functools
import logging
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.errors import UsageError
from get_jax.nn import attention_kernels
from get_jax.nn.linear import XAVIER, Linear, Projections

log = logging.getLogger(__name__)

IMPLEMENTATIONS = ("auto", "xla", "cudnn", "splash")
# Where they run, and what they cannot do.
PLATFORMS = {"cudnn": "gpu", "splash": "tpu"}
REFUSALS = {
  "cudnn": attention_kernels.cudnn_refusal,
  "splash": attention_kernels.splash_refusal,
}
# Below, XLA's products stay on the chip and need less memory than splash.
SPLASH_TOKENS = 1024


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
    implementation: see `choose`.

  Returns:
    (B, N, K, d), of the type of `q`.

  Raises:
    UsageError: see `choose`.
  """
  chosen = choose(q, k, bias, implementation)
  if chosen == "splash":
    return attention_kernels.splash_attention(q, k, v)
  return getattr(attention_kernels, chosen)(q, k, v, bias)


def choose(
  q: jax.Array, k: jax.Array, bias: jax.Array | None, implementation: str
) -> str:
  """The kernel for these arrays: "xla", "cudnn" or "splash".

  Only "xla" has forward-mode and second derivatives.

  Args:
    q: see `attend`.
    k: see there.
    bias: see there.
    implementation: one of the three; or "auto": cuDNN on a GPU and splash on
      a TPU, this one for bfloat16 from 1024 tokens on, where the arrays are
      within their limits, else XLA. What it chose on a GPU or TPU, and why, is
      logged once.

  Raises:
    UsageError: unknown implementation, or one outside its limits.
  """
  if implementation not in IMPLEMENTATIONS:
    raise UsageError(
      f"attention is {implementation!r}; "
      f"expected one of: {', '.join(IMPLEMENTATIONS)}"
    )
  if implementation == "xla":
    return "xla"
  arrays = f"{q.dtype} queries of shape {q.shape}"
  if bias is not None:
    arrays += f" and a bias of shape {bias.shape}"
  here = platform()
  if implementation != "auto":
    wanted = REFUSALS[implementation](q, k, bias)
    if wanted is None and here != PLATFORMS[implementation]:
      wanted = f"to run on a {PLATFORMS[implementation].upper()}"
      arrays += f" on a {here.upper()}"
    if wanted:
      raise UsageError(
        f"attention={implementation!r} got {arrays}; expected {wanted}"
      )
    return implementation
  if here not in PLATFORMS.values():
    return "xla"
  chosen, why = automatic(q, k, bias, here)
  announce(f"attention of {arrays}: {chosen}, {why}")
  return chosen


def automatic(
  q: jax.Array, k: jax.Array, bias: jax.Array | None, platform: str
) -> tuple[str, str]:
  """The kernel that "auto" stands for on "gpu" or "tpu", and why."""
  kernel = next(k for k, home in PLATFORMS.items() if home == platform)
  wanted = REFUSALS[kernel](q, k, bias)
  if kernel == "splash" and wanted is None:
    if q.dtype != jnp.bfloat16:
      wanted = "bfloat16"
    elif min(q.shape[1], k.shape[1]) < SPLASH_TOKENS:
      wanted = f"{SPLASH_TOKENS} tokens or more"
  if wanted:
    return "xla", f"as {kernel} wants {wanted}"
  return kernel, f"which a {platform.upper()} has"


def platform() -> str:
  """Where the program will run: "cpu", "gpu" or "tpu".

  The mesh in context knows, also where it is compiled for other devices.
  """
  device = jax.sharding.get_abstract_mesh().abstract_device
  name = jax.default_backend() if device is None else device.platform
  return "gpu" if name in ("cuda", "rocm") else name


@functools.cache
def announce(message: str) -> None:
  """Logs a message unless it was logged before."""
  log.info(message)


class SelfAttention(nn.Module):
  """Self-attention with one fused projection to queries, keys and values.

  Attributes:
    num_heads: K; it must divide the width D.
    qkv_bias: whether the fused projection has a bias.
    kernel_init: initialiser of both matrices, on their fused shapes.
    attention: see `choose`.
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
    qkv = Projections(3, dim, self.qkv_bias, name="qkv", **dense)(x)
    if injection is not None:
      thirds = injection.reshape(*injection.shape[:-1], 3, dim)
      qkv = qkv + thirds.astype(qkv.dtype)
    heads = (batch, tokens, self.num_heads, dim // self.num_heads)
    q, k, v = (qkv[:, :, i].reshape(heads) for i in range(3))
    if self.is_mutable_collection("intermediates"):
      self.sow(
        "intermediates",
        "probabilities",
        attention_kernels.attention_probabilities(q, k, bias),
      )
    out = attend(q, k, v, bias, self.attention)
    return Linear(dim, name="proj", **dense)(out.reshape(x.shape))
