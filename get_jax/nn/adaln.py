"""Adaptive layer norm: shift, scale and gate computed from the conditioning.

Peebles and Xie, Scalable Diffusion Models with Transformers, 2023 (DiT).
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from get_jax.nn.attention import SelfAttention
from get_jax.nn.linear import XAVIER, ZEROS, Linear
from get_jax.nn.mlp import Mlp, gelu_tanh
from get_jax.nn.transformer_block import add_branch, layer_norm


def modulate(
  x: Float[Array, "B N D"],
  shift: Float[Array, "B D"],
  scale: Float[Array, "B D"],
) -> Float[Array, "B N D"]:
  """Returns x (1 + scale) + shift; every token of a sample gets the same."""
  return x * (1 + scale[:, None]) + shift[:, None]


class AdaLNBlock(nn.Module):
  """Transformer block with shifts and scales computed from the conditioning.

  Attributes:
    num_heads: Number of attention heads.
    mlp_ratio: Hidden width of the MLP divided by the token width D.
    zero: Whether to use adaLN-Zero: both branches are also gated, and the
      linear layer that computes shifts, scales and gates is initialised with
      zeros, so that the block is the identity at initialisation.
    activation: Activation of the MLP.
    attention: Attention implementation, see `get_jax.nn.attention.attend`.
    dtype: Dtype of the matrix products; None is float32.
  """

  num_heads: int
  mlp_ratio: float = 4.0
  zero: bool = True
  activation: Callable[[jax.Array], jax.Array] = gelu_tanh
  attention: str = "auto"
  dtype: Any = None

  @nn.compact
  def __call__(
    self, x: Float[Array, "B N D"], conditioning: Float[Array, "B D"]
  ) -> Float[Array, "B N D"]:
    """Applies the block.

    Args:
      x: Tokens.
      conditioning: silu(c) of the conditioning vector c.

    Returns:
      Tokens of the same shape.
    """
    dim = x.shape[-1]
    vectors_per_branch = 3 if self.zero else 2
    num_vectors = 2 * vectors_per_branch
    adaln = Linear(
      num_vectors * dim,
      kernel_init=ZEROS if self.zero else XAVIER,
      dtype=self.dtype,
      name="adaln",
    )
    # Float32: 1 + scale would round small scales away in half precision.
    vectors = jnp.split(
      adaln(conditioning).astype(jnp.float32), num_vectors, axis=-1
    )

    def residual(x, norm, branch, shift, scale, gate=None):
      out = branch(modulate(layer_norm(norm, affine=False)(x), shift, scale))
      if gate is not None:
        out = gate[:, None] * out.astype(gate.dtype)
      return add_branch(x, out)

    attn = SelfAttention(
      self.num_heads, attention=self.attention, dtype=self.dtype, name="attn"
    )
    mlp = Mlp(
      int(dim * self.mlp_ratio), self.activation, dtype=self.dtype, name="mlp"
    )
    x = residual(x, "norm1", attn, *vectors[:vectors_per_branch])
    return residual(x, "norm2", mlp, *vectors[vectors_per_branch:])


class FinalLayer(nn.Module):
  """Maps tokens to patches: norm, modulation or activation, linear layer.

  The linear layer is initialised with zeros and computes in float32: it is
  cheap and produces the network's output.

  Attributes:
    features: Values per patch.
    affine: Whether the norm has a learned scale and shift.
    head_init: Initialiser of the linear layer that computes the modulation.
    activation: Activation between norm and linear layer (DiffiT), or None.
    dtype: Dtype of the matrix product of the modulation; None is float32.
  """

  features: int
  affine: bool = False
  head_init: nn.initializers.Initializer = ZEROS
  activation: Callable[[jax.Array], jax.Array] | None = None
  dtype: Any = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B N D"],
    conditioning: Float[Array, "B D"] | None = None,
  ) -> Float[Array, "B N P"]:
    """Applies the layer.

    Args:
      x: Tokens.
      conditioning: silu(c) of the conditioning vector c, which modulates the
        tokens; None for no modulation.

    Returns:
      Patches with P = `features` values, float32.
    """
    x = layer_norm("norm", self.affine)(x)
    if conditioning is not None:
      adaln = Linear(
        2 * x.shape[-1],
        kernel_init=self.head_init,
        dtype=self.dtype,
        name="adaln",
      )
      vectors = adaln(conditioning).astype(jnp.float32)
      x = modulate(x, *jnp.split(vectors, 2, axis=-1))
    if self.activation is not None:
      x = self.activation(x)
    return Linear(self.features, kernel_init=ZEROS, name="linear")(x)
