"""The text half of CLIP (Radford et al. 2021)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from get_jax.errors import UsageError
from get_jax.nn.attention import attend
from get_jax.nn.linear import Linear
from get_jax.nn.mlp import Mlp, gelu_erf
from get_jax.nn.transformer_block import layer_norm


def quick_gelu(x: jax.Array) -> jax.Array:
  """x sigmoid(1.702 x), the GELU of OpenAI's CLIP."""
  return x * jax.nn.sigmoid(1.702 * x)


ACTIVATIONS = {"quick_gelu": quick_gelu, "gelu": gelu_erf}


class TextBlock(nn.Module):
  """x + attention(norm(x)), then x + mlp(norm(x)), looking back only.

  Attributes:
    num_heads: attention heads.
    intermediate_size: hidden width of the perceptron.
    activation: of the perceptron.
    epsilon: of the norms.
    dtype: type of the matrix products.
  """

  num_heads: int
  intermediate_size: int
  activation: Any
  epsilon: float
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """(B, L, D) to the same; token i sees the tokens up to i."""
    normed = layer_norm("norm1", epsilon=self.epsilon)(x)
    heads = (*x.shape[:2], self.num_heads, x.shape[-1] // self.num_heads)
    q, k, v = (
      Linear(x.shape[-1], dtype=self.dtype, name=name)(normed).reshape(heads)
      for name in ("q", "k", "v")
    )
    later = ~jnp.tri(x.shape[1], dtype=bool)
    seen = attend(q, k, v, jnp.where(later, jnp.finfo(jnp.float32).min, 0.0))
    out = Linear(x.shape[-1], dtype=self.dtype, name="out")
    x = x + out(seen.reshape(x.shape))
    mlp = Mlp(
      self.intermediate_size, self.activation, dtype=self.dtype, name="mlp"
    )
    return x + mlp(layer_norm("norm2", epsilon=self.epsilon)(x))


class CLIPTextEncoder(nn.Module):
  """Tokens to hidden states; by default the text half of CLIP ViT-L/14.

  Fields bear the names of the published `config.json` files.

  Attributes:
    vocab_size: number of tokens.
    hidden_size: width D.
    intermediate_size: hidden width of the perceptrons.
    num_hidden_layers: number of blocks.
    num_attention_heads: heads of each.
    max_position_embeddings: the longest text L.
    hidden_act: "quick_gelu" (OpenAI's), or "gelu".
    layer_norm_eps: of the norms.
    dtype: type of the matrix products; None is float32.
  """

  vocab_size: int = 49408
  hidden_size: int = 768
  intermediate_size: int = 3072
  num_hidden_layers: int = 12
  num_attention_heads: int = 12
  max_position_embeddings: int = 77
  hidden_act: str = "quick_gelu"
  layer_norm_eps: float = 1e-5
  dtype: Any = None

  @nn.compact
  def __call__(self, tokens: jax.Array) -> jax.Array:
    """The last hidden state, after the final norm: what U-ViT is told.

    Padding is not masked: a text's tokens do not see what follows them.

    Args:
      tokens: (B, L) int32, padded with the end token.

    Returns:
      (B, L, D) float32.

    Raises:
      UsageError: an unknown activation.
    """
    if self.hidden_act not in ACTIVATIONS:
      raise UsageError(
        f"hidden_act is {self.hidden_act!r}; expected one of: "
        + ", ".join(ACTIVATIONS)
      )
    table = nn.Embed(self.vocab_size, self.hidden_size, name="tokens")
    shape = self.max_position_embeddings, self.hidden_size
    positions = self.param("positions", nn.initializers.normal(0.01), shape)
    x = table(tokens) + positions[: tokens.shape[1]]
    for i in range(self.num_hidden_layers):
      x = TextBlock(
        self.num_attention_heads,
        self.intermediate_size,
        ACTIVATIONS[self.hidden_act],
        self.layer_norm_eps,
        self.dtype,
        name=f"blocks_{i}",
      )(x)
    return layer_norm("norm", epsilon=self.layer_norm_eps)(x)

  def inputs(self, batch: int) -> tuple[jax.ShapeDtypeStruct]:
    """Shapes of the arguments of `__call__`."""
    shape = (batch, self.max_position_embeddings)
    return (jax.ShapeDtypeStruct(shape, jnp.int32),)
