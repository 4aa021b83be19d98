"""The pre-norm transformer block."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from get_jax.nn.attention import AttentionFields, SelfAttention
from get_jax.nn.mlp import Mlp, gelu_erf


def layer_norm(
  name: str, affine: bool = True, epsilon: float = 1e-6
) -> nn.LayerNorm:
  """Returns a float32 layer norm that computes the variance in two passes.

  The variance is the biased one. The one-pass formula E[x^2] - E[x]^2 loses
  precision by cancellation if tokens have a large mean.

  Args:
    name: Name of the module.
    affine: Whether it has a learned scale and shift.
    epsilon: Added to the variance.
  """
  return nn.LayerNorm(
    epsilon=epsilon,
    use_scale=affine,
    use_bias=affine,
    use_fast_variance=False,
    dtype=jnp.float32,
    name=name,
  )


def add_branch(
  x: Float[Array, "B N D"], branch: Float[Array, "B N D"]
) -> Float[Array, "B N D"]:
  """Adds the output of a residual branch, in the dtype of the stream x."""
  return x + branch.astype(x.dtype)


class BlockBase(AttentionFields):
  """Fields and computation of a pre-norm block.

  For the other fields see `AttentionFields`.

  Attributes:
    mlp_ratio: Hidden width of the MLP divided by the token width D.
    activation: Activation of the MLP.
    affine: Whether the norms have a learned scale and shift.
    epsilon: Epsilon of the norms.
  """

  mlp_ratio: float = 4.0
  activation: Callable[[jax.Array], jax.Array] = gelu_erf
  affine: bool = True
  epsilon: float = 1e-6

  def transform(
    self, x: Float[Array, "B N D"], injection: jax.Array | None = None
  ) -> Float[Array, "B N D"]:
    """Computes x + attention(norm(x)), then x + mlp(norm(x))."""
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
    norm1 = layer_norm("norm1", self.affine, self.epsilon)
    x = add_branch(x, attn(norm1(x), injection))
    norm2 = layer_norm("norm2", self.affine, self.epsilon)
    return add_branch(x, mlp(norm2(x)))


class Block(BlockBase):
  """Pre-norm transformer block; for the fields see `BlockBase`."""

  @nn.compact
  def __call__(
    self, x: Float[Array, "B N D"], injection: jax.Array | None = None
  ) -> Float[Array, "B N D"]:
    """Applies the block.

    Args:
      x: Tokens.
      injection: See `get_jax.nn.attention.SelfAttention`.

    Returns:
      Tokens of the same shape.
    """
    return self.transform(x, injection)
