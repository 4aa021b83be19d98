"""The plain pre-norm transformer block."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.nn.attention import SelfAttention
from get_jax.nn.linear import XAVIER
from get_jax.nn.mlp import Mlp, gelu_erf


def layer_norm(
  name: str, affine: bool = True, epsilon: float = 1e-6
) -> nn.LayerNorm:
  """Layer normalisation in float32, of biased variance taken in two passes.

  The one-pass formula E[x^2] - E[x]^2 cancels where tokens have a large mean.
  """
  return nn.LayerNorm(
    epsilon=epsilon,
    use_scale=affine,
    use_bias=affine,
    use_fast_variance=False,
    dtype=jnp.float32,
    name=name,
  )


class Block(nn.Module):
  """x + attention(norm(x)), then x + mlp(norm(x)).

  Attributes:
    num_heads: attention heads.
    mlp_ratio: hidden width of the perceptron over D.
    activation: of the perceptron.
    affine: whether the norms have scale and shift.
    epsilon: of the norms.
    qkv_bias: whether the fused projection has a bias.
    kernel_init: initialiser of all matrices.
    attention: see `get_jax.nn.attention.attend`.
    dtype: type of the matrix products.
  """

  num_heads: int
  mlp_ratio: float = 4.0
  activation: Callable[[jax.Array], jax.Array] = gelu_erf
  affine: bool = True
  epsilon: float = 1e-6
  qkv_bias: bool = True
  kernel_init: nn.initializers.Initializer = XAVIER
  attention: str = "auto"
  dtype: Any = None

  @nn.compact
  def __call__(
    self, x: jax.Array, injection: jax.Array | None = None
  ) -> jax.Array:
    """(B, N, D) tokens to the same; `injection` as in `SelfAttention`."""
    attn = SelfAttention(
      self.num_heads,
      self.qkv_bias,
      self.kernel_init,
      self.attention,
      self.dtype,
      name="attn",
    )
    mlp = Mlp(
      int(x.shape[-1] * self.mlp_ratio),
      self.activation,
      self.kernel_init,
      self.dtype,
      name="mlp",
    )
    x = x + attn(layer_norm("norm1", self.affine, self.epsilon)(x), injection)
    return x + mlp(layer_norm("norm2", self.affine, self.epsilon)(x))
