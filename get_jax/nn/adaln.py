"""Adaptive layer norm: shifts, scales and gates read off a condition (DiT)."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.nn.attention import SelfAttention
from get_jax.nn.linear import XAVIER, ZEROS, Linear
from get_jax.nn.mlp import Mlp, gelu_tanh
from get_jax.nn.transformer_block import layer_norm


def modulate(x: jax.Array, shift: jax.Array, scale: jax.Array) -> jax.Array:
  """x (1 + scale) + shift, with (B, D) vectors over (B, N, D) tokens."""
  return x * (1 + scale[:, None]) + shift[:, None]


class AdaLNBlock(nn.Module):
  """Transformer block whose norms take shift and scale from the condition.

  Attributes:
    num_heads: attention heads.
    mlp_ratio: hidden width of the perceptron over D.
    zero: also gate both branches, and start the head that makes shifts,
      scales and gates at zero, so that the block starts as the identity
      (adaLN-Zero).
    activation: of the perceptron.
    attention: see `get_jax.nn.attention.attend`.
    dtype: type of the matrix products.
  """

  num_heads: int
  mlp_ratio: float = 4.0
  zero: bool = True
  activation: Callable[[jax.Array], jax.Array] = gelu_tanh
  attention: str = "auto"
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, condition: jax.Array) -> jax.Array:
    """(B, N, D) tokens and silu(c) of shape (B, D) to (B, N, D)."""
    dim = x.shape[-1]
    parts = 3 if self.zero else 2
    head = Linear(
      2 * parts * dim,
      kernel_init=ZEROS if self.zero else XAVIER,
      dtype=self.dtype,
      name="adaln",
    )
    # 1 + scale would lose small scales in half precision.
    vectors = jnp.split(head(condition).astype(jnp.float32), 2 * parts, -1)

    def residual(x, norm, branch, shift, scale, gate=None):
      out = branch(modulate(layer_norm(norm, affine=False)(x), shift, scale))
      return x + (out if gate is None else gate[:, None] * out)

    attn = SelfAttention(
      self.num_heads, attention=self.attention, dtype=self.dtype, name="attn"
    )
    mlp = Mlp(
      int(dim * self.mlp_ratio), self.activation, dtype=self.dtype, name="mlp"
    )
    x = residual(x, "norm1", attn, *vectors[:parts])
    return residual(x, "norm2", mlp, *vectors[parts:])


class FinalLayer(nn.Module):
  """From tokens to patches: norm, modulation or activation, linear layer.

  The linear layer starts at zero and stays in float32: it costs next to
  nothing and makes the network's output.

  Attributes:
    features: numbers per patch.
    affine: whether the norm has scale and shift of its own.
    head_init: initialiser of the head that makes shift and scale.
    activation: between norm and linear layer (DiffiT); None for none.
    dtype: type of that head's matrix product.
  """

  features: int
  affine: bool = False
  head_init: nn.initializers.Initializer = ZEROS
  activation: Callable[[jax.Array], jax.Array] | None = None
  dtype: Any = None

  @nn.compact
  def __call__(
    self, x: jax.Array, condition: jax.Array | None = None
  ) -> jax.Array:
    """(B, N, D) tokens, and silu(c) if adaptive, to (B, N, features)."""
    x = layer_norm("norm", self.affine)(x)
    if condition is not None:
      head = Linear(
        2 * x.shape[-1],
        kernel_init=self.head_init,
        dtype=self.dtype,
        name="adaln",
      )
      vectors = head(condition).astype(jnp.float32)
      x = modulate(x, *jnp.split(vectors, 2, axis=-1))
    if self.activation is not None:
      x = self.activation(x)
    return Linear(self.features, kernel_init=ZEROS, name="linear")(x)
