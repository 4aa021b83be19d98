"""Multi-head self-attention and the selection of its implementation."""

import functools
import logging
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from get_jax.errors import UsageError
from get_jax.nn import attention_kernels
from get_jax.nn.attention_maps import sow_probabilities
from get_jax.nn.linear import XAVIER, Linear, Projections

log = logging.getLogger(__name__)

IMPLEMENTATIONS = ("auto", "xla", "cudnn", "splash")
# The platform of each fused kernel, and the check of what it supports.
PLATFORMS = {"cudnn": "gpu", "splash": "tpu"}
UNMET_REQUIREMENTS = {
  "cudnn": attention_kernels.unmet_cudnn_requirement,
  "splash": attention_kernels.unmet_splash_requirement,
}
# With fewer tokens the attention probabilities stay in on-chip memory and
# XLA's program needs less memory than splash.
MIN_SPLASH_TOKENS = 1024


def attend(
  q: Float[Array, "B N K d"],
  k: Float[Array, "B M K d"],
  v: Float[Array, "B M K d"],
  bias: jax.Array | None = None,
  implementation: str = "auto",
) -> Float[Array, "B N K d"]:
  """Returns softmax(q k^T / sqrt(d) + bias) v, with the softmax in float32.

  Args:
    q: Queries.
    k: Keys.
    v: Values.
    bias: Added to the logits; broadcast to (B, K, N, M).
    implementation: See `select_implementation`.

  Returns:
    The attention output, in the dtype of `q`.

  Raises:
    UsageError: See `select_implementation`.
  """
  match select_implementation(q, k, bias, implementation):
    case "splash":
      return attention_kernels.splash_attention(q, k, v)
    case "cudnn":
      return attention_kernels.cudnn_attention(q, k, v, bias)
  return attention_kernels.xla_attention(q, k, v, bias)


def select_implementation(
  q: jax.Array, k: jax.Array, bias: jax.Array | None, implementation: str
) -> str:
  """Returns the implementation to use: "xla", "cudnn" or "splash".

  Only "xla" supports forward-mode and second derivatives.

  Args:
    q: Queries, see `attend`.
    k: Keys.
    bias: Bias of the logits.
    implementation: One of the three names, or "auto": cuDNN on a GPU, splash on
      a TPU for bfloat16 and 1024 tokens or more, both only if they support the
      arrays, else XLA. The selection on a GPU or TPU and its reason are logged
      once.

  Raises:
    UsageError: The name is unknown, or the implementation does not support the
      arrays or the platform.
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
  platform = target_platform()
  if implementation != "auto":
    requirement = UNMET_REQUIREMENTS[implementation](q, k, bias)
    if requirement is None and platform != PLATFORMS[implementation]:
      requirement = f"to run on a {PLATFORMS[implementation].upper()}"
      arrays += f" on a {platform.upper()}"
    if requirement:
      raise UsageError(
        f"attention={implementation!r} got {arrays}; expected {requirement}"
      )
    return implementation
  if platform not in PLATFORMS.values():
    return "xla"
  selected, reason = select_automatically(q, k, bias, platform)
  log_once(f"attention for {arrays}: {selected} ({reason})")
  return selected


def select_automatically(
  q: jax.Array, k: jax.Array, bias: jax.Array | None, platform: str
) -> tuple[str, str]:
  """Returns what "auto" selects on "gpu" or "tpu", and the reason."""
  kernel = next(name for name, home in PLATFORMS.items() if home == platform)
  requirement = UNMET_REQUIREMENTS[kernel](q, k, bias)
  if kernel == "splash" and requirement is None:
    if q.dtype != jnp.bfloat16:
      requirement = "bfloat16"
    elif min(q.shape[1], k.shape[1]) < MIN_SPLASH_TOKENS:
      requirement = f"{MIN_SPLASH_TOKENS} tokens or more"
  if requirement:
    return "xla", f"{kernel} requires {requirement}"
  return kernel, f"default on {platform.upper()}"


def target_platform() -> str:
  """Returns the platform that the program runs on: "cpu", "gpu" or "tpu".

  The mesh in context determines it, also when a program is compiled for devices
  that this machine does not have.
  """
  device = jax.sharding.get_abstract_mesh().abstract_device
  name = jax.default_backend() if device is None else device.platform
  return "gpu" if name in ("cuda", "rocm") else name


@functools.cache
def log_once(message: str) -> None:
  """Logs a message if it has not been logged before."""
  log.info(message)


class AttentionFields(nn.Module):
  """Fields of the modules that contain self-attention.

  Attributes:
    num_heads: Number of attention heads K; must divide the token width D.
    qkv_bias: Whether the fused projection has a bias.
    kernel_init: Initialiser of all kernels. It sees the shape of the fused
      kernel.
    attention: Attention implementation, see `select_implementation`.
    dtype: Dtype of the matrix products; None is float32.
  """

  num_heads: int
  qkv_bias: bool = True
  kernel_init: nn.initializers.Initializer = XAVIER
  attention: str = "auto"
  dtype: Any = None


class SelfAttentionBase(AttentionFields):
  """Self-attention with one fused projection to queries, keys and values."""

  def attend_to_self(
    self,
    x: Float[Array, "B N D"],
    injection: jax.Array | None = None,
    bias: jax.Array | None = None,
  ) -> Float[Array, "B N D"]:
    """Computes the attention; see `SelfAttention.__call__`."""
    batch, tokens, dim = x.shape
    if dim % self.num_heads:
      raise UsageError(
        f"hidden_size is {dim}; expected a multiple of "
        f"num_heads={self.num_heads}"
      )
    options: dict[str, Any] = dict(
      kernel_init=self.kernel_init, dtype=self.dtype
    )
    qkv = Projections(3, dim, self.qkv_bias, name="qkv", **options)(x)
    if injection is not None:
      shifts = injection.reshape(*injection.shape[:-1], 3, dim)
      qkv = qkv + shifts.astype(qkv.dtype)
    heads = (batch, tokens, self.num_heads, dim // self.num_heads)
    q, k, v = (qkv[:, :, i].reshape(heads) for i in range(3))
    sow_probabilities(self, q, k, bias)
    out = attend(q, k, v, bias, self.attention)
    return Linear(dim, name="proj", **options)(out.reshape(x.shape))


class SelfAttention(SelfAttentionBase):
  """Multi-head self-attention; for the fields see `AttentionFields`."""

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B N D"],
    injection: jax.Array | None = None,
    bias: jax.Array | None = None,
  ) -> Float[Array, "B N D"]:
    """Applies self-attention.

    Args:
      x: Tokens.
      injection: Added to the fused projection; broadcast to (B, N, 3D). Its
        thirds shift queries, keys and values (GET, section 3).
      bias: Added to the logits; broadcast to (B, K, N, N).

    Returns:
      Tokens of the same shape.

    Raises:
      UsageError: D is not a multiple of `num_heads`.
    """
    return self.attend_to_self(x, injection, bias)
